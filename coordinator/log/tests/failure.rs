//! A node that cannot go on stops, and says so: nobody waits for it, and it acts as leader no more.

#[path = "support/disk.rs"]
mod disk;

use std::time::Duration;

use baton_log::{Application, AppliedEntry, Error, Failure, Log, Node, Options, ProposeError, Role, Storage};
use disk::Disk;

const LONG: Duration = Duration::from_secs(30);

/// Panics when it is told to, and knows the words of its time.
#[derive(Default)]
struct Fragile {
    is_of_tomorrow: bool,
    heard: Vec<Vec<u8>>,
}

impl Application for Fragile {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Result<Vec<u8>, String> {
        assert_ne!(entry.payload, b"panic", "an invariant is broken");
        if entry.payload == b"of tomorrow" && !self.is_of_tomorrow {
            return Err("nobody knows this word".to_owned());
        }
        self.heard.push(entry.payload.to_vec());
        Ok(entry.payload.to_vec())
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
    let log = Log::open(Options::new(1, "c1"), storage, Fragile::default(), nobody).await.expect("a new node opens");
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
    let failure = tokio::time::timeout(LONG, log.failed()).await.expect("it says that it has stopped");
    assert!(matches!(&failure, Failure::Broken(why) if why.contains("the power is gone")), "{failure:?}");
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
    let other = |options| Log::open(options, Storage::backend(disk.open()), Fragile::default(), nobody);
    let refused = other(Options::new(2, "c2")).await.err().expect("refused").to_string();
    assert!(refused.contains("node 1") && refused.contains("node 2"), "{refused}");
    let refused = other(Options { cluster: "other".to_owned(), ..Options::new(1, "c1") }).await.err().expect("refused");
    assert!(refused.to_string().contains("\"baton\""), "{refused}");
    other(Options::new(1, "c1")).await.expect("its own").shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_the_application_does_not_know_stops_the_node_and_again_at_its_start_and_is_never_left_out() {
    let disk = Disk::default();
    let log = lonely(&disk).await;
    let answer = log.propose(b"of tomorrow".to_vec(), Duration::from_secs(5)).await;
    let failure = tokio::time::timeout(LONG, log.failed()).await.expect("it says that it has stopped");
    assert_eq!(failure, Failure::NotUnderstood("nobody knows this word".to_owned()));
    let applied = *log.applied().borrow();
    stops(&log, answer).await;
    drop(log);
    for _ in 0..2 {
        // Until its program knows the entry. What comes after it is not applied either.
        let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
        let opened = Log::open(Options::new(1, "c1"), Storage::backend(disk.open()), Fragile::default(), nobody).await;
        let failure = match opened {
            Err(Error::NotUnderstood(why)) => why,
            Err(other) => panic!("{other}"),
            Ok(log) => {
                let failure = tokio::time::timeout(LONG, log.failed()).await.expect("it stops again");
                assert!(*log.applied().borrow() <= applied, "nothing beyond what it knew");
                log.shutdown().await;
                let Failure::NotUnderstood(why) = failure else { panic!("{failure:?}") };
                why
            }
        };
        assert_eq!(failure, "nobody knows this word");
    }
    // The program that knows it goes on at that entry.
    let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
    let newer = Fragile { is_of_tomorrow: true, ..Fragile::default() };
    let log = Log::open(Options::new(1, "c1"), Storage::backend(disk.open()), newer, nobody).await.expect("opened");
    log.leadership().wait_for(|l| l.ready).await.expect("it leads");
    assert_eq!(log.with(|newer| newer.heard.clone()), [b"fine".to_vec(), b"of tomorrow".to_vec()]);
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_asked_to_stop_has_not_failed() {
    let disk = Disk::default();
    let log = lonely(&disk).await;
    log.shutdown().await;
    assert!(tokio::time::timeout(Duration::from_millis(300), log.failed()).await.is_err());
}
