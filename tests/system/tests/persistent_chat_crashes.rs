//! The failover of Persistent Chat with somebody killed at every step: the leading coordinator, the agent at work, the SQL Server
//! instance that takes over. Each time the run must come to the same end, with no log applied twice: counted by the instance's
//! own msdb and by the shell's topology, not by Baton's records.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use baton_lab::{
    cluster::{Binaries, until},
    horizon,
    persistent_chat::{COMPLIANCE, DATABASE, GROUP, Installation, Site, shelf::in_order},
    sqlserver::{
        SERVICE, Writer,
        control::{StatementFault as Mishap, What},
    },
};
use serde_json::Value;

/// How long a run may take with all its accidents, on a loaded machine.
const WITHIN: Duration = Duration::from_secs(240);
/// Where mgc goes.
const NEW: Site = Site::Dallas;
const DEAD: Site = Site::Atlanta;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Leader,
    Agent,
    Instance,
    /// The instance, by its own hand: before the effect of a statement that counts, and after it, before the answer.
    Statement,
}

impl Victim {
    fn is_instance(self) -> bool {
        matches!(self, Self::Instance | Self::Statement)
    }
}

/// Statements in the middle of which the instance dies, how often, and whether before or after their effect.
const DEADLY: [(&str, u32, What); 3] = [
    ("sp_delete_log_shipping_secondary_database", 1, What::DieAfter),
    ("RESTORE LOG", 2, What::DieAfter),
    ("WITH RECOVERY", 1, What::DieBefore),
];

/// An order, as a coordinator's log tells it at the moment of sending: the only way to kill somebody exactly then.
struct Order {
    coordinator: usize,
    step: String,
    host: String,
}

struct Orders {
    logs: Vec<(PathBuf, u64)>,
}

impl Orders {
    fn of(chat: &Installation) -> Self {
        let logs = (0..chat.cluster.coordinators())
            .map(|number| (chat.cluster.coordinator_log(number).to_owned(), 0))
            .collect();
        let mut orders = Self { logs };
        orders.news();
        orders
    }

    /// Every order logged since the last call.
    fn news(&mut self) -> Vec<Order> {
        let mut news = Vec::new();
        for (coordinator, (path, offset)) in self.logs.iter_mut().enumerate() {
            let mut file = File::open(&*path).expect("a coordinator's log");
            file.seek(SeekFrom::Start(*offset)).expect("seek in the log");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read the log");
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *offset += whole as u64;
            // RUN/STEP@HOST#ATTEMPT
            for line in text[..whole].lines() {
                let Some((_, task)) = line.split_once("ordered task=") else { continue };
                let parts = task.split_once('/').and_then(|(_, rest)| rest.split_once('@'));
                let parts = parts.and_then(|(step, rest)| Some((step, rest.split_once('#')?.0)));
                news.extend(parts.map(|(step, host)| Order {
                    coordinator,
                    step: step.to_owned(),
                    host: host.to_owned(),
                }));
            }
        }
        news
    }
}

/// What the outside world says that was done.
#[derive(Debug, PartialEq, Eq)]
struct Effects {
    /// What was restored into mgc after the five files were made: kinds, in order, each of a backup of its own.
    restored: String,
    in_order: bool,
    once_each: bool,
    online: bool,
    shipped: bool,
    /// Backups and restores of the compliance database.
    compliance: usize,
    pool: String,
    active: Vec<String>,
    principals: Vec<String>,
    primary: String,
    epoch: u64,
    /// Rows that were in the log backups and are not in the new primary's mgc.
    rows_missing: usize,
}

fn effects(chat: &Installation, applied_before: usize, covered: &BTreeSet<i64>) -> Effects {
    let logs = chat.restored(NEW, DATABASE).expect("msdb").split_off(applied_before);
    let sets: BTreeSet<i128> = logs.iter().map(|log| log.last).collect();
    let world = chat.control().world().expect("the truth");
    let topology = chat.topology();
    let status = until(WITHIN, "answer", || chat.cluster.json(&["status", GROUP])).expect("status");
    let group = if status["name"] == GROUP { status.clone() } else { status["groups"][0].clone() };
    Effects {
        restored: logs.iter().map(|log| log.kind).collect(),
        in_order: in_order(&logs),
        once_each: sets.len() == logs.len(),
        online: world.database(&NEW.instance(), DATABASE).is_some_and(|database| database.is_online()),
        shipped: chat.shipped_to(NEW).expect("msdb").is_some(),
        compliance: chat.restored(NEW, COMPLIANCE).expect("msdb").len(),
        pool: topology.pool_state().expect("the topology"),
        active: topology.active().expect("the topology"),
        principals: topology.principals().expect("the topology"),
        primary: group["primary"].as_str().unwrap_or_default().to_owned(),
        epoch: group["epoch"].as_u64().unwrap_or_default(),
        rows_missing: covered.difference(&chat.rows(NEW).expect("rows")).count(),
    }
}

/// What came of one failover.
struct Ended {
    effects: Effects,
    /// Steps at which somebody died, and all that were ordered.
    killed: BTreeSet<String>,
    ordered: BTreeSet<String>,
    /// Why the run halted, each time.
    halts: Vec<String>,
}

/// Fails over from a dead data centre with five uncopied log backups, with `victim` killed when a step is ordered for the first time.
async fn fail_over(victim: Option<Victim>) -> Ended {
    let directory = tempfile::tempdir().expect("a folder");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let mut chat = Installation::build(directory.path(), helper, binaries, false, |_| {}).await.expect("a world");
    let writer = Writer::start(vec![chat.endpoint(DEAD)], Duration::from_millis(20));
    let applied_before = chat.restored(NEW, DATABASE).expect("msdb").len();
    let (_, covered) = chat.five_uncopied(&writer).await.expect("five log backups");
    drop(writer.stop().await);
    let [one, two] = DEAD.chat();
    chat.crash(&[DEAD.database(), one, two]).expect("the power cut");

    for (statement, times, what) in DEADLY.into_iter().filter(|_| victim == Some(Victim::Statement)) {
        let (instance, statement, times) = (Some(NEW.instance()), statement.to_owned(), Some(times));
        chat.control().add_fault(Mishap { instance, statement, times, what }).expect("a fault");
    }
    let mut orders = Orders::of(&chat);
    let started = chat.cluster.baton(&["failover", GROUP, "--yes", "--detach", "--reason", "Atlanta is dead"]);
    let started = started.expect("run baton");
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let run = format!("{GROUP}-1");
    let (mut killed, mut ordered, mut halts) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let begun = Instant::now();
    let mut looking = look(&chat, &run);
    loop {
        assert!(begun.elapsed() < WITHIN, "{run} is not over after {WITHIN:?}; killed at {killed:?}; halts {halts:?}");
        let news = orders.news();
        if news.is_empty() && looking.is_finished() {
            // Nobody may lead at the moment: then it is asked again.
            let seen = (&mut looking).await.expect("looking does not panic").unwrap_or(Value::Null);
            let waiting = |step: &Value| step["state"] == "waiting";
            if seen["over"] == true {
                assert_eq!(seen["phase"], "succeeded", "killed at {killed:?}: {}", seen["why"]);
                break;
            } else if seen["phase"] == "halted" {
                halts.push(why(&seen));
                assert!(victim.is_some_and(Victim::is_instance), "killed at {killed:?}: {halts:?}");
                chat.fleet.service(&NEW.database(), SERVICE, "start").await.expect("the instance starts again");
                drop(chat.cluster.baton(&["retry", &run, "--reason", "SQL Server runs again"]));
            } else if seen["steps"].as_array().is_some_and(|steps| steps.iter().any(waiting)) {
                drop(chat.cluster.baton(&["confirm", &run, "--reason", "seen"]));
            }
            looking = look(&chat, &run);
        }
        for order in news {
            if ordered.insert(order.step.clone()) {
                accident(&mut chat, victim, &order);
                killed.insert(order.step);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if !chat.fleet.runs(&NEW.database(), SERVICE) {
        chat.fleet.service(&NEW.database(), SERVICE, "start").await.expect("the instance starts again");
    }
    for server in NEW.chat() {
        chat.health(&server).await.expect("the chat server works");
    }
    let effects = effects(&chat, applied_before, &covered);
    Ended { effects, killed, ordered, halts }
}

/// Asks for the run beside everything else: while nobody leads the answer takes its time, and orders must not wait for it.
fn look(chat: &Installation, run: &str) -> tokio::task::JoinHandle<Option<Value>> {
    let mut command = chat.cluster.command(&["show", run, "-o", "json"]);
    tokio::task::spawn_blocking(move || {
        let output = command.output().ok().filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    })
}

/// Every fault of a halted run.
fn why(view: &Value) -> String {
    let steps = view["steps"].as_array().into_iter().flatten();
    let tasks = steps.flat_map(|step| step["tasks"].as_array().into_iter().flatten());
    let faults = tasks.filter(|task| !task["fault"].is_null()).map(|task| task["fault"].to_string());
    format!("{} {}", view["why"], faults.collect::<Vec<_>>().join("; "))
}

/// SIGKILL; who has an init system is started again. The instance stays dead until somebody notices.
fn accident(chat: &mut Installation, victim: Option<Victim>, order: &Order) {
    match victim {
        None | Some(Victim::Statement) => {}
        Some(Victim::Leader) => {
            chat.cluster.kill_coordinator(order.coordinator);
            chat.cluster.start_coordinator(chat.fleet.registry(), order.coordinator).expect("start it again");
        }
        Some(Victim::Agent) => {
            chat.cluster.kill_agent(&order.host);
            chat.cluster.start_agent(chat.fleet.registry(), &order.host).expect("start it again");
        }
        Some(Victim::Instance) => {
            chat.fleet.kill(&NEW.database(), SERVICE).expect("killed");
        }
    }
}

async fn survives(victim: Victim) -> Vec<String> {
    let undisturbed = fail_over(None).await.effects;
    assert_eq!((undisturbed.primary.as_str(), undisturbed.epoch), ("dallas", 2));
    assert_eq!(undisturbed.restored, "LLLLL");
    assert!(undisturbed.in_order && undisturbed.once_each && undisturbed.online && !undisturbed.shipped);
    assert_eq!((undisturbed.compliance, undisturbed.rows_missing), (0, 0));
    assert_eq!((undisturbed.pool.as_str(), undisturbed.active.clone()), ("FailedOver", NEW.chat().to_vec()));
    let Ended { effects, killed, ordered, halts } = fail_over(Some(victim)).await;
    eprintln!("{victim:?} killed at steps {killed:?}; halts: {halts:#?}");
    assert_eq!(killed, ordered, "somebody died at every step that was ordered");
    assert!(killed.len() >= 12, "the failover has more steps than {killed:?}");
    assert_eq!(effects, undisturbed);
    halts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failover_survives_the_leaders_death_at_every_step() {
    survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failover_survives_the_agents_death_at_every_step() {
    survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failover_halts_where_the_instance_is_dead_and_goes_on_when_it_is_back() {
    let halts = survives(Victim::Instance).await;
    assert!(halts.len() >= 5, "{halts:#?}");
    for halt in &halts {
        assert!(halt.contains(&NEW.instance()), "which instance: {halt}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_in_the_middle_of_its_statements_applies_each_log_once() {
    let halts = survives(Victim::Statement).await;
    let deaths = DEADLY.iter().map(|(_, times, _)| *times as usize).sum::<usize>();
    assert_eq!(halts.len(), deaths, "{halts:#?}");
}
