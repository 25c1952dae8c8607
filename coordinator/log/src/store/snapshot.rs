//! Durable snapshots, in the same file as the log.
//!
//! A snapshot is written in parts of a megabyte, each its own commit, so that entries can go in between and an election is
//! not provoked by a large state; one last small commit makes it the current one and removes its
//! predecessor. The log must never be purged before that commit, which openraft sees to by waiting for it.

use std::io;

use bytes::Bytes;
use redb::ReadableDatabase;
use serde::{Deserialize, Serialize};

use super::committer::Change;
use super::{LogStore, SNAPSHOT_PARTS};
use crate::encoding::decode;
use crate::raft::SnapshotMeta;

const PART_BYTES: usize = 1024 * 1024;

/// The current snapshot, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    /// Which parts are its own.
    pub(crate) generation: u64,
    pub(crate) meta: SnapshotMeta,
    pub(crate) parts: u32,
    pub(crate) bytes: u64,
}

impl LogStore {
    /// Makes this the current snapshot, unless there is one that covers as much. Durable on return.
    pub(crate) async fn save_snapshot(&self, meta: &SnapshotMeta, snapshot: &Bytes) -> io::Result<()> {
        let generation = {
            let mut memory = self.memory();
            if memory.snapshot.as_ref().is_some_and(|s| s.meta.last_log_id >= meta.last_log_id) {
                return Ok(());
            }
            let generation = memory.next_generation;
            memory.next_generation += 1;
            generation
        };
        let mut parts = 0;
        let mut rest = snapshot.clone();
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(PART_BYTES));
            self.write(Change::SnapshotPart { generation, part: parts, bytes }).await?;
            parts += 1;
        }
        let record = SnapshotRecord { generation, meta: meta.clone(), parts, bytes: snapshot.len() as u64 };
        self.write(Change::Snapshot(record)).await
    }

    /// The current snapshot.
    pub(crate) fn load_snapshot(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let found = self.medium.with_database(|database| {
            let transaction = database.begin_read()?;
            // Record and parts from one transaction: a newer snapshot may be taking its place.
            let facts = transaction.open_table(super::FACTS)?;
            let Some(value) = facts.get(super::SNAPSHOT)? else { return Ok(None) };
            let record: SnapshotRecord = decode(value.value()).map_err(redb::Error::Io)?;
            let parts = transaction.open_table(SNAPSHOT_PARTS)?;
            let mut bytes = Vec::with_capacity(record.bytes as usize);
            for part in parts.range((record.generation, 0)..(record.generation, record.parts))? {
                bytes.extend_from_slice(part?.1.value());
            }
            Ok(Some((record, bytes)))
        })?;
        let Some((record, bytes)) = found else { return Ok(None) };
        if bytes.len() as u64 != record.bytes {
            let text = format!("a snapshot of {} bytes has {}", record.bytes, bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Some((record.meta, Bytes::from(bytes))))
    }
}
