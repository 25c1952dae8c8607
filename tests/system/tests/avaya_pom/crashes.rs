//! The switchover with somebody killed at every step: the leading coordinator, the agent at work, everybody, the SQL Server instance.
//! Each time it must come to the same end with no effect twice, counted by POM's own journals and by what SQL Server was told.

use std::collections::{BTreeMap, BTreeSet};

use baton_lab::{
    pom::{AVAILABILITY_GROUP, GROUP, POM_SERVERS, PORT, Pom, SERVERS},
    sqlserver,
    story::command,
};

use crate::driver::{Order, Orders, WITHIN, Way, begin, drive, nothing, pom, recovered};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Nobody,
    Leader,
    Agent,
    Everybody,
    /// The instance that becomes primary.
    Target,
}

/// What the outside world says that was done.
#[derive(Debug, PartialEq, Eq)]
struct Effects {
    /// By (server, verb), from POM's own journals.
    pom: BTreeMap<(String, String), usize>,
    failovers: usize,
    forced: usize,
    primaries: Vec<String>,
    role: String,
    epoch: u64,
    /// Why the previous primary is detached.
    because: String,
}

async fn effects(pom: &Pom) -> Effects {
    let mut counted = BTreeMap::new();
    for (machine, _) in POM_SERVERS {
        pom.fleet.healthy(machine, PORT, WITHIN).await.expect("POM works");
        for effect in pom.fleet.effects(machine).expect("its journal") {
            // Asking for what is so already has no effect.
            if !effect.verb.ends_with("-again") {
                *counted.entry((machine.to_owned(), effect.verb)).or_default() += 1;
            }
        }
    }
    let asked = |words: &str| SERVERS.iter().map(|server| pom.instances.asked(server.1, words).len()).sum();
    let group = baton_lab::cluster::until(WITHIN, "answer", || command::group(&pom.cluster, GROUP)).expect("status");
    let member = group["members"].as_array().into_iter().flatten().find(|member| member["name"] == "db1").expect("db1");
    Effects {
        pom: counted,
        failovers: asked("availability group [pom] failover"),
        forced: asked("force_failover"),
        primaries: pom.instances.control().primaries(AVAILABILITY_GROUP).expect("the truth"),
        role: group["primary"].as_str().unwrap_or_default().to_owned(),
        epoch: group["epoch"].as_u64().unwrap_or_default(),
        because: member["because"].as_str().unwrap_or_default().to_owned(),
    }
}

/// SIGKILL, and started again, as an init system would.
async fn accident(pom: &mut Pom, victim: Victim, order: &Order) {
    let coordinators = match victim {
        Victim::Nobody | Victim::Agent | Victim::Target => Vec::new(),
        Victim::Leader => vec![order.coordinator],
        Victim::Everybody => (0..pom.cluster.coordinators()).collect(),
    };
    for number in &coordinators {
        pom.cluster.kill_coordinator(*number);
    }
    if matches!(victim, Victim::Agent | Victim::Everybody) {
        pom.cluster.kill_agent(&order.host);
        pom.cluster.start_agent(pom.fleet.registry(), &order.host).expect("start the agent again");
    }
    for number in coordinators {
        pom.cluster.start_coordinator(pom.fleet.registry(), number).expect("start the coordinator again");
    }
    if victim == Victim::Target {
        pom.fleet.kill("pomdb2", sqlserver::SERVICE).expect("kill the instance");
        pom.fleet.service("pomdb2", sqlserver::SERVICE, "start").await.expect("start the instance again");
    }
}

async fn switch_over(victim: Victim) -> (Effects, BTreeSet<String>, Way) {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let mut orders = Orders::of(&pom);
    let run = begin(&pom, "db2");
    let mut killed = BTreeSet::new();
    let way = drive(
        &mut pom,
        &mut orders,
        &run,
        async |pom, order| {
            killed.insert(order.step.clone());
            accident(pom, victim, order).await;
        },
        async |pom, why| {
            // Only what was killed may halt it, and it says so.
            assert!(victim == Victim::Target && why.contains("POMDB"), "{victim:?}: {why}");
            recovered(pom, "pomdb2").await;
        },
    )
    .await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    (effects(&pom).await, killed, way)
}

async fn survives(victim: Victim) {
    let (expected, ..) = switch_over(Victim::Nobody).await;
    let once =
        |verb: &str| POM_SERVERS.iter().map(|server| ((server.0.to_owned(), verb.to_owned()), 1)).collect::<Vec<_>>();
    let mut started_twice: BTreeMap<_, _> = once("stop").into_iter().chain(once("start")).collect();
    // The first start is the world's own.
    started_twice.iter_mut().filter(|((_, verb), _)| verb == "start").for_each(|(_, count)| *count += 1);
    assert_eq!(expected.pom, started_twice);
    assert_eq!((expected.failovers, expected.forced), (1, 0));
    assert_eq!(
        (expected.primaries.as_slice(), expected.role.as_str(), expected.epoch),
        (["POMDB2".to_owned()].as_slice(), "db2", 2)
    );
    assert_eq!(expected.because, "data movement paused on pomdb1");

    let (mut effects, killed, way) = switch_over(victim).await;
    eprintln!("{victim:?} killed at steps {killed:?}; halted: {:#?}", way.halts);
    assert_eq!(killed, way.ordered, "somebody died at every step that was ordered");
    assert!(killed.len() >= 9, "the switchover has more steps than {killed:?}");
    if victim == Victim::Target {
        // A statement that died with its instance is sent again, and an instance that died as primary pauses nothing.
        assert!(effects.failovers >= 1, "{effects:#?}");
        effects.failovers = expected.failovers;
        assert!(effects.because.is_empty() || effects.because == expected.because, "{effects:#?}");
        effects.because.clone_from(&expected.because);
    }
    assert_eq!(effects, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchover_survives_the_leaders_death_at_every_step() {
    survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchover_survives_the_agents_death_at_every_step() {
    survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchover_survives_everybodys_death_at_every_step() {
    survives(Victim::Everybody).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchover_survives_the_new_primarys_death_at_every_step() {
    survives(Victim::Target).await;
}

/// Gone before the role moves, and not started again: the run halts, says which instance, and goes on when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_gone_halts_the_run_until_it_is_back() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let mut orders = Orders::of(&pom);
    let run = begin(&pom, "db2");
    let way = drive(
        &mut pom,
        &mut orders,
        &run,
        async |pom, order| match order.step.as_str() {
            // The failover itself.
            "3" => drop(pom.fleet.kill("pomdb2", sqlserver::SERVICE).expect("kill the instance")),
            _ => nothing().await,
        },
        async |pom, why| {
            assert!(why.contains("step 3") && why.contains("POMDB2"), "{why}");
            let stopped = POM_SERVERS.iter().all(|server| !pom.fleet.runs(server.0, "POM"));
            assert!(stopped, "POM is not started before its database is where it should be");
            recovered(pom, "pomdb2").await;
        },
    )
    .await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    assert!(!way.halts.is_empty(), "{way:#?}");
    let effects = effects(&pom).await;
    assert_eq!((effects.forced, effects.role.as_str(), effects.primaries), (0, "db2", vec!["POMDB2".to_owned()]));
}
