//! Where the coordinators are and who asks: from options, environment and a file, in this order.
//!
//! Apart because it is the one place that reads the environment. Nothing here connects.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use baton_platform::{address::Address, config};
use serde::Deserialize;

use crate::{
    arguments::Global,
    exit::Exit,
    failure::{Failure, code},
};

/// Every wait for a coordinator's answer, unless `--timeout` says otherwise. A dry run asks every host meanwhile.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// `~/.config/baton/config.toml`, or what `BATON_CONFIG` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    coordinators: Vec<Address>,
    /// Relative to the file.
    identity: Option<PathBuf>,
}

/// What a command that asks coordinators needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// At least one.
    pub coordinators: Vec<Address>,
    /// The identity directory.
    pub identity: PathBuf,
    pub timeout: Duration,
}

impl Settings {
    /// clap has put the environment in where an option is missing; the file stands behind both.
    pub fn read(global: &Global) -> Result<Self, Failure> {
        let (file, directory) = match &global.config {
            Some(path) => (config::read(path)?, directory_of(path)),
            None => match default_path().filter(|path| path.exists()) {
                Some(path) => (config::read(&path)?, directory_of(&path)),
                None => (ConfigFile::default(), PathBuf::new()),
            },
        };
        let given: Vec<Address> = global.coordinator.iter().flat_map(|list| list.0.clone()).collect();
        let coordinators = if given.is_empty() { file.coordinators } else { given };
        if coordinators.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                code::NO_COORDINATOR_NAMED,
                "no coordinator is named.",
                "Give --coordinator HOST:PORT, or set BATON_COORDINATORS, or write coordinators = [\"HOST:PORT\"] into \
                 ~/.config/baton/config.toml.",
            ));
        }
        let identity = global.identity.clone().or_else(|| file.identity.map(|path| directory.join(path)));
        let Some(identity) = identity else {
            return Err(Failure::new(
                Exit::Usage,
                code::NO_IDENTITY_NAMED,
                "no identity is named: coordinators answer to certificates only.",
                "Give --identity DIR, or set BATON_IDENTITY; \"baton ca operator\" makes one.",
            ));
        };
        Ok(Self { coordinators, identity, timeout: global.timeout.unwrap_or(TIMEOUT_DEFAULT) })
    }
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(base.join("baton/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_of_the_file_swallows_a_misspelt_key() {
        let sample = "coordinators = [\"127.0.0.1:7400\"]\nidentity = \"me\"\n";
        assert_eq!(config::tables_that_take_anything::<ConfigFile>(sample), Vec::<String>::new());
    }
}
