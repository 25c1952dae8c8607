//! Failover and switch back of Genesys Framework with somebody killed at every step: the leading coordinator, the agent at work,
//! the SQL Server instance that the step is about. The same end is reached, with no effect twice: counted by the services
//! themselves, and by what the instances know.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Result;
use baton_crashes::{
    drive::{Attendant, Way, begin, drive},
    news::{Chronicle, News},
};
use baton_lab::{
    cluster::{Binaries, until},
    genesys::{Installation, Pace, Site, installation::NAME, site::GROUP},
    horizon,
    sqlserver::SERVICE,
    story::genesys::{Standing, startup},
};

/// How long a run may take with all its accidents, on a loaded machine.
const WITHIN: Duration = Duration::from_secs(300);

/// How long a killed server stays away from a run that waits for it.
const AWAY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Leader,
    Agent,
    Instance,
}

/// What was done to services, by (machine, service, verb): each as often as it happened.
type Counts = BTreeMap<(String, String, String), usize>;

/// Kills at the first order of every step, and tries again what has halted for a server that was killed.
struct Killer {
    victim: Victim,
    ordered: BTreeSet<String>,
    /// Steps at which somebody died.
    killed: BTreeSet<String>,
    /// A server that was killed stays away until the run has halted for it, or has waited for it long enough.
    gone: Option<(String, Instant)>,
}

impl Attendant<Installation> for Killer {
    async fn told(&mut self, lab: &mut Installation, news: &News) -> Result<()> {
        let News::Ordered { coordinator, task } = news else { return Ok(()) };
        if !self.ordered.insert(task.step.clone()) {
            return Ok(());
        }
        comes_back(lab, self.gone.take()).await;
        if accident(lab, self.victim, *coordinator, &task.host) {
            if self.victim == Victim::Instance {
                self.gone = Some((task.host.clone(), Instant::now()));
            }
            self.killed.insert(task.step.clone());
        }
        Ok(())
    }

    async fn halted(&mut self, lab: &mut Installation, why: &str) -> Result<()> {
        comes_back(lab, self.gone.take()).await;
        // Only a server that was killed may hold a run up, and it is named.
        assert_eq!(self.victim, Victim::Instance, "killed at {:?}: {why}", self.killed);
        assert!(why.contains("node") && why.contains("BTN-"), "{why}");
        eprintln!("halted, and tried again: {why}");
        Ok(())
    }

    async fn meanwhile(&mut self, lab: &mut Installation, _: &Way) -> Result<()> {
        if self.gone.as_ref().is_some_and(|(_, since)| since.elapsed() > AWAY) {
            comes_back(lab, self.gone.take()).await;
        }
        Ok(())
    }
}

/// Starts `words`, and sees the run to its end while accidents happen. Returns the steps at which there was one, and how often the
/// run halted.
async fn see_through(lab: &mut Installation, words: &[&str], victim: Victim) -> (BTreeSet<String>, usize) {
    let mut chronicle = Chronicle::of(&lab.cluster).expect("the logs");
    let run = begin(&lab.cluster, words).expect("a run");
    let mut killer = Killer { victim, ordered: BTreeSet::new(), killed: BTreeSet::new(), gone: None };
    let driven = drive(lab, &mut chronicle, &run, WITHIN, &mut killer).await;
    let way = driven.unwrap_or_else(|error| panic!("killed at {:?}: {error:#}", killer.killed));
    comes_back(lab, killer.gone.take()).await;
    (killer.killed, way.halts.len())
}

/// Starts a killed server again, as an administrator would.
async fn comes_back(lab: &Installation, gone: Option<(String, Instant)>) {
    if let Some((host, _)) = gone {
        lab.world.fleet.service(&host, SERVICE, "start").await.expect("start the instance again");
    }
}

/// SIGKILL; coordinators and agents are started again at once, as an init system would. `false`: the step has no such victim.
fn accident(lab: &mut Installation, victim: Victim, leader: usize, host: &str) -> bool {
    let registry = lab.world.fleet.registry();
    match victim {
        Victim::Leader => {
            lab.cluster.kill_coordinator(leader);
            lab.cluster.start_coordinator(registry, leader).expect("start the coordinator again");
        }
        Victim::Agent => {
            lab.cluster.kill_agent(host);
            lab.cluster.start_agent(registry, host).expect("start the agent again");
        }
        Victim::Instance => return lab.world.fleet.kill(host, SERVICE).expect("kill the instance"),
    }
    true
}

/// What was done since `noted`; SQL Server itself is the victim's affair.
fn counts(lab: &Installation, noted: usize) -> Counts {
    let mut counts = Counts::new();
    for effect in lab.world.effects().expect("the machines' records").split_off(noted) {
        if !effect.2.ends_with("-again") && effect.1 != SERVICE {
            *counts.entry(effect).or_default() += 1;
        }
    }
    counts
}

/// Each effect of these stages once: what a run without accidents does, as the story checks it.
fn once(stages: Vec<BTreeSet<(String, String, String)>>) -> Counts {
    stages.into_iter().flatten().map(|effect| (effect, 1)).collect()
}

fn role(lab: &Installation) -> (String, u64) {
    let status = until(WITHIN, "an answer", || lab.cluster.json(&["status", NAME])).expect("status");
    (status["primary"].as_str().unwrap_or_default().to_owned(), status["epoch"].as_u64().unwrap_or_default())
}

async fn survives(victim: Victim) {
    let directory = tempfile::Builder::new().prefix("baton-system-").tempdir().expect("a folder");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let mut lab = Installation::build(directory.path(), helper, binaries, Pace::Quick, |_| {}).await.expect("a world");
    let start = lab.cluster.baton(&["run", NAME, "start", "--yes"]).expect("baton");
    assert!(start.status.success(), "{}", String::from_utf8_lossy(&start.stderr));
    let began = Standing::of(&lab.world).expect("the truth");

    lab.crash(Site::One).expect("the power cut");
    lab.cluster.wait_for_leader(WITHIN).expect("a leader");
    let noted = lab.world.effects().expect("effects").len();
    let accept = format!("--accept-data-loss={NAME}");
    let words = ["failover", NAME, &accept];
    // A host that went a moment ago is not yet known to be out of reach.
    let (killed, halts) = see_through(&mut lab, &words, victim).await;
    eprintln!("failover: {victim:?} killed at {killed:?}, halted {halts} times");
    assert!(killed.len() >= if victim == Victim::Instance { 3 } else { 8 }, "{killed:?}");
    assert_eq!(role(&lab), ("site2".to_owned(), 2));
    assert_eq!(lab.world.instances.control().primaries(GROUP).expect("the truth"), [Site::Two.instance()]);
    assert_eq!(counts(&lab, noted), once(startup(Site::Two, &[])));

    lab.boot(Site::One).expect("site 1 is back");
    let noted = lab.world.effects().expect("effects").len();
    let forced = || Site::BOTH.map(|site| lab.world.instances.asked(&site.instance(), "FORCE_FAILOVER").len());
    let before = forced();
    assert_eq!(before[0], 0, "nothing was forced at Node 1");
    let words = ["run", NAME, "switchback"];
    let (killed, halts) = see_through(&mut lab, &words, victim).await;
    eprintln!("switchback: {victim:?} killed at {killed:?}, halted {halts} times");
    assert!(killed.len() >= if victim == Victim::Instance { 14 } else { 30 }, "{killed:?}");
    assert_eq!(role(&lab), ("site1".to_owned(), 3));
    let forced = Site::BOTH.map(|site| lab.world.instances.asked(&site.instance(), "FORCE_FAILOVER").len());
    assert_eq!(forced, before, "a planned way never forces");
    let stops: BTreeSet<_> = startup(Site::Two, &[])
        .into_iter()
        .flatten()
        .map(|(machine, what, _)| (machine, what, "stop".to_owned()))
        .collect();
    let mut expected = startup(Site::One, &[Site::One]);
    expected.push(stops);
    assert_eq!(counts(&lab, noted), once(expected));
    let ended = until(Duration::from_secs(60), "the beginning again", || {
        let ended = Standing::of(&lab.world)?;
        anyhow::ensure!(ended == began, ended.words(&began));
        Ok(())
    });
    ended.unwrap_or_else(|error| panic!("it did not end as it began: {error:#}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_and_back_survive_the_leaders_death_at_every_step() {
    survives(Victim::Leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_and_back_survive_the_agents_death_at_every_step() {
    survives(Victim::Agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwards_and_back_survive_the_servers_death_at_every_step() {
    survives(Victim::Instance).await;
}
