//! The agent's configuration file. The host's name is not in it: that is in the certificate, and nowhere else.
//!
//! Apart because `--check-config` reads it without starting anything. It must never hold a secret.

use std::{path::PathBuf, time::Duration};

use baton_model::time::Span;
use baton_platform::{address::Address, telemetry::LogFormat};
use serde::Deserialize;

use crate::{
    secrets::{SecretCommand, SecretStoreOptions},
    watchdog::WatchdogOptions,
};

/// As it is written, in TOML.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The directory with ca.pem, cert.pem and key.pem.
    pub identity: PathBuf,
    /// All coordinators.
    pub coordinators: Vec<Address>,
    /// Journal and tasks' files; the agent's alone.
    pub state: PathBuf,
    pub policy: PathBuf,
    /// The cluster's name, if it is to be checked.
    #[serde(default)]
    pub cluster: String,
    #[serde(default)]
    pub secrets: SecretPlaces,
    #[serde(default = "heartbeat_max")]
    pub heartbeat_max: Span,
    /// Tasks that act at once.
    #[serde(default = "tasks_max")]
    pub tasks_max: usize,
    #[serde(default)]
    pub log: Log,
    /// Pages for load balancers and scripts; none without it.
    #[serde(default)]
    pub http: Option<baton_web::Http>,
    /// What becomes of the exclusive components of a primary whose group has a lease when the agent is told to end.
    #[serde(default)]
    pub on_stop: OnStop,
    /// The host's own, for a host whose agent hangs.
    #[serde(default)]
    pub watchdog: WatchdogOptions,
    /// The system bus, where it is not at its usual place.
    #[serde(default)]
    pub bus: Option<String>,
    /// Where SysV scripts are, where that is not /etc/init.d.
    #[serde(default)]
    pub init_scripts: Option<PathBuf>,
}

/// An agent that has ended stops nothing, whatever runs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// They are stopped first: the only way that keeps the promise that two sides are never active at once.
    #[default]
    StopComponents,
    /// They run on. Whoever stops the agent sees to it that no role moves meanwhile.
    LeaveRunning,
}

/// Where secrets are; systemd's credentials are looked at first in any case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretPlaces {
    pub directory: Option<PathBuf>,
    /// A program and its arguments; the secret's name is added.
    pub command: Vec<String>,
    pub command_timeout: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// stderr without it.
    pub file: Option<PathBuf>,
    /// `info` without it.
    pub filter: Option<String>,
}

fn heartbeat_max() -> Span {
    Span::from_secs(10)
}

fn tasks_max() -> usize {
    16
}

const COMMAND_TIMEOUT: Span = Span::from_secs(10);

/// Why a configuration that can be read cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("BTN-0481 {key} {why}")]
pub struct Unusable {
    key: &'static str,
    why: &'static str,
}

impl Configuration {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), Unusable> {
        let unusable = |key, why| Err(Unusable { key, why });
        if self.coordinators.is_empty() {
            return unusable("coordinators", "names nobody: give the addresses of all coordinators");
        }
        if self.tasks_max == 0 || self.tasks_max > 1024 {
            return unusable("tasks_max", "must be from 1 to 1024");
        }
        if self.heartbeat_max.as_millis() < 50 {
            return unusable("heartbeat_max", "must be 50ms or more");
        }
        if !self.watchdog.device.is_absolute() {
            return unusable("watchdog.device", "must be an absolute path");
        }
        Ok(())
    }

    /// `credentials_directory`: systemd's, from the environment.
    pub fn secret_places(&self, credentials_directory: Option<PathBuf>) -> SecretStoreOptions {
        let timeout: Duration = self.secrets.command_timeout.unwrap_or(COMMAND_TIMEOUT).to_std();
        let command = SecretCommand { argv: self.secrets.command.clone(), timeout };
        SecretStoreOptions {
            credentials_directory,
            directory: self.secrets.directory.clone(),
            command: (!command.argv.is_empty()).then_some(command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const SAMPLE: &str = r#"
        identity = "/etc/baton/identity"
        coordinators = ["c1.example.org:7400", "[::1]:7400"]
        state = "/var/lib/baton-agent"
        policy = "/etc/baton/policy.toml"
        heartbeat_max = "2s"
        [secrets]
        directory = "/etc/baton/secrets"
        command = ["/usr/bin/pass", "show"]
        [log]
        format = "json"
        [http]
        listen = "127.0.0.1:7410"
        [watchdog]
        device = "/dev/watchdog1"
        mode = "required"
    "#;

    #[test]
    fn a_full_file_is_read_and_every_table_is_strict() {
        let read: Configuration = baton_platform::config::parse(SAMPLE, Path::new("agent.toml")).expect("read");
        read.check().expect("usable");
        assert_eq!(read.coordinators[1].host(), "::1");
        assert!(read.secret_places(None).command.is_some());
        let open = baton_platform::config::tables_that_take_anything::<Configuration>(SAMPLE);
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn an_agent_with_nobody_to_call_is_refused() {
        let text = SAMPLE.replace(r#"["c1.example.org:7400", "[::1]:7400"]"#, "[]");
        let read: Configuration = baton_platform::config::parse(&text, Path::new("agent.toml")).expect("read");
        assert!(read.check().expect_err("refused").to_string().contains("coordinators"));
    }
}
