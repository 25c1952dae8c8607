//! Failover and switch back of Genesys Framework with somebody killed at every step: the leading coordinator, the agent at work,
//! the SQL Server instance that the step is about. The same end is reached, with no effect twice: counted by the services
//! themselves, and by what the instances know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
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

/// The orders that coordinators send, as their logs tell at the moment of sending.
struct Orders {
    logs: Vec<(PathBuf, u64)>,
}

impl Orders {
    fn of(lab: &Installation) -> Self {
        let logs = (0..lab.cluster.coordinators()).map(|number| (lab.cluster.coordinator_log(number).to_owned(), 0));
        let mut orders = Self { logs: logs.collect() };
        orders.news();
        orders
    }

    /// (coordinator, step, host) of every order logged since the last call.
    fn news(&mut self) -> Vec<(usize, String, String)> {
        let mut news = Vec::new();
        for (number, (path, offset)) in self.logs.iter_mut().enumerate() {
            let mut file = File::open(&*path).expect("a coordinator's log");
            file.seek(SeekFrom::Start(*offset)).expect("seek in the log");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read the log");
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *offset += whole as u64;
            for line in text[..whole].lines() {
                let Some((_, task)) = line.split_once("ordered task=") else { continue };
                let told = task.split_once('/').and_then(|(_, rest)| rest.split_once('@'));
                let Some((step, rest)) = told else { continue };
                let host: String = rest.chars().take_while(|c| *c != '#').collect();
                news.push((number, step.to_owned(), host));
            }
        }
        news
    }
}

/// Starts `words`, and sees the run to its end while accidents happen. Returns the steps at which there was one, and how often the
/// run halted.
async fn see_through(lab: &mut Installation, words: &[&str], victim: Victim) -> (BTreeSet<String>, usize) {
    let mut orders = Orders::of(lab);
    let mut all = words.to_vec();
    all.extend(["--yes", "--detach", "-o", "json"]);
    let started = lab.cluster.baton(&all).expect("run baton");
    assert!(started.status.success(), "{words:?}: {}", String::from_utf8_lossy(&started.stderr));
    let runs = lab.cluster.json(&["runs", NAME]).expect("the runs");
    let number = |id: &str| id.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
    let ids = runs.as_array().into_iter().flatten().filter_map(|run| run["id"].as_str());
    let run = ids.max_by_key(|id| number(id)).expect("a run").to_owned();
    let (mut ordered, mut killed, mut halts) = (BTreeSet::new(), BTreeSet::new(), 0);
    // A server that was killed stays away until the run has halted for it, or has waited for it long enough.
    let mut gone: Option<(String, Instant)> = None;
    let (begun, mut looked) = (Instant::now(), Instant::now());
    loop {
        assert!(begun.elapsed() < WITHIN, "{run} is not over after {WITHIN:?}; killed at {killed:?}");
        let news = orders.news();
        if news.is_empty() && looked.elapsed() > Duration::from_millis(500) {
            looked = Instant::now();
            // Nobody may lead at the moment: then it is asked again.
            if let Ok(view) = lab.cluster.json(&["show", &run]) {
                if view["over"] == true {
                    comes_back(lab, gone.take()).await;
                    assert_eq!(view["phase"], "succeeded", "killed at {killed:?}: {view}");
                    return (killed, halts);
                }
                if view["phase"] == "halted" {
                    comes_back(lab, gone.take()).await;
                    let why = view["why"].as_str().unwrap_or_default().to_owned();
                    // Only a server that was killed may hold a run up, and it is named.
                    assert_eq!(victim, Victim::Instance, "killed at {killed:?}: {why}");
                    assert!(why.contains("node") && why.contains("BTN-"), "{why}");
                    eprintln!("halted, and tried again: {why}");
                    halts += 1;
                    let again = lab.cluster.baton(&["retry", &run, "--reason", "the server is back"]).expect("baton");
                    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
                }
            }
        }
        if gone.as_ref().is_some_and(|(_, since)| since.elapsed() > AWAY) {
            comes_back(lab, gone.take()).await;
        }
        for (coordinator, step, host) in news {
            if !ordered.insert(step.clone()) {
                continue;
            }
            comes_back(lab, gone.take()).await;
            if accident(lab, victim, coordinator, &host) {
                if victim == Victim::Instance {
                    gone = Some((host, Instant::now()));
                }
                killed.insert(step);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
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
    let words = ["failover", NAME, "--reason", "site 1 is gone", &accept];
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
    let words = ["run", NAME, "switchback", "--reason", "site 1 is repaired"];
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
