//! The log on a runtime that is injected: openraft's deterministic one, on one thread, with commits inline and storage in
//! memory. That it runs there is what a simulation needs.

#[path = "support/disk.rs"]
mod disk;
#[path = "support/ledger.rs"]
mod ledger;

use std::time::Duration;

use baton_log::{Log, Node, Options, Storage, Tokio};
use disk::Disk;
use ledger::Ledger;
use openraft_rt::deterministic_rng::DeterministicRng;

type Deterministic = DeterministicRng<Tokio>;

/// One life of a lonely node.
async fn life(disk: &Disk) -> u64 {
    let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
    let storage = Storage::backend(disk.open()).inline_commit();
    let log: Log<Ledger, Deterministic> =
        Log::open_on(Options::new(1, "c1"), storage, Ledger::default(), nobody).await.expect("the node opens");
    if !log.is_initialized().await.expect("it runs") {
        let members = [(1, Node { name: "c1".to_owned(), address: "nowhere:1".to_owned() })];
        log.initialize(members.into()).await.expect("a new cluster");
    }
    assert!(log.status().last_index > 0, "the status is older than the node");
    log.leadership().wait_for(|l| l.ready).await.expect("it runs");
    let proposed = log.propose(b"line".to_vec(), Duration::from_secs(5)).await.expect("committed");
    log.read_index().await.expect("it leads");
    assert!(log.with(|l| l.has(b"line")));
    disk.cut(|| false);
    log.shutdown().await;
    u64::from_be_bytes(proposed.response.try_into().expect("a count"))
}

#[test]
fn the_log_runs_on_an_injected_runtime_without_a_thread_of_its_own() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Outside of this scope the runtime's randomness panics, so it is the one that is used.
    let lines = runtime.block_on(Deterministic::scope(7, async {
        let disk = Disk::default();
        [life(&disk).await, life(&disk).await, life(&disk).await]
    }));
    assert_eq!(lines, [1, 2, 3]);
}
