//! A session and an executor in this process, with a clock that a test moves: what lay on the way for too long is not taken.

#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/coordinator.rs"]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use baton_agent::{
    action,
    executor::{self, Executor, crash},
    guard::Post,
    host::Host,
    journal::Journal,
    policy::Policy,
    secrets::SecretStore,
    session,
};
use baton_model::{
    assignment::{Assignment, Part},
    group::Lease,
    ids::Epoch,
    outcome::Outcome,
    time::Span,
};
use baton_platform::{
    backoff::BackoffOptions,
    clock::{Clock, SystemClock},
    dial::TcpDial,
    random::Random,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use support::{Coordinator, agent_identity, authority, order};
use tokio_util::sync::CancellationToken;

const LASTS: Span = Span(60_000);

/// The machine's clocks, and a machine that slept in between.
#[derive(Clone)]
struct Slept {
    system: SystemClock,
    slept_ms: Arc<AtomicU64>,
}

impl Clock for Slept {
    fn now_unix_ms(&self) -> u64 {
        self.system.now_unix_ms()
    }
    fn monotonic_ms(&self) -> u64 {
        self.system.monotonic_ms()
    }
    fn boot_ms(&self) -> u64 {
        self.system.boot_ms() + self.slept_ms.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_lay_on_the_way_while_the_machine_slept_is_not_taken_and_what_is_said_anew_is() {
    baton_platform::tls::install_crypto_provider();
    let directory = tempfile::tempdir().expect("a directory");
    let authority = authority(directory.path());
    let mut coordinator = Coordinator::start(&authority, directory.path(), "c1").await;
    let material = ReloadableTls::load(agent_identity(&authority, directory.path(), "db1")).expect("an identity");
    let journal = Journal::open(&directory.path().join("journal.redb")).expect("a journal");
    let clock = Slept { system: SystemClock::new(), slept_ms: Arc::default() };
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let post = Post::new(shared.clone(), journal.ledger());
    let policy = Policy::parse(&directory.path().join("policy.toml"), "programs = ['/bin/sh']").expect("a policy");
    let options = executor::Options {
        host_name: "db1".parse().expect("a name"),
        state_directory: directory.path().to_owned(),
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        secrets: Arc::new(SecretStore::new(Default::default())),
        host: Host::default(),
        clock: shared.clone(),
        tasks_max: 4,
        observations_max: 4,
        bind: Arc::new(action::bind),
        crash: Arc::new(crash::Never),
        post: post.clone(),
    };
    let (executor, handle) = Executor::new(options, journal);
    let stop = CancellationToken::new();
    tokio::spawn(executor.run(stop.clone()));
    let session = session::Options {
        connector: Connector::new(Arc::new(TcpDial), material, ConnectOptions::default()),
        clock: shared,
        random: Random::from_seed(1),
        backoff: BackoffOptions::default(),
        cluster: String::new(),
        boot: "1".into(),
        heartbeat_max: std::time::Duration::from_secs(10),
        state_directory: directory.path().to_owned(),
        post,
    };
    tokio::spawn(session::hold(session, coordinator.address.clone(), handle, stop.clone()));

    let mut peer = coordinator.peer().await;
    peer.reign(1).await;
    let lease = Some(Lease { lasts: LASTS, stop_within: Span(1_000) });
    let group = "g".parse().expect("a name");
    let (epoch, member, components) = (Epoch(3), None, Vec::new());
    peer.confirms = 1;
    peer.assign((1, 10), &[Assignment { group, epoch, index: 10, member, part: Part::Standby, lease, components }])
        .await;
    peer.assigned(10).await;
    let effects = directory.path().join("effects").display().to_string();
    let script = format!("echo done >> {effects}");
    let before = order("db1", "1", (1, 10), &script, LASTS);
    peer.execute(&before).await;
    assert_eq!(peer.finished(&before.task).await.outcome, Outcome::Changed);

    // Nobody here stands still: it is the age of the last answer alone that tells.
    clock.slept_ms.store(LASTS.0 + 1_000, Ordering::SeqCst);
    let late = order("db1", "2", (1, 11), &script, LASTS);
    peer.execute(&late).await;
    let mut anew = coordinator.peer().await;
    assert!(!anew.reign(1).await.open_tasks.contains(&late.task), "it was not taken");
    anew.confirms = 1;
    anew.execute(&late).await;
    assert_eq!(anew.finished(&late.task).await.outcome, Outcome::Changed);
    assert_eq!(std::fs::read_to_string(&effects).expect("read").lines().count(), 2);
    stop.cancel();
}
