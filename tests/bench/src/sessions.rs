//! What an agent that has nothing to do costs the coordinator that it is connected to.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    crowd::{self, Crowd},
    installation::{Installation, binaries},
    limits,
    table::{Report, Row},
    usage,
};

const NAME: &str = "sessions";
const PATIENCE: Duration = Duration::from_secs(300);
/// Until what a crowd of handshakes left behind has settled.
const SETTLE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Numbers of agents to measure at, rising.
    #[arg(long = "sessions", value_delimiter = ',', default_values_t = [1000, 5000])]
    pub steps: Vec<usize>,
    /// Milliseconds over which processor time is measured.
    #[arg(long, default_value_t = 15_000)]
    pub watch_ms: u64,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    let most = options.steps.iter().copied().max().unwrap_or(0);
    ensure!(options.steps.is_sorted() && most > 0, "--sessions must be numbers that rise");
    limits::raise_open_files(most as u64 + 500)?;
    let installation = Installation::start(directory, binaries()?)?;
    let leader = installation.cluster.leader()?;
    let pid = installation.coordinator_pid(leader)?;
    let ground = installation.ground.path();
    let length = Duration::from_millis(options.watch_ms);
    tokio::time::sleep(SETTLE).await;
    let empty = usage::memory(pid)?;
    let idle = usage::load(pid, length).await?;
    report.rows.push(Row::new(NAME, "the leader without sessions, resident", empty.resident / 1024.0, "MiB"));
    report.rows.push(Row::new(NAME, "the leader without sessions, CPU", idle * 100.0, "% of a core"));
    let crowd = Crowd::new();
    let mut present = 0;
    for step in options.steps {
        let identities = crowd::identities(&ground.join("baton/ca"), &ground.join("agents"), present, step)?;
        crowd.join(&identities, std::slice::from_ref(&installation.addresses[leader]))?;
        present = step;
        crowd.wait("every session", PATIENCE, |tally| tally.welcomed == present).await?;
        tokio::time::sleep(SETTLE).await;
        let load = usage::load(pid, length).await?;
        let full = usage::memory(pid)?;
        ensure!(crowd.tally().lost == 0, "{} sessions were lost", crowd.tally().lost);
        let each = |kib: f64| kib / present as f64;
        let memory = each(full.resident - empty.resident);
        let row = Row::new(NAME, format!("{present} idle sessions, resident memory each"), memory, "KiB");
        report.rows.push(if present == 5000 { row.at_most(50.0, "KiB") } else { row });
        report.rows.push(Row::new(
            NAME,
            format!("{present} idle sessions, CPU of all"),
            (load - idle) * 100.0,
            "% of a core",
        ));
        let each = (load - idle) * 1e6 / present as f64;
        report.rows.push(Row::new(NAME, format!("{present} idle sessions, CPU each"), each, "µs/s"));
    }
    crowd.leave().await;
    Ok(())
}
