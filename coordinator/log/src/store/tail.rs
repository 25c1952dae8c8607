//! The end of the log in memory.
//!
//! Entries that are not yet durable live only here, so they are never evicted; durable ones go, oldest
//! first, when there are too many bytes of them. The tail must never have a hole and never lag behind the log's end.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::entry::RaftEntry;

use crate::raft::{Entry, EntryPayload};

pub(super) struct Tail {
    /// Index of the first entry here; the end of the log when there is none.
    start: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty tail of a log that ends before `end` and is all on disk.
    pub(super) fn new(end: u64, bytes_max: usize) -> Self {
        Self { start: end, entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    pub(super) fn push(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        if self.entries.is_empty() {
            // The first entry of a log, or the first one after a snapshot, may begin anywhere.
            self.start = first.index();
        }
        assert_eq!(first.index(), self.end(), "openraft appends without a hole");
        for entry in entries {
            self.bytes += weight(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Entries of `range` that are here, in order.
    pub(super) fn read(&self, range: Range<u64>) -> impl Iterator<Item = &Entry> {
        let from = range.start.saturating_sub(self.start).min(self.entries.len() as u64) as usize;
        let to = range.end.saturating_sub(self.start).min(self.entries.len() as u64) as usize;
        self.entries.range(from..to.max(from))
    }

    /// Entries from `end` on are gone.
    pub(super) fn truncate(&mut self, end: u64) {
        while self.end() > end {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= weight(&entry),
                None => {
                    self.start = end;
                    break;
                }
            }
        }
    }

    /// Entries up to `index` are gone.
    pub(super) fn purge(&mut self, index: u64) {
        while self.start <= index {
            match self.entries.pop_front() {
                Some(entry) => {
                    self.bytes -= weight(&entry);
                    self.start += 1;
                }
                None => self.start = index + 1,
            }
        }
    }

    /// The disk has everything below `durable_end`: lets go of the oldest of it if there is too much.
    pub(super) fn evict(&mut self, durable_end: u64) {
        while self.bytes > self.bytes_max && self.start < durable_end {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= weight(&entry);
            self.start += 1;
        }
    }
}

/// What an entry costs in memory, roughly.
pub(super) fn weight(entry: &Entry) -> usize {
    const OVERHEAD: usize = 128;
    match &entry.payload {
        EntryPayload::Normal(payload) => OVERHEAD + payload.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => OVERHEAD,
    }
}
