//! SIGKILL of the leading node → the first commit on the one that follows it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    ground::Ground,
    kv::{Work, ask},
    nodes::Nodes,
    sample::Sample,
    table::{Report, Row},
};

const NAME: &str = "leader-loss";
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// How often the leader is killed.
    #[arg(long, default_value_t = 15)]
    pub rounds: usize,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    let ground = Ground::take(directory)?;
    let mut nodes = Nodes::start(&ground)?;
    let service = nodes.service(&ground)?;
    let mut times = Vec::new();
    for _ in 0..options.rounds {
        nodes.wait_until_level(&service, PATIENCE).await?;
        let leader = service.leader(PATIENCE).await?;
        let mut others = Vec::new();
        for number in (0..3).filter(|number| *number != leader) {
            let mut client = service.client(number);
            // Connected beforehand: a follower refuses, and that is an answer.
            let _ = ask(&mut client, Work::Put, 0).await;
            others.push(client);
        }
        let killed = Instant::now();
        nodes.kill(leader);
        'commits: loop {
            for client in &mut others {
                let asked = tokio::time::timeout(Duration::from_millis(500), ask(client, Work::Put, 1)).await;
                if matches!(asked, Ok(Ok(()))) {
                    break 'commits;
                }
            }
            if killed.elapsed() > PATIENCE {
                bail!("no commit within {PATIENCE:?} after the leader was killed");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(killed.elapsed());
        nodes.start_one(&ground, leader)?;
    }
    let sample = Sample::of(times);
    let row = Row::new(NAME, format!("SIGKILL → next commit, median of {}", sample.len()), sample.median(), "ms");
    report.rows.push(row.at_most(900.0, "ms"));
    report.rows.push(Row::new(NAME, "SIGKILL → next commit, slowest", sample.max(), "ms"));
    Ok(())
}
