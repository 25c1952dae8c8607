//! From the end of one task's effect to the start of the next on another agent, with real coordinators and agents.
//!
//! In between lie: the first agent's journal, the report, one commit, the order, the second agent's journal (twice), and
//! the start of a program, which is measured by itself too. Beside it one commit as a client sees it.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use baton_lab::cluster::AgentSetting;

use crate::{
    ground::Ground,
    installation::{Installation, binaries},
    kv::{Work, window},
    nodes::Nodes,
    sample::Sample,
    stamp,
    table::{Report, Row},
};

const NAME: &str = "step";
const PATIENCE: Duration = Duration::from_secs(60);
const HOSTS: [&str; 2] = ["left", "right"];

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Steps of one run, each on the other agent.
    #[arg(long, default_value_t = 30)]
    pub steps: usize,
    #[arg(long, default_value_t = 7)]
    pub runs: usize,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    ensure!(options.steps >= 2, "--steps must be at least 2");
    let mut installation = Installation::start(directory, binaries()?)?;
    let program = std::env::current_exe()?;
    let stamps = installation.ground.path().join("stamps");
    fs::create_dir_all(&stamps)?;
    let policy = format!("programs = [{:?}]\n", program.display().to_string());
    for host in HOSTS {
        let setting = AgentSetting { policy: policy.clone(), ..AgentSetting::default() };
        let Installation { cluster, ground, .. } = &mut installation;
        cluster.add_agent(&ground.registry, host, &setting)?;
    }
    installation.cluster.wait_for_agents(&HOSTS, PATIENCE)?;
    installation.define("pair", GROUP, &runbook(options.steps, &program, &stamps))?;
    let mut operator = installation.operator()?;
    let (mut gaps, mut commits) = (Vec::new(), Vec::new());
    // The other cluster has a folder and addresses of its own; while one is measured the other has nothing to do.
    let ground = Ground::take(directory)?;
    let nodes = Nodes::start(&ground)?;
    let clients = nodes.service(&ground)?.clients(1).await?;
    for _ in 0..options.runs {
        let planned = operator.plan("pair").await?;
        let run = operator.start(planned).await?;
        operator.wait(&run, PATIENCE).await?;
        let mut before: Option<stamp::Stamp> = None;
        for number in 0..options.steps {
            let path = stamps.join(number.to_string());
            let stamp = stamp::read(&path)?;
            fs::remove_file(&path)?;
            if let Some(before) = before {
                gaps.push(
                    stamp.began.checked_sub(before.ended).context("a step began before the one before it ended")?,
                );
            }
            before = Some(stamp);
        }
        commits.push(window(&clients, Work::Put, Duration::from_secs(1)).await?.times.median());
    }
    let alone = Sample::of((0..50).map(|_| start_alone(&program, &stamps)).collect::<Result<Vec<_>>>()?).median();
    let gap = Sample::of(gaps);
    let commit = Sample::of_ms(commits).median();
    let count = gap.len();
    report.rows.push(Row::new(NAME, "one commit, 1 client, p50", commit, "ms"));
    report.rows.push(Row::new(NAME, "a program started and collected without Baton, p50", alone, "ms"));
    report.rows.push(Row::new(
        NAME,
        format!("effect → next effect on the other agent, p50 of {count}"),
        gap.median(),
        "ms",
    ));
    report.rows.push(Row::new(NAME, "effect → next effect on the other agent, p99", gap.percentile(0.99), "ms"));
    report.rows.push(Row::new(NAME, "the same p50 in commits", gap.median() / commit, "commits"));
    let rest = (gap.median() - alone).max(0.0) / commit;
    report
        .rows
        .push(Row::new(NAME, "without the program's own start, in commits", rest, "commits").at_most(2.0, "commits"));
    Ok(())
}

/// What starting such a program and learning of its end costs without Baton.
fn start_alone(program: &Path, stamps: &Path) -> Result<Duration> {
    let path = stamps.join("alone");
    let begun = stamp::now();
    let ended = Command::new(program).arg("stamp").arg(&path).status()?;
    let over = stamp::now();
    ensure!(ended.success(), "a stamp ended with {ended}");
    let stamp = stamp::read(&path)?;
    Ok((stamp.began - begun) + (over - stamp.ended))
}

const GROUP: &str = "group: pair\nprimary: a\n\
    members:\n  a: { hosts: { main: left } }\n  b: { hosts: { main: right } }\n\
    roles: { left: left, right: right }\n\
    hosts:\n  left: { address: 127.0.0.1 }\n  right: { address: 127.0.0.1 }\n\
    runbooks:\n  work: work.yaml\n";

fn runbook(steps: usize, program: &Path, stamps: &Path) -> String {
    let mut text = "runbook: work\nsteps:\n".to_owned();
    for number in 0..steps {
        let on = HOSTS[number % HOSTS.len()];
        let file = stamps.join(number.to_string());
        let _ = writeln!(
            text,
            "  - on: {on}\n    exec.run: {{ argv: [{:?}, stamp, {:?}] }}",
            program.display().to_string(),
            file.display().to_string()
        );
    }
    text
}
