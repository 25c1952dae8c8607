//! What the store promised is there after it is opened again, also after a power cut at every possible moment.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use openraft::RaftLogReader;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use crate::disk::Disk;
use crate::options::Storage;
use crate::raft::{CommittedLeaderId, Entry, EntryPayload, LogId, Payload, SnapshotMeta, Tokio, Types, Vote};
use crate::store::LogStore;

type T = Types<Tokio>;

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

fn entry(term: u64, index: u64, size: usize) -> Entry {
    let payload = Payload(Bytes::from(vec![(index % 251) as u8; size]));
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(payload) }
}

/// Appends, and returns what the callback will say.
async fn append(store: &mut LogStore, entries: Vec<Entry>) -> impl Future<Output = io::Result<()>> + use<> {
    let (sender, receiver) = T::oneshot();
    let queued = RaftLogStorage::<T>::append(store, entries, IOFlushed::<T>::signal(sender)).await;
    async move {
        queued?;
        receiver.await.unwrap_or_else(|_| Err(io::Error::other("no callback")))
    }
}

async fn read(store: &mut LogStore) -> Vec<Entry> {
    RaftLogReader::<T>::try_get_log_entries(store, 0..u64::MAX).await.expect("the log is readable")
}

/// A small deterministic generator, so that a failing seed can be run again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

#[tokio::test]
async fn everything_is_there_after_the_file_is_opened_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("log.redb");
    let mut store = LogStore::open(Storage::file(&path)).expect("a new store opens");
    RaftLogStorage::<T>::save_vote(&mut store, &Vote::new_committed(3, 7)).await.expect("the vote is saved");
    let appended = append(&mut store, (1..=20).map(|i| entry(3, i, 100)).collect()).await;
    appended.await.expect("the entries are durable");
    RaftLogStorage::<T>::truncate_after(&mut store, Some(log_id(3, 15))).await.expect("truncated");
    RaftLogStorage::<T>::purge(&mut store, log_id(3, 5)).await.expect("purged");
    RaftLogStorage::<T>::save_committed(&mut store, Some(log_id(3, 12))).await.expect("noted");
    let meta = SnapshotMeta { last_log_id: Some(log_id(3, 5)), ..SnapshotMeta::default() };
    let snapshot = Bytes::from(vec![9; 3 * 1024 * 1024 + 17]);
    store.save_snapshot(&meta, &snapshot).await.expect("the snapshot is saved");
    store.close().await.expect("closed");

    // The first store is still there, but it has let go of the file.
    let mut again = LogStore::open(Storage::file(&path)).expect("the store opens again");
    let state = RaftLogStorage::<T>::get_log_state(&mut again).await.expect("the state is readable");
    assert_eq!(state.last_purged_log_id, Some(log_id(3, 5)));
    assert_eq!(state.last_log_id, Some(log_id(3, 15)));
    assert_eq!(read(&mut again).await, (6..=15).map(|i| entry(3, i, 100)).collect::<Vec<_>>());
    assert_eq!(RaftLogReader::<T>::read_vote(&mut again).await.expect("readable"), Some(Vote::new_committed(3, 7)));
    assert_eq!(RaftLogStorage::<T>::read_committed(&mut again).await.expect("readable"), Some(log_id(3, 12)));
    assert_eq!(again.load_snapshot().expect("readable"), Some((meta, snapshot)));
}

#[tokio::test]
async fn a_store_whose_disk_failed_reports_every_later_write_as_failed() {
    let disk = Disk::default();
    let mut store = LogStore::open(Storage::backend(disk.open())).expect("a new store opens");
    append(&mut store, vec![entry(1, 1, 10)]).await.await.expect("durable");
    disk.cut(|| true);
    append(&mut store, vec![entry(1, 2, 10)]).await.await.expect_err("the disk is gone");
    let vote = RaftLogStorage::<T>::save_vote(&mut store, &Vote::new(2, 1)).await;
    vote.expect_err("a vote that is not on disk was not given");
    assert_eq!(RaftLogReader::<T>::read_vote(&mut store).await.expect("readable"), None);
}

/// The heart of it. A writer appends, overwrites, votes and takes snapshots while the power is cut in the middle of some
/// fsync; what it was told to be durable is there afterwards, without a hole. Then it goes on, and again.
#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    for seed in 0..40 {
        power_cuts(seed, false).await;
    }
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged_with_inline_commits() {
    for seed in 100..140 {
        power_cuts(seed, true).await;
    }
}

async fn power_cuts(seed: u64, inline: bool) {
    let mut chance = Chance(seed);
    let disk = Disk::default();
    // What must be there: acknowledged and not removed since.
    let mut model = Model::default();
    for life in 0..4 {
        let storage = Storage::backend(disk.open()).tail_bytes_max(2_000);
        let storage = if inline { storage.inline_commit() } else { storage };
        let mut store = LogStore::open(storage).expect("the store opens after a power cut");
        model.check(&mut store, seed, life).await;
        disk.cut_at_sync(1 + chance.below(12));
        // Bounded, because a store that never syncs would never be cut off.
        for _ in 0..100 {
            if model.step(&mut store, &mut chance).await.is_err() {
                break;
            }
        }
        disk.cut(|| chance.below(2) == 0);
    }
}

/// What the store has acknowledged, and what it may have besides.
#[derive(Default)]
struct Model {
    term: u64,
    vote: Option<Vote>,
    vote_asked: Option<Vote>,
    /// Acknowledged entries, from `first` on.
    durable: Vec<Entry>,
    /// Asked for and not acknowledged.
    asked: Vec<Entry>,
    purged: u64,
    purge_asked: u64,
    truncate_asked: Option<u64>,
    snapshot: Option<u64>,
    snapshot_asked: Option<u64>,
}

impl Model {
    fn end(&self) -> u64 {
        self.durable.last().map_or(self.purged, Entry::index) + 1
    }

    async fn step(&mut self, store: &mut LogStore, chance: &mut Chance) -> io::Result<()> {
        match chance.below(10) {
            0 => {
                self.term += 1;
                let vote = Vote::new(self.term, 1);
                self.vote_asked = Some(vote);
                RaftLogStorage::<T>::save_vote(store, &vote).await?;
                self.vote = Some(vote);
            }
            1 if self.durable.len() > 2 => {
                let keep = self.durable.len() - 1 - chance.below(2) as usize;
                let last = self.durable[keep - 1].log_id;
                self.truncate_asked = Some(last.index());
                RaftLogStorage::<T>::truncate_after(store, Some(last)).await?;
                self.durable.truncate(keep);
                self.truncate_asked = None;
            }
            2 if self.durable.len() > 4 => {
                let upto = self.durable[1].log_id;
                let meta = SnapshotMeta { last_log_id: Some(upto), ..SnapshotMeta::default() };
                self.snapshot_asked = Some(upto.index());
                store.save_snapshot(&meta, &state_at(upto.index())).await?;
                self.snapshot = Some(upto.index());
                self.purge_asked = upto.index();
                RaftLogStorage::<T>::purge(store, upto).await?;
                // Purging is not acknowledged; the next durable write says that it happened.
            }
            _ => {
                // Several appends at once, so that they share a commit.
                let mut waiting = Vec::new();
                let mut next = self.end();
                for _ in 0..1 + chance.below(4) {
                    let entries: Vec<Entry> =
                        (0..1 + chance.below(3)).map(|i| entry(self.term, next + i, 64)).collect();
                    next += entries.len() as u64;
                    self.asked.extend(entries.clone());
                    waiting.push((entries.clone(), append(store, entries).await));
                }
                for (entries, acknowledged) in waiting {
                    let answer = tokio::time::timeout(Duration::from_secs(10), acknowledged).await;
                    answer.map_err(|_| io::Error::other("no answer")).flatten()?;
                    self.durable.extend(entries);
                }
                self.asked.clear();
                self.purged = self.purge_asked;
                let purged = self.purged;
                self.durable.retain(|e| e.index() > purged);
            }
        }
        Ok(())
    }

    async fn check(&mut self, store: &mut LogStore, seed: u64, life: u64) {
        let at = format!("seed {seed}, life {life}");
        let state = RaftLogStorage::<T>::get_log_state(store).await.expect("readable");
        let purged = state.last_purged_log_id.map_or(0, |l| l.index());
        assert!(purged >= self.purged && purged <= self.purge_asked.max(self.purged), "{at}: purged to {purged}");
        let found = read(store).await;
        for (i, entry) in found.iter().enumerate() {
            assert_eq!(entry.index(), purged + 1 + i as u64, "{at}: a hole");
        }
        let kept_below = self.truncate_asked.unwrap_or(u64::MAX);
        for promised in self.durable.iter().filter(|e| e.index() > purged && e.index() <= kept_below) {
            assert!(found.contains(promised), "{at}: lost acknowledged {}", promised.log_id);
        }
        for entry in &found {
            let known = self.durable.contains(entry) || self.asked.contains(entry);
            assert!(known, "{at}: {} was never appended", entry.log_id);
        }
        let vote = RaftLogReader::<T>::read_vote(store).await.expect("readable");
        assert!(vote == self.vote || vote == self.vote_asked, "{at}: voted {:?}, found {vote:?}", self.vote);
        let snapshot = store.load_snapshot().expect("readable");
        let covered = snapshot.as_ref().map(|(meta, _)| meta.last_log_id.expect("a snapshot of something").index());
        assert!(covered == self.snapshot || covered == self.snapshot_asked, "{at}: snapshot to {covered:?}");
        assert!(covered.unwrap_or(0) >= purged, "{at}: purged to {purged} without a snapshot");
        if let Some((_, bytes)) = snapshot {
            assert_eq!(bytes, state_at(covered.unwrap_or(0)), "{at}: another snapshot's bytes");
        }
        // From here on what was found counts.
        *self = Self {
            term: self.term.max(found.last().map_or(0, |e| **e.log_id.committed_leader_id())),
            vote,
            vote_asked: vote,
            durable: found,
            purged,
            purge_asked: purged,
            snapshot: covered,
            snapshot_asked: covered,
            ..Self::default()
        };
    }
}

/// Larger than one part, and different at every index.
fn state_at(index: u64) -> Bytes {
    Bytes::from(vec![(index % 251) as u8; 1024 * 1024 + 100 + index as usize])
}

#[tokio::test]
async fn appends_that_wait_together_share_a_sync() {
    let disk = Disk::default();
    let mut store = LogStore::open(Storage::backend(disk.open())).expect("a new store opens");
    append(&mut store, vec![entry(1, 1, 10)]).await.await.expect("durable");
    let before = disk.syncs();
    let mut waiting = Vec::new();
    for index in 2..=201 {
        waiting.push(append(&mut store, vec![entry(1, index, 10)]).await);
    }
    for acknowledged in waiting {
        acknowledged.await.expect("durable");
    }
    let syncs = disk.syncs() - before;
    assert!((1..100).contains(&syncs), "200 appends took {syncs} syncs");
}
