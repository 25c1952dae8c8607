//! A file in which something has turned since it was written: whatever it is, the node is not opened, or has all that was acknowledged.

#[path = "support/ledger.rs"]
mod ledger;

use std::{fs, path::Path, time::Duration};

use baton_log::{Error, Log, Node, Options, Storage};
use ledger::Ledger;

const LONG: Duration = Duration::from_secs(30);
const PAGE: usize = 4096;
const ENTRIES: u32 = 40;

async fn open(path: &Path) -> Result<Log<Ledger>, Error> {
    let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
    Log::open(Options::new(1, "c1"), Storage::file(path), Ledger::default(), nobody).await
}

/// A log of its own with entries of a few hundred bytes each, ended in order. What was acknowledged.
async fn written(path: &Path) -> Vec<Vec<u8>> {
    let log = open(path).await.expect("a new node opens");
    let members = [(1, Node { name: "c1".to_owned(), address: "nowhere:1".to_owned() })];
    log.initialize(members.into()).await.expect("a new cluster");
    log.leadership().wait_for(|l| l.ready).await.expect("it leads");
    let mut acknowledged = Vec::new();
    for number in 0..ENTRIES {
        let payload = format!("{number} {}", "x".repeat(300)).into_bytes();
        log.propose(payload.clone(), LONG).await.expect("committed");
        acknowledged.push(payload);
    }
    log.shutdown().await;
    acknowledged
}

/// Whether it was opened: then with everything.
async fn has_all_or_is_refused(path: &Path, acknowledged: &[Vec<u8>], what: &str) -> bool {
    match open(path).await {
        Err(Error::Damaged(_)) => false,
        Err(other) => panic!("{what}: not told as damage: {other}"),
        Ok(log) => {
            // Alone, it leads at once, and its state has what its log has.
            let led =
                tokio::time::timeout(LONG, async { log.leadership().wait_for(|l| l.ready).await.map(drop) }).await;
            led.expect("it leads").expect("it goes on");
            let lines = log.with(|ledger| ledger.lines.clone());
            let lines: Vec<Vec<u8>> = lines.into_iter().map(|(_, line)| line).collect();
            assert!(lines == acknowledged, "{what}: {} of {} entries, or others", lines.len(), acknowledged.len());
            log.shutdown().await;
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_that_turned_on_any_page_is_found_or_was_of_no_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let (good, bad) = (directory.path().join("good.redb"), directory.path().join("log.redb"));
    let acknowledged = written(&good).await;
    let bytes = fs::read(&good).expect("a file");
    let used: Vec<usize> =
        (0..bytes.len() / PAGE).filter(|page| bytes[page * PAGE..][..PAGE].iter().any(|byte| *byte != 0)).collect();
    let (mut refused, mut borne) = (0, 0);
    for page in used {
        let at = (0..PAGE).rev().map(|at| page * PAGE + at).find(|at| bytes[*at] != 0).expect("a used page");
        for at in [at, page * PAGE + PAGE / 2] {
            let mut turned = bytes.clone();
            turned[at] ^= 4;
            fs::write(&bad, turned).expect("written");
            let what = format!("byte {at} of page {page}");
            if has_all_or_is_refused(&bad, &acknowledged, &what).await {
                borne += 1;
                continue;
            }
            refused += 1;
            // It is not taken at the next start either.
            assert!(
                !has_all_or_is_refused(&bad, &acknowledged, &format!("{what}, again")).await,
                "{what}: taken the second time"
            );
        }
    }
    eprintln!("{refused} refused, {borne} of no use");
    assert!(refused > 0 && borne > 0, "{refused} refused, {borne} borne");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_short_anywhere_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (good, bad) = (directory.path().join("good.redb"), directory.path().join("log.redb"));
    let acknowledged = written(&good).await;
    let bytes = fs::read(&good).expect("a file");
    for part in 1..16 {
        let length = bytes.len() * part / 16;
        fs::write(&bad, &bytes[..length]).expect("written");
        has_all_or_is_refused(&bad, &acknowledged, &format!("{length} of {} bytes", bytes.len())).await;
    }
}
