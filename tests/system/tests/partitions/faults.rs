//! Faults by chance, one after the other, with automatic failover on: never two at once, and never a second automatic failover while
//! the group is limited. What is counted are the epochs that the component itself was started with.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use baton_lab::namespaces::{
    Options, World,
    judge::BY_HAND,
    network::{COORDINATORS, HOSTS},
    world::until,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;

use crate::{Told, count, member, other, world_with};

/// A fault lasts so long; the longest is longer than a failover takes.
const LASTS_MS: std::ops::Range<u64> = 200..9_000;
/// One that is started by hand where the role is not: asked every 500 ms, then ended.
const INTRUSION_MAX: Duration = Duration::from_secs(3);
/// How long everything may take to be well again.
const PATIENCE: Duration = Duration::from_secs(150);

#[derive(Debug, Clone, PartialEq)]
enum Fault {
    /// From every coordinator.
    CutHost(&'static str),
    CutSome(Vec<(&'static str, &'static str)>),
    CutOneWay(Vec<(&'static str, &'static str)>),
    Isolate(&'static str),
    Unplug(&'static str),
    KillComponent(&'static str),
    KillAgent(&'static str),
    KillCoordinators(Vec<usize>),
    StopCoordinator(usize),
    /// Its watchdog resets the host.
    StopAgent(&'static str),
    /// Everything on it, and it comes back at once.
    Reboot(&'static str),
    Intrude(&'static str),
    /// The component dies, and then its host is cut.
    KillThenCut(&'static str),
}

fn pick<T: Copy>(chance: &mut StdRng, from: &[T]) -> T {
    from[chance.random_range(0..from.len())]
}

fn pairs(chance: &mut StdRng) -> Vec<(&'static str, &'static str)> {
    let places: Vec<&'static str> = COORDINATORS.into_iter().chain(HOSTS).collect();
    let number = chance.random_range(2..=8);
    let mut pairs: Vec<_> = (0..number).map(|_| (pick(chance, &places), pick(chance, &places))).collect();
    pairs.retain(|(one, two)| one != two);
    pairs
}

fn fault(chance: &mut StdRng, primary: &'static str, leader: usize) -> Fault {
    let host = pick(chance, &[primary, primary, other(primary)]);
    let coordinator = pick(chance, &[leader, 0, 1, 2]);
    match chance.random_range(0..16) {
        0 | 1 => Fault::CutHost(host),
        2 => Fault::CutSome(pairs(chance)),
        3 | 4 => Fault::CutOneWay(pairs(chance)),
        5 => Fault::Isolate(pick(chance, &[COORDINATORS[coordinator], host])),
        6 => Fault::Unplug(pick(chance, &[COORDINATORS[coordinator], host])),
        7 | 8 => Fault::KillComponent(primary),
        9 => Fault::KillAgent(host),
        10 => Fault::KillCoordinators(vec![coordinator]),
        11 => Fault::KillCoordinators(vec![0, 1, 2]),
        12 => Fault::StopCoordinator(coordinator),
        13 => Fault::StopAgent(host),
        14 if chance.random_bool(0.5) => Fault::Reboot(host),
        14 => Fault::KillThenCut(primary),
        _ => Fault::Intrude(other(primary)),
    }
}

fn apply(world: &mut World, fault: &Fault) -> Result<()> {
    match fault {
        Fault::CutHost(host) => COORDINATORS.iter().try_for_each(|coordinator| world.network.cut(host, coordinator)),
        Fault::CutSome(pairs) => pairs.iter().try_for_each(|(one, two)| world.network.cut(one, two)),
        Fault::CutOneWay(pairs) => pairs.iter().try_for_each(|(from, to)| world.network.cut_one_way(from, to)),
        Fault::Isolate(place) => world.network.isolate(place),
        Fault::Unplug(place) => world.network.pull(place),
        Fault::KillComponent(host) => {
            world.kill_component(host);
            Ok(())
        }
        Fault::KillAgent(host) => {
            world.cluster.kill_agent(host);
            Ok(())
        }
        Fault::KillCoordinators(numbers) => {
            numbers.iter().for_each(|number| world.cluster.kill_coordinator(*number));
            Ok(())
        }
        Fault::StopCoordinator(number) => {
            world.cluster.signal_coordinator(*number, Signal::STOP);
            Ok(())
        }
        Fault::StopAgent(host) => {
            world.cluster.signal_agent(host, Signal::STOP);
            Ok(())
        }
        Fault::Reboot(host) => {
            world.network.inhabitants(host).kill()?;
            world.cluster.kill_agent(host);
            world.cluster.start_agent(&world.registry, host)
        }
        Fault::Intrude(host) => world.intrude(host),
        Fault::KillThenCut(host) => {
            world.kill_component(host);
            thread::sleep(Duration::from_millis(300));
            COORDINATORS.iter().try_for_each(|coordinator| world.network.cut(host, coordinator))
        }
    }
}

/// The network is whole and everybody runs.
fn repair(world: &mut World) -> Result<()> {
    world.network.heal()?;
    for number in 0..world.cluster.coordinators() {
        if !world.cluster.signal_coordinator(number, Signal::CONT) {
            world.cluster.kill_coordinator(number);
            world.cluster.start_coordinator(&world.registry, number)?;
        }
    }
    for host in HOSTS {
        if !world.cluster.signal_agent(host, Signal::CONT) {
            world.cluster.kill_agent(host);
            world.cluster.start_agent(&world.registry, host)?;
        }
    }
    Ok(())
}

/// What is known when all is well.
#[derive(Debug, Clone, Copy)]
struct Calm {
    primary: &'static str,
    epoch: u64,
    limited: bool,
}

/// Waits until all is well, and does what an operator does: goes on with a run that was halted, and starts a component that a lease
/// has stopped, where Baton may not fail over again.
fn until_calm(world: &mut World) -> Result<Calm> {
    let begun = Instant::now();
    loop {
        match look(world) {
            Ok(calm) => return Ok(calm),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.context("it does not become well")),
            Err(_) => {}
        }
        // A host whose watchdog has fired meanwhile is started again.
        repair(world)?;
        operate(world)?;
        thread::sleep(Duration::from_millis(100));
    }
}

fn look(world: &World) -> Result<Calm> {
    let status = world.status()?;
    ensure!(status["open_run"].is_null(), "a run is open: {status}");
    let primary = if status["primary"] == member("h1") { "h1" } else { "h2" };
    let limited = status["automatic"]["limited"].is_object();
    match world.active().as_slice() {
        [one] if one.host == primary && status["epoch"] == one.epoch => Ok(Calm { primary, epoch: one.epoch, limited }),
        other => bail!("active: {other:?}; {}", world.story()),
    }
}

fn operate(world: &World) -> Result<()> {
    let Ok(status) = world.status() else { return Ok(()) };
    let run = &status["open_run"];
    if run["phase"] == "halted" {
        let id = run["id"].as_str().unwrap_or_default();
        let words = |verb| {
            ["--reason", "the operator's turn"].iter().fold(vec![verb, id], |mut all, word| {
                all.push(word);
                all
            })
        };
        // Either may be refused, and is tried again when it is not.
        if !world.cluster.baton(&words("retry"))?.status.success() {
            drop(world.cluster.baton(&words("abort"))?);
        }
    } else if run.is_null() && status["automatic"]["limited"].is_object() && world.active().is_empty() {
        drop(world.run("start", &[]));
    }
    Ok(())
}

#[test]
fn whatever_happens_one_after_the_other_never_two_serve_and_no_second_failover_comes_while_limited() {
    let seed = std::env::var("BATON_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().expect("a seed"));
    println!("BATON_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut world = world_with(&Options { watchdogs: true, ..Options::default() });
    let mut calm = until_calm(&mut world).told();
    let (mut failovers, mut limited_faults) = (0, 0);
    for turn in 0..count("BATON_FAULTS", 6) {
        let leader = world.cluster.leader().unwrap_or(0);
        let fault = fault(&mut chance, calm.primary, leader);
        let lasts = Duration::from_millis(chance.random_range(LASTS_MS));
        println!("{turn}: {fault:?} for {lasts:?}; {calm:?}");
        let begun = Instant::now();
        apply(&mut world, &fault).told();
        // It is part of the fault how long it lasts; and nobody waits for anything here.
        while begun.elapsed() < lasts {
            thread::sleep(Duration::from_millis(200));
            world.judge().told();
        }
        repair(&mut world).told();
        let next = until_calm(&mut world).told();
        world.judge().told();
        let moved = next.epoch - calm.epoch;
        limited_faults += usize::from(calm.limited);
        failovers += usize::try_from(moved).expect("few");
        let most = u64::from(!calm.limited);
        assert!(moved <= most, "{moved} automatic failovers, from {calm:?} to {next:?}; {}", world.story());
        assert!(moved == 0 || next.limited, "it failed over and is not limited: {}", world.story());
        calm = next;
        // Mostly armed again; else the next fault finds it limited.
        if calm.limited && chance.random_bool(0.6) {
            world.until_settled().told();
            if chance.random_bool(0.5) {
                world.run("switchback", &["--to", member(other(calm.primary))]).told();
            } else {
                world.say(&["auto", "rearm", "svc", "--reason", "the next one"]).told();
            }
            let before = calm.epoch;
            calm = until_calm(&mut world).told();
            assert!(!calm.limited && calm.epoch <= before + 1, "{calm:?}; {}", world.story());
        }
    }
    intrusions(&world);
    let verdict = world.judge().told();
    println!(
        "BATON_SEED={seed}: {failovers} automatic failovers, {limited_faults} faults while limited, {} moves in all, smallest gap {:?}, median {:?}",
        verdict.gaps.len(),
        verdict.smallest_gap(),
        verdict.median_gap()
    );
}

/// What was started by hand has ended.
fn intrusions(world: &World) {
    until("what was started by hand is stopped", || {
        ensure!(world.active().iter().all(|one| one.epoch != BY_HAND), "{:?}", world.active());
        Ok(())
    })
    .told();
    for one in world.tenancies().into_iter().filter(|one| one.epoch == BY_HAND) {
        let ran = Duration::from_nanos(one.last_ns - one.first_ns);
        println!("by hand on {}: ran for {ran:?}", one.host);
        assert!(ran < INTRUSION_MAX, "{one:?}");
    }
}
