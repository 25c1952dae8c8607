//! Every agent comes back at once: the coordinator that leads dies, and with it the sessions of all hosts; when it is back they dial it
//! together, none waits for another, while the cluster has a run open.
//!
//! The hosts are played by the test, each with a certificate and a connection of its own. Five hundred by themselves; five thousand with
//! `cargo nextest run -p baton-system-tests --run-ignored only -E 'test(five_thousand)'`: minutes, and 3 GB of memory.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use baton_platform::{
    backoff::{Backoff, BackoffOptions},
    ca::{CertificateAuthority, IssueOptions},
    clock::SystemClock,
    dial::TcpDial,
    random::Random,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use baton_proto::v1::{
    self as pb, agent_sessions_client::AgentSessionsClient, from_agent::Message as Up, to_agent::Message as Down,
};
use baton_system_tests::{PATIENCE, World, stricken::Party};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{finishes, lead, under_way, whole_again};

/// How long all of them may take together, on a machine with much else to do: for each.
const EACH: Duration = Duration::from_millis(60);
/// What a coordinator may have in memory for each session, beside what it has anyway: several times of what was measured.
const KIB_EACH: u64 = 400;

#[derive(Default)]
struct Tally {
    /// On the line now.
    present: AtomicUsize,
    /// On the line, and have acknowledged that the coordinator rules.
    acknowledged: AtomicUsize,
}

/// Counted for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As an agent: a session for as long as it lasts, and then another one, after a pause that grows.
async fn attend(channel: Channel, random: Random, tally: Arc<Tally>) {
    let mut backoff = Backoff::new(BackoffOptions::default());
    loop {
        if session(channel.clone(), &tally).await {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next(&random)).await;
    }
}

/// Whether it was let in.
async fn session(channel: Channel, tally: &Tally) -> bool {
    let (up, messages) = tokio::sync::mpsc::channel(16);
    let hello = Up::Hello(pb::Hello { version: "0".into(), boot: "crowd".into(), cluster: String::new() });
    up.try_send(pb::FromAgent { message: Some(hello) }).expect("there is room");
    let Ok(down) = AgentSessionsClient::new(channel).session(ReceiverStream::new(messages)).await else { return false };
    let mut down = down.into_inner();
    let Ok(Some(pb::ToAgent { message: Some(Down::Welcome(welcome)) })) = down.message().await else { return false };
    let _present = Counted::among(&tally.present);
    let mut acknowledged = None;
    let mut beats = tokio::time::interval(Duration::from_millis(welcome.heartbeat_ms));
    let mut sequence = 0;
    loop {
        let answer = tokio::select! {
            _ = beats.tick() => {
                sequence += 1;
                Up::Heartbeat(pb::Heartbeat { sequence, ..Default::default() })
            }
            message = down.message() => match message {
                Ok(Some(pb::ToAgent { message: Some(Down::Reign(reign)) })) => {
                    acknowledged.get_or_insert_with(|| Counted::among(&tally.acknowledged));
                    let pb::Reign { request, generation, term, .. } = reign;
                    Up::Acknowledged(pb::Acknowledged { request, generation, term, ..Default::default() })
                }
                Ok(Some(_)) => continue,
                _ => return true,
            },
        };
        if up.send(pb::FromAgent { message: Some(answer) }).await.is_err() {
            return true;
        }
    }
}

fn identities(world: &World, hosts: usize) -> Vec<PathBuf> {
    let authority = CertificateAuthority::open(&world.cluster.directory().join("ca")).expect("the authority");
    let folder = world.root().join("crowd");
    let issue = |number: usize| {
        let host = format!("crowd{number:05}").parse().expect("a name");
        let issued = authority.issue_agent(&host, &IssueOptions::default(), &SystemClock::new()).expect("issued");
        let place = folder.join(host.as_str());
        issued.write(&place).expect("written");
        place
    };
    fs::create_dir_all(&folder).expect("a folder");
    (0..hosts).map(issue).collect()
}

fn raise_open_files(needed: u64) {
    let now = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    assert!(enough(now.maximum), "{needed} open files are needed: raise the hard limit (ulimit -Hn)");
    if !enough(now.current) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: now.maximum }).expect("below the maximum");
    }
}

/// Resident, in KiB.
fn memory(world: &World, party: Party<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", party.process(world))).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Waits until so many are there. The bound grows with their number and is no measurement.
fn until(what: &str, hosts: usize, mut count: impl FnMut() -> usize) {
    let patience = PATIENCE + EACH * u32::try_from(hosts).expect("a few thousand");
    let begun = Instant::now();
    loop {
        let there = count();
        if there >= hosts {
            break;
        }
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}; {there} of {hosts}");
        thread::sleep(Duration::from_millis(20));
    }
    eprintln!("{what}: {hosts} after {:?}", begun.elapsed());
}

fn come_back(hosts: usize) {
    raise_open_files(hosts as u64 * 2 + 1024);
    let (mut world, run) = under_way();
    let number = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let party = Party::Coordinator(number);
    let identities = identities(&world, hosts);
    let before = memory(&world, party);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let tally = Arc::new(Tally::default());
    let present = || tally.present.load(Ordering::Relaxed);
    // A machine with much else to do may see another one elected meanwhile, whom nobody here knows.
    let acknowledged = |world: &World| match tally.acknowledged.load(Ordering::Relaxed) {
        fewer if fewer < hosts => {
            lead(world, number);
            fewer
        }
        all => all,
    };
    let random = Random::from_system();
    for identity in &identities {
        let _inside = runtime.enter();
        let tls = ReloadableTls::load(identity).expect("an identity");
        let connector = Connector::new(Arc::new(TcpDial), tls, ConnectOptions::default());
        let channel = connector.channel(&world.cluster.coordinator_address(number).into());
        tokio::spawn(attend(channel, random.fork(), tally.clone()));
    }
    until("on the line", hosts, present);
    until("it was acknowledged", hosts, || acknowledged(&world));

    party.kill(&mut world);
    world.release("first");
    world.begun("second", 1);
    until("lost", hosts, || hosts - present());
    party.start(&mut world);
    until("on the line again", hosts, present);
    // What others ask is answered, and it can lead all of them.
    let said = world.baton(&["status"]);
    assert_eq!(said.code, 0, "{said:?}");
    until("acknowledged again", hosts, || acknowledged(&world));
    let after = memory(&world, party);
    assert!(after < before + KIB_EACH * hosts as u64 + 65_536, "{before} KiB, and with {hosts} sessions {after}");
    finishes(&world, &run);
    let there = world.json(&["hosts"]);
    let there = there
        .as_array()
        .expect("a list")
        .iter()
        .filter(|host| host["name"].as_str().is_some_and(|name| name.starts_with("crowd")));
    assert_eq!(there.count(), hosts);
    whole_again(&mut world);
    drop(runtime);
}

#[test]
fn five_hundred_agents_come_back_at_once_and_the_run_goes_on() {
    come_back(500);
}

#[test]
#[ignore = "minutes and gigabytes: see the module"]
fn five_thousand_agents_come_back_at_once_and_the_run_goes_on() {
    come_back(5000);
}
