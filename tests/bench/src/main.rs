//! `cargo bench-all`: what Baton takes and gives, in one table, with what is beside it in the same run.
//!
//! Real processes, real certificates, a real disk. Nothing is judged here but by numbers that were just measured; what is
//! aimed at stands beside them. It must never be part of a test: a busy machine is no defect.

mod commit;
mod crowd;
mod disk;
mod etcd;
mod failover;
mod fanout;
mod footprint;
mod ground;
mod installation;
mod kv;
mod leader_loss;
mod limits;
mod node;
mod nodes;
mod probing;
mod sample;
mod sessions;
mod stamp;
mod step;
mod table;
mod usage;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use crate::table::{Machine, Report};

/// Measure Baton on this machine
#[derive(Debug, Parser)]
#[command(name = "cargo bench-all")]
struct Arguments {
    /// One JSON document instead of the table
    #[arg(long, global = true)]
    json: bool,
    /// Where the clusters keep their data: on the disk that is meant
    #[arg(long, global = true, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// One of them alone; all without it
    #[command(subcommand)]
    only: Option<Benchmark>,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Commits and linearizable reads of three nodes, beside etcd and the disk
    Commit(commit::Options),
    /// SIGKILL of the leader → the first commit on the next one
    LeaderLoss(leader_loss::Options),
    /// The end of one task's effect → the start of the next on another agent
    Step(step::Options),
    /// One step over a thousand agents
    Fanout(fanout::Options),
    /// Memory and CPU of an idle session
    Sessions(sessions::Options),
    /// An idle agent's memory, and its size on disk
    Agent(footprint::Options),
    /// A component's death or its host's loss → the verdict → the first write served on the other side
    Failover(failover::Options),
    /// What a thousand watched components cost their agent and the leader
    Probing(probing::Options),
    #[command(hide = true)]
    Node(node::Arguments),
    #[command(hide = true)]
    Stamp { path: PathBuf },
}

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> Result<()> {
    // Before everything else: this one's start is measured.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "stamp")
        && let Some(path) = words.next()
    {
        return stamp::write(Path::new(&path));
    }
    let arguments = Arguments::parse();
    baton_platform::tls::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(perform(arguments))
}

async fn perform(arguments: Arguments) -> Result<()> {
    let directory = match arguments.directory {
        Some(directory) => std::path::absolute(directory)?,
        // Beside this program: a temporary folder may be in memory, where an fsync costs nothing.
        None => std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned(),
    };
    let mut report = Report { machine: Machine { load_before: load(), ..Machine::default() }, ..Report::default() };
    match arguments.only {
        Some(Benchmark::Node(arguments)) => return node::run(arguments).await,
        Some(Benchmark::Stamp { path }) => return stamp::write(&path),
        Some(one) => one.run(&directory, &mut report).await?,
        None => {
            for one in every()? {
                one.run(&directory, &mut report).await?;
            }
        }
    }
    report.machine.cores = std::thread::available_parallelism().map_or(0, usize::from);
    report.machine.load_after = load();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// All of them, each with its defaults.
fn every() -> Result<Vec<Benchmark>> {
    fn defaults<T: Args + clap::FromArgMatches>() -> Result<T> {
        let matches = T::augment_args(clap::Command::new("defaults")).try_get_matches_from(["defaults"])?;
        Ok(T::from_arg_matches(&matches)?)
    }
    Ok(vec![
        Benchmark::Agent(defaults()?),
        Benchmark::Commit(defaults()?),
        Benchmark::LeaderLoss(defaults()?),
        Benchmark::Step(defaults()?),
        Benchmark::Fanout(defaults()?),
        Benchmark::Sessions(defaults()?),
        Benchmark::Probing(defaults()?),
        Benchmark::Failover(defaults()?),
    ])
}

impl Benchmark {
    async fn run(self, directory: &Path, report: &mut Report) -> Result<()> {
        let name = match &self {
            Benchmark::Commit(_) => "commit",
            Benchmark::LeaderLoss(_) => "leader-loss",
            Benchmark::Step(_) => "step",
            Benchmark::Fanout(_) => "fanout",
            Benchmark::Sessions(_) => "sessions",
            Benchmark::Agent(_) => "agent",
            Benchmark::Failover(_) => "failover",
            Benchmark::Probing(_) => "probing",
            Benchmark::Node(_) | Benchmark::Stamp { .. } => return Ok(()),
        };
        eprintln!("measuring {name} (load {})", load());
        match self {
            Benchmark::Commit(options) => commit::run(options, directory, report).await,
            Benchmark::LeaderLoss(options) => leader_loss::run(options, directory, report).await,
            Benchmark::Step(options) => step::run(options, directory, report).await,
            Benchmark::Fanout(options) => fanout::run(options, directory, report).await,
            Benchmark::Sessions(options) => sessions::run(options, directory, report).await,
            Benchmark::Agent(options) => footprint::run(options, directory, report).await,
            Benchmark::Failover(options) => failover::run(options, report).await,
            Benchmark::Probing(options) => probing::run(options, directory, report).await,
            Benchmark::Node(_) | Benchmark::Stamp { .. } => Ok(()),
        }
        .with_context(|| format!("measure {name}"))
    }
}

/// Load averages of 1, 5 and 15 minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
