//! Each runbook with somebody killed at every step: the leading coordinator, the agent at work, all coordinators at once. Each time it must
//! come to the same end with no effect twice, counted by the services' own journals, and one active at a time by the client's record.

use std::{collections::BTreeMap, time::Duration};

use baton_lab::{
    cluster::until,
    data_mover::{
        Client, Installation, Side,
        installation::NAME,
        judge,
        side::{SYNC, services},
    },
    horizon::properties,
    story::command,
};

use crate::driver::{self, Order, Setting, drive};

const WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Leader,
    Agent,
    Coordinators,
}

/// SIGKILL, and started again, as an init system would.
async fn accident(lab: &mut Installation, victim: Victim, order: &Order) {
    let coordinators = match victim {
        Victim::Agent => Vec::new(),
        Victim::Leader => vec![order.coordinator],
        Victim::Coordinators => (0..lab.cluster.coordinators()).collect(),
    };
    for number in &coordinators {
        lab.cluster.kill_coordinator(*number);
    }
    for number in coordinators {
        lab.cluster.start_coordinator(lab.world.fleet.registry(), number).expect("start the coordinator again");
    }
    if victim == Victim::Agent {
        lab.cluster.kill_agent(&order.host);
        lab.cluster.start_agent(lab.world.fleet.registry(), &order.host).expect("start the agent again");
    }
}

/// How often each service was started and stopped: (machine, service) → (starts, stops).
type Effects = BTreeMap<(String, String), (usize, usize)>;

fn effects(lab: &Installation, from: usize) -> Effects {
    let mut counted = Effects::new();
    for (machine, service, verb) in lab.world.effects().expect("journals").split_off(from) {
        let (starts, stops) = counted.entry((machine, service)).or_default();
        // Asking for what is so already has no effect.
        *starts += usize::from(verb == "start");
        *stops += usize::from(verb == "stop");
    }
    counted.retain(|_, count| *count != (0, 0));
    counted
}

/// What a runbook should have done: every service of `stopped` once, then every one of `started`; synchronization by itself.
fn expected(stopped: &[Side], started: Side, synchronization: &[(Side, (usize, usize))]) -> Effects {
    let mut effects = Effects::new();
    for (machine, service) in services() {
        let side = if Side::Primary.machines().contains(&machine) { Side::Primary } else { Side::Secondary };
        let count = match service == SYNC {
            true => synchronization.iter().find(|(at, _)| *at == side).map_or((0, 0), |(_, count)| *count),
            false => (usize::from(side == started), usize::from(stopped.contains(&side))),
        };
        effects.insert((machine.to_owned(), service.to_owned()), count);
    }
    effects.retain(|_, count| *count != (0, 0));
    effects
}

/// The world as it is before `configure`: everything runs on both sides.
async fn world(directory: &std::path::Path) -> Installation {
    // Nothing happens by itself here, and no lease ends while coordinators come back.
    let lab = driver::build(directory, &Setting::by_hand()).await;
    for side in Side::BOTH {
        lab.world.start(side).await.expect("started");
    }
    lab
}

async fn undisturbed(lab: &mut Installation, arguments: &[&str]) {
    drive(lab, arguments, async |_, _| {}).await;
}

/// Runs it with an accident at every step; there must be as many as `steps`.
async fn disturbed(lab: &mut Installation, victim: Victim, arguments: &[&str], steps: usize) {
    let mut killed = 0;
    let ordered = drive(lab, arguments, async |lab, order| {
        killed += 1;
        accident(lab, victim, order).await;
    })
    .await;
    assert_eq!(killed, ordered.len(), "somebody died at every step that was ordered");
    assert_eq!(killed, steps, "{ordered:?}");
}

const CONFIGURE: [&str; 3] = ["run", NAME, "configure"];
const FAILOVER: [&str; 2] = ["failover", NAME];
const SWITCHBACK: [&str; 3] = ["run", NAME, "switchback"];

/// The side serves in this epoch, alone, by its settings, by the client's record, by the coordinators.
async fn ended(lab: &Installation, client: Client, side: Side, epoch: i64) {
    let fresh = client.has_written(side.server(), 5, WITHIN).await.expect("clients are served");
    assert_eq!(fresh.epoch, epoch);
    let text = lab.world.properties(side).expect("settings");
    assert_eq!(properties::value(&text, "cluster.epoch"), Some(epoch.to_string()));
    assert!(text.contains("jobs.max.concurrent = 20"), "{text}");
    assert_eq!(lab.world.running_on(side.other()), [""; 0]);
    let group = until(WITHIN, "answer", || command::group(&lab.cluster, NAME)).expect("status");
    assert_eq!((&group["primary"], &group["epoch"]), (&side.name().into(), &epoch.into()), "{group:#}");
    let record = client.stop().await.expect("a record");
    let verdict = judge::judge(&record.acknowledged);
    assert_eq!(verdict.faults, [""; 0], "{}", verdict.summary());
    eprintln!("{}", verdict.summary());
}

async fn configure_survives(victim: Victim) {
    let directory = driver::folder();
    let mut lab = world(directory.path()).await;
    let client = lab.start_client().expect("a client");
    disturbed(&mut lab, victim, &CONFIGURE, 27).await;
    // From the beginning, when everything was started once: what runs on the secondary is stopped by its agent or by the run.
    let sync = [(Side::Primary, (0, 0)), (Side::Secondary, (0, 1))];
    let mut once_more = expected(&Side::BOTH, Side::Primary, &sync);
    for (machine, service) in services() {
        once_more.entry((machine.to_owned(), service.to_owned())).or_default().0 += 1;
    }
    assert_eq!(effects(&lab, 0), once_more);
    ended(&lab, client, Side::Primary, 1).await;
}

async fn failover_survives(victim: Victim) {
    let directory = driver::folder();
    let mut lab = world(directory.path()).await;
    undisturbed(&mut lab, &CONFIGURE).await;
    let client = lab.start_client().expect("a client");
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    let noted = lab.world.effects().expect("journals").len();
    disturbed(&mut lab, victim, &FAILOVER, 19).await;
    let sync = [(Side::Primary, (0, 1))];
    assert_eq!(effects(&lab, noted), expected(&[Side::Primary], Side::Secondary, &sync));
    ended(&lab, client, Side::Secondary, 2).await;
}

async fn switchback_survives(victim: Victim) {
    let directory = driver::folder();
    let mut lab = world(directory.path()).await;
    undisturbed(&mut lab, &CONFIGURE).await;
    let client = lab.start_client().expect("a client");
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    undisturbed(&mut lab, &FAILOVER).await;
    client.has_written("dm2", 5, WITHIN).await.expect("dm2 serves");
    let noted = lab.world.effects().expect("journals").len();
    disturbed(&mut lab, victim, &SWITCHBACK, 34).await;
    let sync = [(Side::Primary, (1, 0))];
    assert_eq!(effects(&lab, noted), expected(&[Side::Secondary], Side::Primary, &sync));
    let record = client.record();
    let of_secondary = record.acknowledged.iter().filter(|one| one.epoch == 2);
    let kept = judge::kept(of_secondary, &lab.world.repository(Side::Primary).jobs().await.expect("jobs"));
    assert!(kept.missing.is_empty() && kept.altered.is_empty() && kept.present > 0, "{kept:?}");
    ended(&lab, client, Side::Primary, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configure_survives_the_leaders_death_at_every_step() {
    configure_survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configure_survives_the_agents_death_at_every_step() {
    configure_survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configure_survives_the_death_of_all_coordinators_at_every_step() {
    configure_survives(Victim::Coordinators).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_survives_the_leaders_death_at_every_step() {
    failover_survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_survives_the_agents_death_at_every_step() {
    failover_survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_survives_the_death_of_all_coordinators_at_every_step() {
    failover_survives(Victim::Coordinators).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchback_survives_the_leaders_death_at_every_step() {
    switchback_survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchback_survives_the_agents_death_at_every_step() {
    switchback_survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchback_survives_the_death_of_all_coordinators_at_every_step() {
    switchback_survives(Victim::Coordinators).await;
}
