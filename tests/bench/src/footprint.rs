//! What an agent that waits takes of its host: memory and disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use baton_lab::cluster::{AgentSetting, Binaries};

use crate::{
    installation::{Installation, binaries},
    table::{Report, Row},
    usage,
};

const NAME: &str = "agent";
const PATIENCE: Duration = Duration::from_secs(60);
/// The profile of what is shipped to hosts.
const PROFILE: &str = "dist-agent";

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Milliseconds that the agent has nothing to do before it is looked at, and while.
    #[arg(long, default_value_t = 15_000)]
    pub watch_ms: u64,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    let binaries = binaries()?;
    let agent = match shipped(&binaries)? {
        Some(agent) => agent,
        None => {
            report.notes.push(format!(
                "agent: not built with profile {PROFILE}, so the one beside this program stands for it (cargo build --profile {PROFILE} -p baton-agent)"
            ));
            binaries.agent.clone()
        }
    };
    let bytes = fs::metadata(&agent).with_context(|| format!("look at {}", agent.display()))?.len();
    let mut installation = Installation::start(directory, Binaries { agent, ..binaries })?;
    let Installation { cluster, ground, .. } = &mut installation;
    cluster.add_agent(&ground.registry, "lone", &AgentSetting::default())?;
    cluster.wait_for_agents(&["lone"], PATIENCE)?;
    let pid = installation.agent_pid("lone")?;
    let load = usage::load(pid, Duration::from_millis(options.watch_ms)).await?;
    let memory = usage::memory(pid)?;
    report.rows.push(Row::new(NAME, "on disk", bytes as f64 / 1e6, "MB").at_most(6.0, "MB"));
    let resident = Row::new(NAME, "idle, resident, three sessions", memory.resident / 1024.0, "MiB");
    report.rows.push(resident.at_most(10.0, "MiB"));
    report.rows.push(Row::new(NAME, "idle, of it anonymous", memory.anonymous / 1024.0, "MiB"));
    report.rows.push(Row::new(NAME, "idle, CPU", load * 100.0, "% of a core"));
    Ok(())
}

/// The agent as it is shipped, built now by the cargo that started this program, or lying there from before.
fn shipped(binaries: &Binaries) -> Result<Option<PathBuf>> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        eprintln!("building the agent with profile {PROFILE}");
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--profile", PROFILE, "-p", "baton-agent", "--bin", "baton-agent"])
            .status()
            .context("run cargo build")?;
        ensure!(built.success(), "cargo build ended with {built}");
    }
    let target = binaries.agent.parent().and_then(Path::parent).context("this program is not in a target folder")?;
    let agent = target.join(PROFILE).join("baton-agent");
    Ok(agent.is_file().then_some(agent))
}
