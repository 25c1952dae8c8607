//! The failover of a Horizon appliance with somebody killed at every step: the leading coordinator, the agent at work,
//! everybody. Each time the run must go on by itself to the same end, with no effect twice: counted by what the servers,
//! the files and the appliance's own scripts say, not by Baton's records.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use baton_crashes::{
    drive::{begin, drive},
    first_orders::{FirstOrders, Order},
    news::Chronicle,
};
use baton_lab::{
    cluster::{Binaries, until},
    horizon::{self, Database, Organization, Side, appliance::Service},
    installation::{Installation, Size},
    packages,
};

/// How long a run may take with all its accidents, on a loaded machine.
const WITHIN: Duration = Duration::from_secs(300);
const GROUP: &str = "desktone-provider";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Leader,
    Agent,
    Everybody,
}

async fn installation(directory: &std::path::Path) -> Installation {
    let programs = packages::ensure(&packages::HORIZON, |line| eprintln!("{line}")).await.expect("packages");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let size = Size { tenant: false, thousands: 1 };
    Installation::build(directory, programs, helper, binaries, size, |line| eprintln!("{line}")).await.expect("a world")
}

fn directory() -> tempfile::TempDir {
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("baton-system-").permissions(open).tempdir().expect("a folder")
}

/// What the outside world says that was done on the new primary's appliance.
#[derive(Debug, PartialEq, Eq)]
struct Effects {
    /// By (service, verb), from the appliance's own scripts.
    scripts: BTreeMap<(String, String), usize>,
    av_setups: i64,
    properties: BTreeMap<String, String>,
    slony_schema: bool,
    primary: String,
    epoch: u64,
}

async fn effects(installation: &Installation, before: usize) -> Effects {
    let world = &installation.world;
    let b = world.appliance(Organization::Provider, Side::B);
    let mut scripts = BTreeMap::new();
    for effect in world.effects(b).expect("the appliance's record").iter().skip(before) {
        *scripts.entry((effect.what.clone(), effect.verb.clone())).or_default() += 1;
    }
    let client = world.superuser(b, Database::Fdb).connect().await.expect("connect to B");
    let count = |sql: &'static str| {
        let client = &client;
        async move { client.query_one(sql, &[]).await.expect(sql).get::<_, i64>(0) }
    };
    let av_setups = count("select count(*) from av_setup_run").await;
    let slony_schema = count("select count(*) from pg_namespace where nspname = '_slony'").await > 0;
    let root = b.root.display().to_string();
    let address = |text: String| text.replace(&b.address.to_string(), "B").replace(&b.peer.to_string(), "A");
    let properties = installation
        .properties()
        .expect("the files")
        .into_iter()
        .filter(|(path, _)| path.starts_with(&b.root))
        .map(|(path, text)| {
            let name = path.display().to_string().replace(&root, "");
            (name, address(String::from_utf8_lossy(&text).into_owned()))
        })
        .collect();
    let status = until(WITHIN, "answer", || installation.cluster.json(&["status", GROUP])).expect("status");
    let group = if status["name"] == GROUP { status.clone() } else { status["groups"][0].clone() };
    Effects {
        scripts,
        av_setups,
        properties,
        slony_schema,
        primary: group["primary"].as_str().unwrap_or_default().to_owned(),
        epoch: group["epoch"].as_u64().unwrap_or_default(),
    }
}

/// Fails over, with `victim` killed at the moment when a step is ordered for the first time: every step, or `only` one.
/// Returns what was done, the steps at which somebody died, and all steps that were ordered.
async fn fail_over(victim: Option<Victim>, only: Option<&str>) -> (Effects, BTreeSet<String>, BTreeSet<String>) {
    let directory = directory();
    let mut installation = installation(directory.path()).await;
    let a = installation.world.appliance(Organization::Provider, Side::A).clone();
    let b = installation.world.appliance(Organization::Provider, Side::B).clone();
    installation.world.crash(&a, &[]).expect("the power cut");
    installation.cluster.kill_agent(&a.name);
    let before = installation.world.effects(&b).expect("the appliance's record").len();

    let mut chronicle = Chronicle::of(&installation.cluster).expect("the logs");
    let run = begin(&installation.cluster, &["failover", GROUP]).expect("a run");
    let mut killed = BTreeSet::new();
    let at = async |installation: &mut Installation, order: &Order| {
        if only.is_none_or(|only| only == order.step) {
            accident(installation, victim, order.coordinator, &b.name);
            killed.insert(order.step.clone());
        }
    };
    let mut attendant = FirstOrders::new(at, async |_: &mut Installation, why: &str| panic!("{run} halts: {why}"));
    let driven = drive(&mut installation, &mut chronicle, &run, WITHIN, &mut attendant).await;
    let ordered = driven.unwrap_or_else(|error| panic!("{error:#}")).ordered;
    for service in Service::ALL {
        installation.world.ready(&b, service, Duration::from_secs(30)).await.expect("the service works");
    }
    (effects(&installation, before).await, killed, ordered)
}

/// SIGKILL, and started again, as an init system would.
fn accident(installation: &mut Installation, victim: Option<Victim>, leader: usize, agent: &str) {
    let coordinators = match victim {
        None => return,
        Some(Victim::Leader) => vec![leader],
        Some(Victim::Agent) => Vec::new(),
        Some(Victim::Everybody) => (0..installation.cluster.coordinators()).collect(),
    };
    for number in &coordinators {
        installation.cluster.kill_coordinator(*number);
    }
    let registry = installation.world.registry();
    if victim != Some(Victim::Leader) {
        installation.cluster.kill_agent(agent);
        installation.cluster.start_agent(registry, agent).expect("start the agent again");
    }
    for number in coordinators {
        installation.cluster.start_coordinator(registry, number).expect("start the coordinator again");
    }
}

/// The undisturbed run, for comparison, and what must be so in any case.
async fn undisturbed() -> Effects {
    let (effects, _, _) = fail_over(None, None).await;
    assert_eq!((effects.primary.as_str(), effects.epoch), ("b", 2));
    assert_eq!(effects.av_setups, 1);
    assert!(!effects.slony_schema);
    for service in Service::ALL {
        for verb in ["stop", "start"] {
            let count = effects.scripts.get(&(service.name().to_owned(), verb.to_owned()));
            assert_eq!(count, Some(&1), "{} {verb}: {:?}", service.name(), effects.scripts);
        }
    }
    effects
}

async fn survives(victim: Victim) {
    let expected = undisturbed().await;
    let (effects, killed, ordered) = fail_over(Some(victim), None).await;
    eprintln!("{victim:?} killed at steps {killed:?}");
    assert_eq!(killed, ordered, "somebody died at every step that was ordered");
    assert!(killed.len() >= 12, "the failover has more steps than {killed:?}");
    assert_eq!(effects, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_survives_the_leaders_death_at_every_step() {
    survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_survives_the_agents_death_at_every_step() {
    survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_survives_everybodys_death_at_every_step() {
    survives(Victim::Everybody).await;
}

/// One death at each step, each in a world of its own.
async fn survives_each_alone(victim: Victim) {
    let expected = undisturbed().await;
    let (_, _, steps) = fail_over(None, None).await;
    for step in &steps {
        let (effects, killed, _) = fail_over(Some(victim), Some(step)).await;
        eprintln!("{victim:?} killed at step {killed:?}");
        assert_eq!(killed.len(), 1);
        assert_eq!(effects, expected, "{victim:?} at step {step}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "seven minutes; the test of the same name without `alone` kills at every step of one run"]
async fn failover_survives_the_leaders_death_at_each_step_alone() {
    survives_each_alone(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "seven minutes; the test of the same name without `alone` kills at every step of one run"]
async fn failover_survives_the_agents_death_at_each_step_alone() {
    survives_each_alone(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "seven minutes; the test of the same name without `alone` kills at every step of one run"]
async fn failover_survives_everybodys_death_at_each_step_alone() {
    survives_each_alone(Victim::Everybody).await;
}
