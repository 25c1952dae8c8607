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
use super::{ENTRIES, LogStore};
use crate::encoding::decode;
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
        let (on_disk, in_memory) = {
            let memory = self.memory();
            let start = range.start.max(memory.purged.next_index());
            let end = range.end.min(memory.last.next_index());
            if start >= end {
                return Ok(Vec::new());
            }
            // Both looked up under one lock: what is not in the tail now is on the disk now.
            (start..end.min(memory.tail.start()), fill(memory.tail.read(start..end), bytes_max))
        };
        if on_disk.is_empty() {
            return Ok(in_memory);
        }
        let mut entries = self.read_disk(on_disk.clone(), bytes_max)?;
        // Nothing at all: the log begins later, with the tail.
        let reached = entries.last().map_or(on_disk.end, |last| last.index() + 1);
        if reached == on_disk.end {
            // A little more than was asked for does no harm, a hole would.
            entries.extend(in_memory);
        } else if bytes_max == usize::MAX {
            // Purged while we looked. openraft does not purge what it is about to read.
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("entries {on_disk:?} are gone")));
        }
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

/// Copies entries until the next one would be too much; at least one.
fn fill<'a>(entries: impl Iterator<Item = &'a Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0;
    let mut filled = Vec::new();
    for entry in entries {
        bytes += weight(entry);
        if bytes > bytes_max && !filled.is_empty() {
            break;
        }
        filled.push(entry.clone());
    }
    filled
}
