//! Reading entries: from the tail in memory, and from the disk what the tail has let go of.
//!
//! It must never return entries with a hole between them.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use openraft::entry::RaftEntry;
use openraft::{AsyncRuntime, LogIdOptionExt, RaftLogReader};
use redb::ReadableDatabase;

use super::tail::weight;
use super::{ENTRIES, LogStore, decode};
use crate::raft::{Entry, Types, Vote};

/// What one append to a follower carries at most, unless a single entry is larger.
const APPEND_BYTES: usize = 1024 * 1024;

impl<R: AsyncRuntime> RaftLogReader<Types<R>> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let start = match range.start_bound() {
            Bound::Included(i) => *i,
            Bound::Excluded(i) => i + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(i) => i + 1,
            Bound::Excluded(i) => *i,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start..end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end, APPEND_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.memory().vote)
    }
}

impl LogStore {
    /// Entries of `range`, from its start, until about `bytes_max` bytes are found; at least one if there is one.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (on_disk, mut in_memory) = {
            let memory = self.memory();
            let start = range.start.max(memory.purged.next_index());
            let end = range.end.min(memory.last.next_index());
            if start >= end {
                return Ok(Vec::new());
            }
            let tail_start = memory.tail.start();
            let in_memory: Vec<Entry> = if tail_start <= start || bytes_max == usize::MAX {
                fill(memory.tail.read(start..end).cloned(), bytes_max)
            } else {
                // The disk comes first and may fill the answer; what is missing is asked for again.
                Vec::new()
            };
            (start..end.min(tail_start), in_memory)
        };
        if on_disk.start >= on_disk.end {
            return Ok(in_memory);
        }
        let mut entries = self.read_disk(on_disk.clone(), bytes_max)?;
        let complete = entries.last().is_some_and(|e| e.index() + 1 == on_disk.end);
        if entries.first().map(Entry::index) != Some(on_disk.start) || (!complete && bytes_max == usize::MAX) {
            // They were purged, or evicted twice, while we looked. openraft does not purge what it replicates.
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("entries {on_disk:?} are gone")));
        }
        entries.append(&mut in_memory);
        Ok(entries)
    }

    fn read_disk(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        self.medium.with_database(|database| {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(ENTRIES)?;
            let mut entries = Vec::new();
            let mut bytes = 0;
            for row in table.range(range)? {
                let entry: Entry = decode(row?.1.value()).map_err(redb::Error::Io)?;
                bytes += weight(&entry);
                if bytes > bytes_max && !entries.is_empty() {
                    break;
                }
                entries.push(entry);
            }
            Ok(entries)
        })
    }
}

fn fill(entries: impl Iterator<Item = Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0usize;
    let mut filled = Vec::new();
    for entry in entries {
        bytes = bytes.saturating_add(weight(&entry));
        if bytes > bytes_max && !filled.is_empty() {
            break;
        }
        filled.push(entry);
    }
    filled
}
