//! The one writer: it takes all that is queued, commits it in one redb transaction with one fsync, and only then tells
//! everybody. This is the group commit: sixty-four clients share an fsync.
//!
//! It must never call back before the commit returned, and never go on after a commit failed: after a failed fsync
//! nobody knows what the disk has.

use std::io;
use std::sync::{Arc, PoisonError};

use openraft::entry::RaftEntry;
use redb::{ReadableTable, WriteTransaction};
use tokio::sync::mpsc;

use super::snapshot::SnapshotRecord;
use super::{COMMITTED, ENTRIES, FACTS, Medium, PURGED, QUEUE_JOBS, SNAPSHOT, SNAPSHOT_PARTS, VOTE};
use crate::encoding::{decode, encode};
use crate::raft::{Entry, LogId, Vote};

/// One thing to write.
pub(super) enum Change {
    Vote(Vote),
    Append(Vec<Entry>),
    /// Remove entries from this index on.
    Truncate(u64),
    /// Remove entries up to this one.
    Purge(LogId),
    Committed(Option<LogId>),
    SnapshotPart {
        generation: u64,
        part: u32,
        bytes: bytes::Bytes,
    },
    /// All parts of this snapshot are written: it is the snapshot now.
    Snapshot(SnapshotRecord),
    /// Let go of the file.
    Close,
}

pub(super) struct Job {
    pub(super) change: Change,
    /// Called once, after the change is durable or has failed.
    pub(super) done: Option<Box<dyn FnOnce(io::Result<()>) + Send>>,
}

pub(super) struct Committer {
    medium: Arc<Medium>,
    /// Not written yet, for want of another reason to write.
    committed: Option<Option<LogId>>,
    failure: Option<String>,
}

impl Committer {
    pub(super) fn new(medium: Arc<Medium>) -> Self {
        Self { medium, committed: None, failure: None }
    }

    /// Commits until every store is dropped.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(QUEUE_JOBS);
        while queue.blocking_recv_many(&mut jobs, QUEUE_JOBS) > 0 {
            self.commit(std::mem::take(&mut jobs));
        }
    }

    /// Commits a batch and calls everybody back.
    pub(super) fn commit(&mut self, jobs: Vec<Job>) {
        let result = match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => self.write(&jobs),
        };
        if let Err(failure) = &result
            && self.failure.is_none()
        {
            tracing::error!(%failure, "the log's storage failed; this node stops");
            self.failure = Some(failure.clone());
        }
        for job in jobs {
            if let Some(done) = job.done {
                done(result.clone().map_err(io::Error::other));
            }
        }
    }

    fn write(&mut self, jobs: &[Job]) -> Result<(), String> {
        let mut worth_a_commit = false;
        let mut close = false;
        for job in jobs {
            match &job.change {
                Change::Committed(committed) => self.committed = Some(*committed),
                Change::Close => close = true,
                _ => worth_a_commit = true,
            }
        }
        if worth_a_commit || (close && self.committed.is_some()) {
            self.write_batch(jobs).map_err(|e| e.to_string())?;
            self.committed = None;
        }
        if close {
            self.medium.database.write().unwrap_or_else(PoisonError::into_inner).take();
            return Ok(());
        }
        Ok(())
    }

    fn write_batch(&self, jobs: &[Job]) -> io::Result<()> {
        let mut effect = Effect::default();
        self.medium.with_database(|database| {
            // redb's default durability: the commit returns after the fsync.
            let transaction = database.begin_write()?;
            for job in jobs {
                apply(&transaction, &job.change, &mut effect)?;
            }
            if let Some(committed) = &self.committed {
                transaction.open_table(FACTS)?.insert(COMMITTED, encode(committed).as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })?;
        let mut memory = self.medium.memory();
        if let Some(end) = effect.durable_end {
            memory.tail.evict(end);
        }
        if let Some(snapshot) = effect.snapshot {
            memory.snapshot = Some(snapshot);
        }
        Ok(())
    }
}

/// What a batch changes in memory once it is durable.
#[derive(Default)]
struct Effect {
    /// Entries below this index are on disk.
    durable_end: Option<u64>,
    snapshot: Option<SnapshotRecord>,
}

fn apply(transaction: &WriteTransaction, change: &Change, effect: &mut Effect) -> Result<(), redb::Error> {
    match change {
        Change::Vote(vote) => {
            transaction.open_table(FACTS)?.insert(VOTE, encode(vote).as_slice())?;
        }
        Change::Append(entries) => {
            let mut table = transaction.open_table(ENTRIES)?;
            for entry in entries {
                table.insert(entry.index(), encode(entry).as_slice())?;
                effect.durable_end = Some(entry.index() + 1);
            }
        }
        Change::Truncate(end) => {
            transaction.open_table(ENTRIES)?.retain_in(*end.., |_, _| false)?;
            // Nothing is appended before this is durable, so there is nothing that it could make look durable.
        }
        Change::Purge(log_id) => {
            transaction.open_table(ENTRIES)?.retain_in(..=log_id.index, |_, _| false)?;
            transaction.open_table(FACTS)?.insert(PURGED, encode(log_id).as_slice())?;
        }
        Change::SnapshotPart { generation, part, bytes } => {
            transaction.open_table(SNAPSHOT_PARTS)?.insert((*generation, *part), &bytes[..])?;
        }
        Change::Snapshot(record) => {
            let mut facts = transaction.open_table(FACTS)?;
            let mut parts = transaction.open_table(SNAPSHOT_PARTS)?;
            let current: Option<SnapshotRecord> = match facts.get(SNAPSHOT)? {
                Some(value) => Some(decode(value.value()).map_err(redb::Error::Io)?),
                None => None,
            };
            // A snapshot that was being built while a newer one came from the leader is thrown away.
            let newer = current.as_ref().is_some_and(|c| c.meta.last_log_id > record.meta.last_log_id);
            let kept = if newer { current.map(|c| c.generation) } else { Some(record.generation) };
            // Parts of a generation above both are of a snapshot that is being written now.
            parts.retain(|(generation, _), _| Some(generation) == kept || generation > record.generation)?;
            if !newer {
                facts.insert(SNAPSHOT, encode(record).as_slice())?;
                effect.snapshot = Some(record.clone());
            }
        }
        Change::Committed(_) | Change::Close => {}
    }
    Ok(())
}
