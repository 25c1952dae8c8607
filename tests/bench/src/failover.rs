//! How long nobody serves when a group fails over by itself: a component dies, or its whole host.
//!
//! Network namespaces, real processes, clients that write all the time; the times are the component's and the clients' own, on the one
//! clock of the machine. The verdict is the moment at which the run was committed. Beside a host's loss stands what cannot be
//! shortened: the time after which its lease has certainly run out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use baton_lab::{
    cluster::Binaries,
    horizon,
    namespaces::{
        Options as WorldOptions, World, component,
        group::{self, Asked, Pace},
    },
};
use baton_model::{group::Lease, time::Span};

use crate::{
    installation::binaries,
    sample::Sample,
    table::{Report, Row},
};

const NAME: &str = "failover";
/// The coordinators' times as `coordinator.toml` has them where it says nothing.
const DEFAULT_TIMES: &str = "[raft]\n";
/// How long a failure must hold.
const HOLDS_FOR: Span = Span(1_000);

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Seconds that the lease lasts, and between two questions to the component.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 5, 15])]
    pub settings: Vec<u64>,
    /// Accidents of each kind.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
}

/// What happens to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accident {
    /// SIGKILL to the component.
    Death,
    /// Its cable is pulled, and everything on it is killed.
    Loss,
}

/// Milliseconds from the accident.
struct Times {
    verdict: f64,
    served: f64,
}

pub async fn run(options: Options, report: &mut Report) -> Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    let binaries = binaries()?;
    // The world's own waits block.
    let rows = tokio::task::spawn_blocking(move || measure(&options, &binaries)).await??;
    report.rows.extend(rows);
    report.notes.push(format!(
        "{NAME}: the failure must hold for {HOLDS_FOR}; the runbook stops the old side where it can, moves the role, starts the new side"
    ));
    Ok(())
}

fn measure(options: &Options, binaries: &Binaries) -> Result<Vec<Row>> {
    let helper = horizon::helper().context("find baton-lab beside this program")?;
    let mut rows = Vec::new();
    for seconds in &options.settings {
        let lease =
            Lease { lasts: Span::from_secs(*seconds), stop_within: Span(group::STOP_WITHIN.as_millis() as u64) };
        for (accident, asked) in
            [(Accident::Death, Asked::Process), (Accident::Death, Asked::Port), (Accident::Loss, Asked::Process)]
        {
            let what = match (accident, asked) {
                (Accident::Death, Asked::Process) => "death, seen by the kernel",
                (Accident::Death, Asked::Port) => "death, seen by asking its port",
                (Accident::Loss, _) => "its host's loss",
            };
            let pace = Pace {
                lease: format!("{{ lasts: {}, stop_within: {} }}", lease.lasts, lease.stop_within),
                automatic: format!("for: {HOLDS_FOR}, grace: {}s, cooldown: 1s", seconds + 2),
                every: format!("{seconds}s"),
                asked,
            };
            let world = WorldOptions { pace, times: Some(DEFAULT_TIMES.to_owned()), ..WorldOptions::default() };
            let mut world = World::build(helper.clone(), binaries.clone(), &world)?;
            let mut times = Vec::new();
            for _ in 0..options.rounds {
                times.push(
                    round(&mut world, accident, Duration::from_secs(seconds + 3))
                        .with_context(|| format!("{seconds} s, {what}"))?,
                );
            }
            world.judge()?;
            let of = |pick: fn(&Times) -> f64| Sample::of_ms(times.iter().map(pick));
            let (verdict, served) = (of(|times| times.verdict), of(|times| times.served));
            let row =
                |measure: &str, value: f64| Row::new(NAME, format!("{seconds} s: {what} → {measure}"), value, "ms");
            rows.push(row(&format!("verdict, median of {}", verdict.len()), verdict.median()));
            let served_row = row("first write served, median", served.median());
            let limit = match accident {
                Accident::Loss => (lease.surely_over().0 as f64, "the lease, surely over"),
                Accident::Death => (HOLDS_FOR.0 as f64, "how long it must hold"),
            };
            rows.push(served_row.beside(limit.0, limit.1, served.median() / limit.0));
            rows.push(row("first write served, slowest", served.max()));
        }
    }
    Ok(rows)
}

/// One accident, until the group is armed on the side that took over. `quiet`: before it, so that the grace after the last run is over.
fn round(world: &mut World, accident: Accident, quiet: Duration) -> Result<Times> {
    let Some(active) = world.active().into_iter().next() else { bail!("nobody is active: {}", world.story()) };
    let (old, epoch) = (active.host, active.epoch);
    let new = if old == "h1" { "h2" } else { "h1" };
    world.until_settled()?;
    world.until_served(&old, epoch, quiet)?;
    let (begun_ns, begun_ms) = (component::now_ns(), now_unix_ms());
    match accident {
        Accident::Death => ensure!(world.kill_component(&old), "the component does not run on {old}"),
        Accident::Loss => {
            world.network.pull(&old)?;
            world.network.inhabitants(&old).kill()?;
        }
    }
    let taken = world.until_taken_over(new, epoch)?;
    world.until_taken(new, taken, 1)?;
    let first_ns = world.clients.acks().iter().filter(|ack| ack.epoch == taken).map(|ack| ack.at_ns).min();
    let first_ns = first_ns.context("nothing was served")?;
    let verdict_ms = verdict(world)?;
    if accident == Accident::Loss {
        world.network.heal()?;
        world.cluster.start_agent(&world.registry, &old)?;
    }
    world.until_settled()?;
    world.say(&["auto", "rearm", group::GROUP, "--reason", "the next accident"])?;
    Ok(Times {
        verdict: verdict_ms.checked_sub(begun_ms).context("the verdict came before the accident")? as f64,
        served: (first_ns - begun_ns) as f64 / 1e6,
    })
}

/// When the newest run was committed, by the clock of the coordinator that proposed it: this machine's.
fn verdict(world: &World) -> Result<u64> {
    let runs = world.cluster.json(&["runs", group::GROUP])?;
    let runs = runs.as_array().context("a list of runs")?;
    let newest = runs.iter().filter(|run| run["runbook"] == "failover");
    let newest = newest.max_by_key(|run| run["started"]["when"].as_u64()).context("no failover")?;
    newest["started"]["when"].as_u64().with_context(|| format!("when it started: {newest}"))
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
