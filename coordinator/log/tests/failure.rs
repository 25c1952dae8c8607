//! A node that cannot go on stops, and says so: nobody waits for it, and it acts as leader no more.

#[path = "support/disk.rs"]
mod disk;

use std::time::Duration;

use baton_log::{Application, AppliedEntry, Log, Node, Options, ProposeError, Role, Storage};
use disk::Disk;

const LONG: Duration = Duration::from_secs(30);

/// Panics when it is told to.
struct Fragile;

impl Application for Fragile {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Vec<u8> {
        assert_ne!(entry.payload, b"panic", "an invariant is broken");
        entry.payload.to_vec()
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

async fn lonely(disk: &Disk) -> Log<Fragile> {
    let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
    let storage = Storage::backend(disk.open());
    let log = Log::open(Options::new(1, "c1"), storage, Fragile, nobody).await.expect("a new node opens");
    let members = [(1, Node { name: "c1".to_owned(), address: "nowhere:1".to_owned() })];
    log.initialize(members.into()).await.expect("a new cluster");
    log.leadership().wait_for(|l| l.ready).await.expect("it leads");
    let fine = log.propose(b"fine".to_vec(), LONG).await.expect("committed");
    assert_eq!(fine.response, b"fine");
    log
}

async fn stops(log: &Log<Fragile>, answer: Result<baton_log::Proposed, ProposeError>) {
    let error = answer.expect_err("it cannot have been applied");
    assert!(error.outcome_unknown(), "{error:?}");
    let mut leadership = log.leadership();
    let stopped = tokio::time::timeout(LONG, leadership.wait_for(|l| !l.is_self)).await.expect("it stops leading");
    let stopped = stopped.expect("the last word is kept").clone();
    assert!(!stopped.ready && stopped.leader.is_none(), "{stopped:?}");
    let later = tokio::time::timeout(LONG, log.propose(b"later".to_vec(), LONG)).await.expect("an answer at once");
    assert!(matches!(later, Err(ProposeError::Stopped(_))), "{later:?}");
    let status = log.status();
    assert_eq!(status.role, Role::Stopped);
    assert!(status.failure.is_some());
    tokio::time::timeout(LONG, log.shutdown()).await.expect("it can still be shut down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_disk_stops_the_node() {
    let disk = Disk::default();
    let log = lonely(&disk).await;
    disk.cut(|| false);
    let answer = log.propose(b"too late".to_vec(), LONG).await;
    stops(&log, answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_panics_stops_the_node() {
    let disk = Disk::default();
    let log = lonely(&disk).await;
    let answer = log.propose(b"panic".to_vec(), Duration::from_secs(5)).await;
    stops(&log, answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_disk_is_refused() {
    let disk = Disk::default();
    lonely(&disk).await.shutdown().await;
    let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
    let other = |options| Log::open(options, Storage::backend(disk.open()), Fragile, nobody);
    let refused = other(Options::new(2, "c2")).await.err().expect("refused").to_string();
    assert!(refused.contains("node 1") && refused.contains("node 2"), "{refused}");
    let refused = other(Options { cluster: "other".to_owned(), ..Options::new(1, "c1") }).await.err().expect("refused");
    assert!(refused.to_string().contains("\"baton\""), "{refused}");
    other(Options::new(1, "c1")).await.expect("its own").shutdown().await;
}
