//! Persistent Chat's failover and the way home with somebody killed at every step: the leading coordinator, the agent at work, the
//! SQL Server instance that a step is about. Each time both runs must come to the same end, with no log applied twice and no backup
//! restored twice: counted by the instances' own msdb and by the shell's topology, not by Baton's records.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use baton_crashes::{
    drive::{Attendant, Way, begin, drive},
    news::{Chronicle, News},
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

/// How long a run may take with all its accidents, on a loaded machine.
const WITHIN: Duration = Duration::from_secs(240);
/// Where mgc goes.
const NEW: Site = Site::Dallas;
const DEAD: Site = Site::Atlanta;
/// The step of the way home that starts log shipping's first job.
const SHIPS: &str = "17";
/// How long a killed instance stays away from a step that waits for it; and how often log shipping's jobs are due.
const AWAY: Duration = Duration::from_secs(5);

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
type Deadly = (Site, &'static str, u32, What);
const DEADLY: [Deadly; 3] = [
    (NEW, "sp_delete_log_shipping_secondary_database", 1, What::DieAfter),
    (NEW, "RESTORE LOG", 2, What::DieAfter),
    (NEW, "WITH RECOVERY", 1, What::DieBefore),
];
/// On the way home.
const DEADLY_HOME: [Deadly; 7] = [
    (NEW, "BACKUP DATABASE", 1, What::DieAfter),
    (NEW, "BACKUP LOG", 1, What::DieBefore),
    (DEAD, "RESTORE DATABASE", 1, What::DieBefore),
    (DEAD, "RESTORE LOG", 1, What::DieAfter),
    (NEW, "RESTORE DATABASE", 1, What::DieAfter),
    (DEAD, "BACKUP DATABASE", 1, What::DieAfter),
    (NEW, "sp_add_log_shipping_secondary_database", 1, What::DieAfter),
];

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

/// What the outside world says of the way home.
#[derive(Debug, PartialEq, Eq)]
struct Home {
    /// Full backups and tails of mgc that were made, and what was restored into it from them, at the old site and at the new one.
    backups: [String; 2],
    restored: [String; 2],
    online: bool,
    /// Where log shipping goes, and where from; and whether a log of the new primary has arrived.
    shipped: Option<String>,
    shipped_back: bool,
    arrived: bool,
    /// Backups and restores of the compliance database, anywhere.
    compliance: usize,
    pool: String,
    active: Vec<String>,
    principals: Vec<String>,
    primary: String,
    epoch: u64,
    /// Rows that a client had acknowledged in Dallas and that are not in Atlanta.
    rows_missing: usize,
}

/// What was made and restored before the way home, by site.
struct Before {
    backups: [usize; 2],
    restored: [usize; 2],
}

/// The kinds of mgc's backups that an instance made.
fn backups(chat: &Installation, site: Site, database: &str) -> String {
    let world = chat.control().world().expect("the truth");
    let msdb = &world.servers[&site.instance()].msdb;
    let made = msdb.backups.iter().filter(|set| set.server == site.instance() && set.database == database);
    made.map(|set| set.kind).collect()
}

impl Before {
    fn of(chat: &Installation) -> Self {
        Self {
            backups: [DEAD, NEW].map(|site| backups(chat, site, DATABASE).len()),
            restored: [DEAD, NEW].map(|site| chat.restored(site, DATABASE).expect("msdb").len()),
        }
    }
}

fn home(chat: &Installation, before: &Before, acknowledged: &BTreeSet<i64>) -> Home {
    let since = |site: Site| {
        let number = usize::from(site == NEW);
        let restored = chat.restored(site, DATABASE).expect("msdb").split_off(before.restored[number]);
        let restored: String = restored.iter().map(|one| one.kind).collect();
        (backups(chat, site, DATABASE).split_off(before.backups[number]), restored)
    };
    let ((made_home, restored_home), (made_away, restored_away)) = (since(DEAD), since(NEW));
    // A job that was started twice ships twice, which does no harm: of shipped logs one must be there.
    let shipped = |kinds: &str| kinds.trim_end_matches('L').to_owned();
    let world = chat.control().world().expect("the truth");
    let topology = chat.topology();
    let status = until(WITHIN, "answer", || chat.cluster.json(&["status", GROUP])).expect("status");
    let group = if status["name"] == GROUP { status.clone() } else { status["groups"][0].clone() };
    let touched =
        |site: Site| chat.restored(site, COMPLIANCE).expect("msdb").len() + backups(chat, site, COMPLIANCE).len();
    Home {
        backups: [shipped(&made_home), made_away],
        arrived: restored_away.ends_with('L'),
        restored: [restored_home, shipped(&restored_away)],
        online: world.database(&DEAD.instance(), DATABASE).is_some_and(|database| database.is_online()),
        shipped: chat.shipped_to(NEW).expect("msdb").map(|(primary, ..)| primary),
        shipped_back: chat.shipped_to(DEAD).expect("msdb").is_some(),
        compliance: touched(DEAD) + touched(NEW),
        pool: topology.pool_state().expect("the topology"),
        active: topology.active().expect("the topology"),
        principals: topology.principals().expect("the topology"),
        primary: group["primary"].as_str().unwrap_or_default().to_owned(),
        epoch: group["epoch"].as_u64().unwrap_or_default(),
        rows_missing: acknowledged.difference(&chat.rows(DEAD).expect("rows")).count(),
    }
}

/// How one run went.
#[derive(Debug)]
struct Leg {
    /// Steps at which somebody died, and all that were ordered.
    killed: BTreeSet<String>,
    ordered: BTreeSet<String>,
    /// Why the run halted, each time.
    halts: Vec<String>,
}

/// Kills at the first order of every step, and tries again what has halted for an instance that was killed. `sites`: those that are
/// there; where it is one, its instance dies at every step, else that of the step's host.
struct Killer<'a> {
    victim: Option<Victim>,
    sites: &'a [Site],
    ordered: BTreeSet<String>,
    killed: BTreeSet<String>,
    /// An instance stays dead until the run has halted for it, or waits for it.
    gone: Option<Instant>,
    shipped: Instant,
}

impl Attendant<Installation> for Killer<'_> {
    async fn told(&mut self, chat: &mut Installation, news: &News) -> Result<()> {
        let News::Ordered { coordinator, task } = news else { return Ok(()) };
        if self.ordered.insert(task.step.clone()) && accident(chat, self.victim, *coordinator, &task.host, self.sites) {
            self.gone = (self.victim == Some(Victim::Instance)).then(Instant::now);
            self.killed.insert(task.step.clone());
        }
        Ok(())
    }

    async fn halted(&mut self, chat: &mut Installation, why: &str) -> Result<()> {
        assert!(self.victim.is_some_and(Victim::is_instance), "killed at {:?}: {why}", self.killed);
        revive(chat, self.sites).await;
        self.gone = None;
        Ok(())
    }

    async fn meanwhile(&mut self, chat: &mut Installation, _: &Way) -> Result<()> {
        if self.gone.is_some_and(|since| since.elapsed() > AWAY) {
            revive(chat, self.sites).await;
            self.gone = None;
        }
        // A job that died with its instance is started again by its schedule.
        if self.ordered.contains(SHIPS) && self.shipped.elapsed() > AWAY {
            drop(chat.ship(DEAD, NEW));
            self.shipped = Instant::now();
        }
        Ok(())
    }
}

/// Drives a run to its end, with `victim` killed when a step is ordered for the first time.
async fn leg(chat: &mut Installation, victim: Option<Victim>, words: &[&str], sites: &[Site]) -> Leg {
    let mut chronicle = Chronicle::of(&chat.cluster).expect("the logs");
    let run = begin(&chat.cluster, words).expect("a run");
    let (ordered, killed, gone, shipped) = (BTreeSet::new(), BTreeSet::new(), None, Instant::now());
    let mut killer = Killer { victim, sites, ordered, killed, gone, shipped };
    let driven = drive(chat, &mut chronicle, &run, WITHIN, &mut killer).await;
    let way = driven.unwrap_or_else(|error| panic!("killed at {:?}: {error:#}", killer.killed));
    revive(chat, sites).await;
    Leg { killed: killer.killed, ordered: way.ordered, halts: way.halts }
}

/// Starts the instances of these sites that do not run, as an administrator would.
async fn revive(chat: &Installation, sites: &[Site]) {
    for site in sites {
        if !chat.fleet.runs(&site.database(), SERVICE) {
            chat.fleet.service(&site.database(), SERVICE, "start").await.expect("the instance starts again");
        }
    }
}

fn deadly(chat: &Installation, victim: Option<Victim>, statements: &[Deadly]) {
    for (site, statement, times, what) in statements.iter().filter(|_| victim == Some(Victim::Statement)) {
        let (instance, statement, times) = (Some(site.instance()), (*statement).to_owned(), Some(*times));
        chat.control().add_fault(Mishap { instance, statement, times, what: what.clone() }).expect("a fault");
    }
}

/// There and back: what the world says after each, and how each went.
struct Journey {
    there: (Effects, Leg),
    home: (Home, Leg),
}

/// Fails over from a dead data centre with five uncopied log backups, and goes home when it is back.
async fn journey(victim: Option<Victim>) -> Journey {
    let directory = tempfile::tempdir().expect("a folder");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let mut chat = Installation::build(directory.path(), helper, binaries, false, |_| {}).await.expect("a world");
    let writer = Writer::start(vec![chat.endpoint(DEAD)], Duration::from_millis(20));
    let applied_before = chat.restored(NEW, DATABASE).expect("msdb").len();
    let (_, covered) = chat.five_uncopied(&writer).await.expect("five log backups");
    let record = writer.stop().await;
    let last = record.acknowledged.iter().chain(&record.unknown).max().copied().expect("rows");
    let [one, two] = DEAD.chat();
    chat.crash(&[DEAD.database(), one, two]).expect("the power cut");
    deadly(&chat, victim, &DEADLY);
    let there = leg(&mut chat, victim, &["failover", GROUP], &[NEW]).await;
    for server in NEW.chat() {
        chat.health(&server).await.expect("the chat server works");
    }
    let there = (effects(&chat, applied_before, &covered), there);

    chat.boot(DEAD).await.expect("Atlanta is back");
    // Slow enough to let the last log backup find a moment without it, and still at it when that is taken.
    let writer = Writer::start_after(vec![chat.endpoint(NEW)], Duration::from_millis(100), last);
    writer.has_written(10, WITHIN).await.expect("writes in Dallas");
    let before = Before::of(&chat);
    deadly(&chat, victim, &DEADLY_HOME);
    let way = leg(&mut chat, victim, &["run", GROUP, "failback"], &Site::BOTH).await;
    let record = writer.stop().await;
    for server in DEAD.chat() {
        chat.health(&server).await.expect("the chat server works");
    }
    Journey { there, home: (home(&chat, &before, &record.acknowledged), way) }
}

/// SIGKILL; who has an init system is started again. The instance stays dead until somebody notices. `false`: the step has no such victim.
fn accident(chat: &mut Installation, victim: Option<Victim>, leader: usize, host: &str, sites: &[Site]) -> bool {
    match victim {
        None | Some(Victim::Statement) => {}
        Some(Victim::Leader) => {
            chat.cluster.kill_coordinator(leader);
            chat.cluster.start_coordinator(chat.fleet.registry(), leader).expect("start it again");
        }
        Some(Victim::Agent) => {
            chat.cluster.kill_agent(host);
            chat.cluster.start_agent(chat.fleet.registry(), host).expect("start it again");
        }
        Some(Victim::Instance) => {
            let of_host = || sites.iter().find(|site| site.database() == host);
            let Some(site) = (if let [only] = sites { Some(only) } else { of_host() }) else { return false };
            chat.fleet.kill(&site.database(), SERVICE).expect("killed");
        }
    }
    true
}

async fn survives(victim: Victim) -> [Leg; 2] {
    let undisturbed = journey(None).await;
    let there = &undisturbed.there.0;
    assert_eq!((there.primary.as_str(), there.epoch), ("dallas", 2));
    assert_eq!(there.restored, "LLLLL");
    assert!(there.in_order && there.once_each && there.online && !there.shipped);
    assert_eq!((there.compliance, there.rows_missing), (0, 0));
    assert_eq!((there.pool.as_str(), there.active.clone()), ("FailedOver", NEW.chat().to_vec()));
    let at_home = Home {
        // The copy for the secondary; the backup of mgc and the last of its log.
        backups: ["D".to_owned(), "DL".to_owned()],
        restored: ["DL".to_owned(), "D".to_owned()],
        online: true,
        shipped: Some(DEAD.instance()),
        shipped_back: false,
        arrived: true,
        compliance: 0,
        pool: "Normal".to_owned(),
        active: DEAD.chat().to_vec(),
        principals: vec![DEAD.database()],
        primary: "atlanta".to_owned(),
        epoch: 3,
        rows_missing: 0,
    };
    assert_eq!(undisturbed.home.0, at_home);

    let Journey { there: (effects, there), home: (home, back) } = journey(Some(victim)).await;
    for (words, leg) in [("failover", &there), ("failback", &back)] {
        eprintln!("{words}: {victim:?} killed at steps {:?}; halts: {:#?}", leg.killed, leg.halts);
    }
    assert_eq!(there.killed, there.ordered, "somebody died at every step that was ordered");
    assert!(there.killed.len() >= 12, "the failover has more steps than {:?}", there.killed);
    if victim != Victim::Instance {
        assert_eq!(back.killed, back.ordered, "somebody died at every step that was ordered");
    }
    let least = if victim == Victim::Instance { 14 } else { 20 };
    assert!(back.killed.len() >= least, "the failback has more steps than {:?}", back.killed);
    assert_eq!(effects, undisturbed.there.0);
    assert_eq!(home, at_home);
    [there, back]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_survive_the_leaders_death_at_every_step() {
    survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_survive_the_agents_death_at_every_step() {
    survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_halt_where_the_instance_is_dead_and_go_on_when_it_is_back() {
    let [there, back] = survives(Victim::Instance).await;
    assert!(there.halts.len() >= 5, "{:#?}", there.halts);
    for halt in &there.halts {
        assert!(halt.contains(&NEW.instance()), "which instance: {halt}");
    }
    assert!(back.halts.len() >= 8, "{:#?}", back.halts);
    for halt in &back.halts {
        assert!(Site::BOTH.iter().any(|site| halt.contains(&site.instance())), "which instance: {halt}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_in_the_middle_of_its_statements_applies_each_log_once() {
    let [there, back] = survives(Victim::Statement).await;
    let deaths = |statements: &[Deadly]| statements.iter().map(|(_, _, times, _)| *times as usize).sum::<usize>();
    assert_eq!(there.halts.len(), deaths(&DEADLY), "{:#?}", there.halts);
    assert_eq!(back.halts.len(), deaths(&DEADLY_HOME), "{:#?}", back.halts);
}
