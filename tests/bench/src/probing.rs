//! What watching costs: a thousand components of one host, asked every five seconds.
//!
//! A real agent and real coordinators; the components are a port of this program, or the coordinators' processes, so that their own work
//! is next to nothing. Beside it stands the same host with nothing to watch.

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use baton_lab::cluster::{AgentSetting, Binaries, until};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::{
    installation::{Installation, binaries},
    table::{Report, Row},
    usage,
};

const NAME: &str = "probing";
const PATIENCE: Duration = Duration::from_secs(120);
const HOST: &str = "watched";
/// A group has at most so many components.
const EACH: usize = baton_model::group::COMPONENTS_MAX;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How they are asked.
    #[arg(long, value_delimiter = ',', default_values = ["tcp", "process"], value_parser = ["tcp", "process"])]
    pub kinds: Vec<String>,
    #[arg(long, default_value_t = 1000)]
    pub components: usize,
    /// Seconds between two questions to one of them.
    #[arg(long, default_value_t = 5)]
    pub every: u64,
    /// Milliseconds over which processor time is measured.
    #[arg(long, default_value_t = 30_000)]
    pub watch_ms: u64,
}

/// What two processes take of a core, and the agent's memory in KiB.
struct Cost {
    agent: f64,
    leader: f64,
    resident: f64,
}

pub async fn run(options: Options, directory: &Path, report: &mut Report) -> Result<()> {
    ensure!(options.components > 0 && options.every > 0, "--components and --every must be at least 1");
    let binaries = binaries()?;
    for kind in &options.kinds {
        // Each in an installation of its own: what the one before it left in memory is not this one's.
        let mut installation = Installation::start(directory, binaries.clone())?;
        measure(&options, kind, &binaries, &mut installation, report)
            .await
            .with_context(|| format!("{kind} probes"))?;
    }
    Ok(())
}

async fn measure(
    options: &Options,
    kind: &str,
    binaries: &Binaries,
    installation: &mut Installation,
    report: &mut Report,
) -> Result<()> {
    // One that runs anyway, and is no ancestor of the agent: those it never takes for a component.
    let program = &binaries.coordinator;
    let port = answer(installation.ground.address(10, 0))?;
    let probe = match kind {
        "tcp" => format!("{{ tcp: {{ host: {}, port: {} }} }}", port.ip(), port.port()),
        _ => format!("{{ process: {{ program: {program:?} }} }}"),
    };
    let policy = format!("programs = [{program:?}]\n");
    let setting = AgentSetting { policy, ..AgentSetting::default() };
    installation.cluster.add_agent(&installation.ground.registry, HOST, &setting)?;
    installation.cluster.wait_for_agents(&[HOST], PATIENCE)?;
    let length = Duration::from_millis(options.watch_ms);
    let without = cost(installation, length).await?;
    define(installation, options, kind, &probe)?;
    // Every one has been asked, and found well: then it is measured.
    until(PATIENCE, "every component healthy", || healthy(installation, options.components))?;
    let with = cost(installation, length).await?;
    let row = |measure: &str, value: f64, unit| {
        Row::new(NAME, format!("{} × {kind} every {} s: {measure}", options.components, options.every), value, unit)
    };
    let share = |measure: &str, with: f64, without: f64| {
        let row = row(measure, with * 100.0, "% of a core");
        // Less than a tick of the clock is nothing to compare with.
        if without > 0.0 { row.beside(without * 100.0, "nothing watched", with / without) } else { row }
    };
    report.rows.push(share("the agent, CPU", with.agent, without.agent));
    let questions = options.components as f64 / options.every as f64;
    let question = (with.agent - without.agent) * 1e6 / questions;
    let asked = row("a question, CPU of the agent", question, "µs");
    report.rows.push(match kind {
        "tcp" => {
            let bare = bare_connection(port)?;
            asked.beside(bare, "a bare connect and close", question / bare)
        }
        _ => asked,
    });
    report.rows.push(share("the leader, CPU", with.leader, without.leader));
    let more = (with.resident - without.resident) / options.components as f64;
    report.rows.push(row("the agent, resident memory each", more, "KiB"));
    Ok(())
}

async fn cost(installation: &Installation, length: Duration) -> Result<Cost> {
    let agent = installation.agent_pid(HOST)?;
    let leader = installation.coordinator_pid(installation.cluster.leader()?)?;
    let (one, two) = (usage::load(agent, length), usage::load(leader, length));
    let (agent_load, leader_load) = tokio::join!(one, two);
    Ok(Cost { agent: agent_load?, leader: leader_load?, resident: usage::memory(agent)?.resident })
}

/// Groups of as many components as a group may have.
fn define(installation: &Installation, options: &Options, kind: &str, probe: &str) -> Result<()> {
    let numbers: Vec<usize> = (0..options.components).collect();
    for (group, numbers) in numbers.chunks(EACH).enumerate() {
        let group = format!("{kind}-{group}");
        let other = format!("nobody-{group}");
        let mut text = format!(
            "group: {group}\nprimary: a\nmembers:\n  a: {{ hosts: {{ service: {HOST} }} }}\n  b: {{ hosts: {{ service: {other} }} }}\n\
             hosts:\n  {HOST}: {{ address: 127.0.0.1 }}\n  {other}: {{ address: 127.0.0.1 }}\ncomponents:\n"
        );
        for number in numbers {
            writeln!(text, "  c{number}: {{ on: service, probe: {probe}, every: {}s }}", options.every)?;
        }
        text += "runbooks: { work: work.yaml }\n";
        installation.define(&group, &text, "runbook: work\nsteps:\n  - confirm: Nothing is done\n")?;
    }
    Ok(())
}

/// As the coordinators show it.
fn healthy(installation: &Installation, wanted: usize) -> Result<()> {
    let status = installation.cluster.json(&["status"])?;
    let groups = status["groups"].as_array().or(status.as_array()).context("a list of groups")?;
    let components = groups.iter().flat_map(|group| group["components"].as_array()).flatten();
    let here: Vec<&Value> = components.filter(|component| component["host"] == HOST).collect();
    let well = here.iter().filter(|component| component["health"] == "healthy").count();
    let other = here.iter().find(|component| component["health"] != "healthy");
    ensure!(
        well == wanted && here.len() == wanted,
        "{well} of {} are healthy; one of the others: {other:?}",
        here.len()
    );
    Ok(())
}

/// Microseconds of processor time that a connection costs who makes it, without anything around it.
fn bare_connection(port: SocketAddr) -> Result<f64> {
    const TIMES: u32 = 2000;
    let spent = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
    };
    let before = spent();
    for _ in 0..TIMES {
        drop(TcpStream::connect(port)?);
    }
    Ok((spent() - before) / f64::from(TIMES))
}

/// A port that takes whoever calls and says nothing. For as long as this program runs.
fn answer(address: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(bound)
}
