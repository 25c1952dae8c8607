//! The switchover, and the resumption of data movement after it, with somebody killed at every step: the leading coordinator, the agent
//! at work, everybody, the SQL Server instance of either side. Each time both must come to the same end with no effect twice, counted
//! by POM's own journals and by what SQL Server was told.

use std::collections::{BTreeMap, BTreeSet};

use baton_lab::{
    cluster::until,
    pom::{AVAILABILITY_GROUP, DATABASE, GROUP, POM_SERVERS, PORT, Pom, SERVERS, SERVICE},
    sqlserver,
    story::command,
};

use crate::driver::{
    Order, Orders, WITHIN, Way, begin, begin_to_resume, drive, from_now, instance, nothing, pom, recovered, stop,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Nobody,
    Leader,
    Agent,
    Everybody,
    /// The instance that becomes primary, and is primary while data movement is resumed.
    Target,
    /// The instance that was primary, and whose data movement is resumed.
    Old,
}

impl Victim {
    /// The machine whose instance is killed.
    fn machine(self) -> Option<&'static str> {
        match self {
            Victim::Target => Some("pomdb2"),
            Victim::Old => Some("pomdb1"),
            Victim::Nobody | Victim::Leader | Victim::Agent | Victim::Everybody => None,
        }
    }
}

/// What the outside world says that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Effects {
    /// By (server, verb), from POM's own journals.
    pom: BTreeMap<(String, String), usize>,
    failovers: usize,
    /// How often the previous primary was told to resume.
    resumes: usize,
    forced: usize,
    primaries: Vec<String>,
    role: String,
    epoch: u64,
    /// Why the previous primary is detached.
    because: String,
    /// Whether its copy is suspended.
    paused: bool,
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
    let group = until(WITHIN, "answer", || command::group(&pom.cluster, GROUP)).expect("status");
    let member = group["members"].as_array().into_iter().flatten().find(|member| member["name"] == "db1").expect("db1");
    Effects {
        pom: counted,
        failovers: asked("availability group [pom] failover"),
        resumes: asked("set hadr resume"),
        forced: asked("force_failover"),
        primaries: pom.instances.control().primaries(AVAILABILITY_GROUP).expect("the truth"),
        role: group["primary"].as_str().unwrap_or_default().to_owned(),
        epoch: group["epoch"].as_u64().unwrap_or_default(),
        because: member["because"].as_str().unwrap_or_default().to_owned(),
        paused: is_paused(pom, "pomdb1"),
    }
}

/// Whether a server's copy is suspended, by SQL Server's own truth.
fn is_paused(pom: &Pom, machine: &str) -> bool {
    let world = pom.instances.control().world().expect("the truth");
    let hadr = world.database(instance(machine), DATABASE).and_then(|database| database.hadr.as_ref());
    hadr.is_some_and(|hadr| hadr.suspended.is_some())
}

/// An administrator pauses an instance's data movement.
fn pause(pom: &Pom, instance: &str) {
    let pause = |world: &mut sqlserver::world::World| world.suspend_movement(instance, DATABASE);
    pom.instances.control().change(pause).expect("the truth").expect("paused");
}

/// SIGKILL, and started again, as an init system would.
async fn accident(pom: &mut Pom, victim: Victim, order: &Order) {
    let coordinators = match victim {
        Victim::Nobody | Victim::Agent | Victim::Target | Victim::Old => Vec::new(),
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
    if let Some(machine) = victim.machine() {
        pom.fleet.kill(machine, sqlserver::SERVICE).expect("kill the instance");
        pom.fleet.service(machine, sqlserver::SERVICE, "start").await.expect("start the instance again");
    }
}

/// What came of one run.
struct Leg {
    effects: Effects,
    killed: BTreeSet<String>,
    way: Way,
}

/// Drives a run to its end with somebody killed at the first order of every step.
async fn leg(pom: &mut Pom, victim: Victim, begin: impl FnOnce(&Pom) -> String) -> Leg {
    let mut orders = from_now(pom);
    let run = begin(pom);
    let mut killed = BTreeSet::new();
    let way = drive(
        pom,
        &mut orders,
        &run,
        async |pom, order| {
            killed.insert(order.step.clone());
            accident(pom, victim, order).await;
        },
        async |pom, why| {
            // Only what was killed may halt it, and it says so.
            let machine = victim.machine().unwrap_or_else(|| panic!("{victim:?}: {why}"));
            assert!(why.contains("POMDB"), "{victim:?}: {why}");
            recovered(pom, machine).await;
        },
    )
    .await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    eprintln!("{run}: {victim:?} killed at steps {killed:?}; halted: {:#?}", way.halts);
    Leg { effects: effects(pom).await, killed, way }
}

/// The switchover, and then, while POM is stopped, the resumption.
async fn forwards_and_resumed(victim: Victim) -> [Leg; 2] {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let switched = leg(&mut pom, victim, |pom| begin(pom, "db2")).await;
    stop(&pom);
    if let Some(machine) = victim.machine() {
        // It may have died in its last step.
        recovered(&pom, machine).await;
    }
    if !is_paused(&pom, "pomdb1") {
        // An instance that died as primary pauses nothing.
        pause(&pom, "POMDB1");
    }
    let resumed = leg(&mut pom, victim, |pom| begin_to_resume(pom, "db1")).await;
    [switched, resumed]
}

/// How often each verb was done to each POM server.
fn each(stops: usize, starts: usize) -> BTreeMap<(String, String), usize> {
    let of = |server: &(&str, u8)| {
        [("stop", stops), ("start", starts)].map(|(verb, count)| ((server.0.to_owned(), verb.to_owned()), count))
    };
    POM_SERVERS.iter().flat_map(of).collect()
}

async fn survives(victim: Victim) {
    let [switched, resumed] = forwards_and_resumed(Victim::Nobody).await.map(|leg| leg.effects);
    let expected = Effects {
        // The first start is the world's own.
        pom: each(1, 2),
        failovers: 1,
        resumes: 0,
        forced: 0,
        primaries: vec!["POMDB2".to_owned()],
        role: "db2".to_owned(),
        epoch: 2,
        because: "data movement paused on pomdb1".to_owned(),
        paused: true,
    };
    assert_eq!(switched, expected);
    let expected_then =
        Effects { pom: each(2, 3), resumes: 1, because: String::new(), paused: false, ..expected.clone() };
    assert_eq!(resumed, expected_then);

    let [mut switched, mut resumed] = forwards_and_resumed(victim).await;
    for (leg, steps) in [(&switched, 9), (&resumed, 7)] {
        assert_eq!(leg.killed, leg.way.ordered, "somebody died at every step that was ordered");
        assert!(leg.killed.len() >= steps, "there are more steps than {:?}", leg.killed);
    }
    if victim.machine().is_some() {
        // A statement that died with its instance is sent again, and an instance that died as primary pauses nothing.
        for (effects, expected) in [(&mut switched.effects, &expected), (&mut resumed.effects, &expected_then)] {
            assert!(effects.failovers >= 1 && effects.resumes >= expected.resumes, "{effects:#?}");
            (effects.failovers, effects.resumes) = (expected.failovers, expected.resumes);
        }
        let Effects { because, paused, .. } = &mut switched.effects;
        // What is paused is said; and who could not be asked is not taken for well.
        assert!(!*paused || because.starts_with(&expected.because), "paused, and the group says {because:?}");
        assert!(because.is_empty() || because.starts_with(&expected.because), "{because:?}");
        (*because, *paused) = (expected.because.clone(), expected.paused);
    }
    assert_eq!(switched.effects, expected);
    assert_eq!(resumed.effects, expected_then);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_resumed_survive_the_leaders_death_at_every_step() {
    survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_resumed_survive_the_agents_death_at_every_step() {
    survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_resumed_survive_everybodys_death_at_every_step() {
    survives(Victim::Everybody).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_resumed_survive_the_new_primarys_death_at_every_step() {
    survives(Victim::Target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_resumed_survive_the_old_primarys_death_at_every_step() {
    survives(Victim::Old).await;
}

/// Kills an instance when a step is ordered and leaves it dead until the run has halted for it; `words` are in what the run then says.
async fn gone_at(pom: &mut Pom, run: &str, orders: &mut Orders, step: &str, machine: &str, words: &[&str]) -> Way {
    let way = drive(
        pom,
        orders,
        run,
        async |pom, order| {
            if order.step == step {
                pom.fleet.kill(machine, sqlserver::SERVICE).expect("kill the instance");
            }
            nothing().await;
        },
        async |pom, why| {
            assert!(words.iter().all(|word| why.contains(word)), "not all of {words:?}: {why}");
            let stopped = POM_SERVERS.iter().all(|server| !pom.fleet.runs(server.0, SERVICE));
            assert!(stopped, "POM is not started before its database is where it should be");
            recovered(pom, machine).await;
        },
    )
    .await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    eprintln!("{run}: {machine} gone at step {step}; halted: {:#?}", way.halts);
    way
}

/// Gone before the role moves, and not started again: the run halts, says which instance, and goes on when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_gone_halts_the_run_until_it_is_back() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let mut orders = from_now(&pom);
    let run = begin(&pom, "db2");
    // Step 3 is the failover itself.
    let way = gone_at(&mut pom, &run, &mut orders, "3", "pomdb2", &["step 3", "POMDB2"]).await;
    assert!(!way.halts.is_empty(), "{way:#?}");
    let effects = effects(&pom).await;
    assert_eq!((effects.forced, effects.role.as_str(), effects.primaries), (0, "db2", vec!["POMDB2".to_owned()]));
}

/// The previous primary, gone at the failover: what has been synchronized is moved without it, and the group does not take it for well.
/// Gone when its data movement is to be resumed, it halts that until it is back. Gone in the wait for it, it is named, and waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_is_gone_halts_what_needs_it_and_is_not_taken_for_well() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let mut orders = from_now(&pom);
    let run = begin(&pom, "db2");
    gone_at(&mut pom, &run, &mut orders, "3", "pomdb1", &["step 3", "POMDB1"]).await;
    let effects = effects(&pom).await;
    assert_eq!((effects.forced, effects.role.as_str(), effects.primaries), (0, "db2", vec!["POMDB2".to_owned()]));
    assert!(
        effects.because.starts_with("data movement paused on pomdb1"),
        "it is not taken for well: {:?}",
        effects.because
    );
    recovered(&pom, "pomdb1").await;

    stop(&pom);
    pause(&pom, "POMDB1");
    let mut orders = from_now(&pom);
    let run = begin_to_resume(&pom, "db1");
    let way = gone_at(&mut pom, &run, &mut orders, "1", "pomdb1", &["step 1", "POMDB1"]).await;
    assert!(!way.halts.is_empty(), "{way:#?}");
    assert!(!is_paused(&pom, "pomdb1"));
    assert_eq!(command::group(&pom.cluster, GROUP).expect("status")["limits"], serde_json::json!([]));

    stop(&pom);
    let mut orders = from_now(&pom);
    let run = begin_to_resume(&pom, "db1");
    let awaited = async |pom: &mut Pom, order: &Order| {
        if order.step != "2" {
            return;
        }
        pom.fleet.kill("pomdb1", sqlserver::SERVICE).expect("kill the instance");
        until(WITHIN, "word of the instance that is waited for", || {
            let view = pom.cluster.json(&["show", &run])?;
            let step = view["steps"].as_array().into_iter().flatten().find(|step| step["id"] == "2").cloned();
            let told = step.unwrap_or_default()["tasks"].to_string();
            anyhow::ensure!(told.contains("POMDB1"), "{told}");
            Ok(())
        })
        .expect("it is named");
        pom.fleet.service("pomdb1", sqlserver::SERVICE, "start").await.expect("the instance starts again");
    };
    let way = drive(&mut pom, &mut orders, &run, awaited, async |_, why| panic!("it halts: {why}")).await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
}

/// The previous primary, gone between the failover and the look at the dashboard: nobody knows how it is, and the group says that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_previous_primary_that_cannot_be_asked_is_limited_until_it_has_been_brought_back() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut pom = pom(directory.path(), true).await;
    let mut orders = from_now(&pom);
    let run = begin(&pom, "db2");
    gone_at(&mut pom, &run, &mut orders, "4", "pomdb1", &["step 4", "POMDB1"]).await;
    let group = command::group(&pom.cluster, GROUP).expect("status");
    assert_eq!(group["primary"], "db2");
    let limits = group["limits"].to_string();
    assert!(limits.contains("data movement paused on pomdb1, as far as is known: it could not be asked"), "{limits}");
    recovered(&pom, "pomdb1").await;
    stop(&pom);
    let mut orders = from_now(&pom);
    let run = begin_to_resume(&pom, "db1");
    let way =
        drive(&mut pom, &mut orders, &run, async |_, _| nothing().await, async |_, why| panic!("it halts: {why}"))
            .await;
    assert_eq!(way.view["phase"], "succeeded", "{way:#?}");
    assert!(!is_paused(&pom, "pomdb1"));
    assert_eq!(command::group(&pom.cluster, GROUP).expect("status")["limits"], serde_json::json!([]));
}
