//! The log of a database family: forks of committed transactions, and the tables that come of them.
//!
//! Apart because every copy of a database (primary, secondaries, restored ones) shares one log and differs only in how far, and
//! along which fork, it has come. A fork is appended to by one writable copy only; a copy that becomes writable after another
//! had been so begins a fork of its own. It must never lose a row that a copy can still reach.

use super::lsn::Lsn;
use crate::answer::{Type, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub type Guid = [u8; 16];

/// Index of a fork in its log.
pub type ForkId = usize;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// `FamilyGUID`: the same in every backup and copy of the database.
    pub family: Guid,
    /// The tables as they were at `base_at`, on the first fork.
    pub base: Tables,
    pub base_at: Lsn,
    pub forks: Vec<Fork>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    pub id: Guid,
    /// Where it left another fork.
    pub parent: Option<(ForkId, Lsn)>,
    pub records: Vec<Record>,
}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub end: Lsn,
    /// Unix ms of its commit, by the primary's clock.
    pub time: i64,
    /// Empty for the built-in write load and for log traffic of the server itself.
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    Create { table: String, columns: Vec<TableColumn> },
    Drop { table: String },
    Insert { table: String, row: u64, values: Vec<Value> },
    Update { table: String, row: u64, values: Vec<Value> },
    Delete { table: String, row: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableColumn {
    pub name: String,
    pub kind: Type,
    pub nullable: bool,
    /// `PRIMARY KEY` or `UNIQUE`.
    pub unique: bool,
    /// `IDENTITY`.
    pub identity: bool,
    pub default: Option<Value>,
}

/// Tables by lower-case name.
pub type Tables = BTreeMap<String, Table>;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// As it was written when it was created.
    pub name: String,
    pub columns: Vec<TableColumn>,
    pub rows: BTreeMap<u64, Vec<Value>>,
}

/// Records of the write load that are kept behind every reader, so that "last commit" has something to say.
const IDLE_RECORDS_KEPT: usize = 64;

pub fn apply(tables: &mut Tables, change: &Change) {
    match change {
        Change::Create { table, columns } => {
            let made = Table { name: table.clone(), columns: columns.clone(), rows: BTreeMap::new() };
            tables.insert(table.to_lowercase(), made);
        }
        Change::Drop { table } => {
            tables.remove(&table.to_lowercase());
        }
        Change::Insert { table, row, values } | Change::Update { table, row, values } => {
            if let Some(table) = tables.get_mut(&table.to_lowercase()) {
                table.rows.insert(*row, values.clone());
            }
        }
        Change::Delete { table, row } => {
            if let Some(table) = tables.get_mut(&table.to_lowercase()) {
                table.rows.remove(row);
            }
        }
    }
}

impl Log {
    pub fn new(family: Guid, first_fork: Guid, at: i64) -> Log {
        let first = Record { end: Lsn::START, time: at, changes: Vec::new() };
        Log {
            family,
            base: Tables::new(),
            base_at: Lsn(0),
            forks: vec![Fork { id: first_fork, parent: None, records: vec![first] }],
        }
    }

    /// The pieces of forks that lead to `fork`, oldest first: each with the place up to which it counts.
    pub fn path(&self, fork: ForkId, upto: Lsn) -> Vec<(ForkId, Lsn)> {
        let mut pieces = vec![(fork, upto)];
        let mut at = fork;
        let mut limit = upto;
        while let Some((parent, left)) = self.forks[at].parent {
            limit = limit.min(left);
            pieces.push((parent, limit));
            at = parent;
        }
        pieces.reverse();
        pieces
    }

    /// Records in order up to and including the one that ends at `upto`.
    pub fn records(&self, fork: ForkId, upto: Lsn) -> impl Iterator<Item = &Record> {
        self.path(fork, upto).into_iter().flat_map(move |(fork, limit)| {
            self.forks[fork].records.iter().take_while(move |record| record.end <= limit)
        })
    }

    /// The end of a fork's log: of its last record, or where it began.
    pub fn end(&self, fork: ForkId) -> Lsn {
        let fork = &self.forks[fork];
        match fork.records.last() {
            Some(record) => record.end,
            None => fork.parent.map_or(Lsn::START, |(_, at)| at),
        }
    }

    /// How far `fork` goes together with what a copy holds that came to `end` along `held`.
    pub fn common(&self, held: ForkId, end: Lsn, fork: ForkId) -> Lsn {
        let theirs = self.path(fork, Lsn(u64::MAX));
        let mut common = Lsn(0);
        for (piece, limit) in self.path(held, end) {
            match theirs.iter().find(|(other, _)| *other == piece) {
                Some((_, other)) => common = common.max(limit.min(*other)),
                None => break,
            }
        }
        common
    }

    /// The last commit at or before `upto`.
    pub fn last_commit(&self, fork: ForkId, upto: Lsn) -> Option<(Lsn, i64)> {
        self.path(fork, upto).into_iter().rev().find_map(|(piece, limit)| {
            let records = &self.forks[piece].records;
            let count = records.partition_point(|record| record.end <= limit);
            count.checked_sub(1).map(|last| (records[last].end, records[last].time))
        })
    }

    /// The farthest place whose commit is not younger than `time`, on the way to `upto`.
    pub fn committed_by(&self, fork: ForkId, upto: Lsn, time: i64) -> Lsn {
        self.path(fork, upto)
            .into_iter()
            .rev()
            .find_map(|(piece, limit)| {
                let records = &self.forks[piece].records;
                let count = records.partition_point(|record| record.end <= limit && record.time <= time);
                count.checked_sub(1).map(|last| records[last].end)
            })
            .unwrap_or(Lsn(0))
    }

    /// The farthest end of a record at or before `limit`: copies stop only between transactions.
    pub fn whole(&self, fork: ForkId, limit: Lsn) -> Lsn {
        self.last_commit(fork, limit).map_or(Lsn(0), |(end, _)| end)
    }

    pub fn append(&mut self, fork: ForkId, time: i64, blocks: u64, changes: Vec<Change>) -> Lsn {
        let end = self.end(fork).after(blocks.max(1));
        self.forks[fork].records.push(Record { end, time, changes });
        end
    }

    /// A fork that leaves `from` at `at`.
    pub fn fork(&mut self, from: ForkId, at: Lsn, id: Guid) -> ForkId {
        self.forks.push(Fork { id, parent: Some((from, at)), records: Vec::new() });
        self.forks.len() - 1
    }

    pub fn tables(&self, fork: ForkId, upto: Lsn) -> Tables {
        let mut tables = self.base.clone();
        for record in self.records(fork, upto) {
            for change in &record.changes {
                apply(&mut tables, change);
            }
        }
        tables
    }

    /// Takes in what a backup brought: records that this log does not hold yet. Returns the fork's index.
    pub fn merge(&mut self, forks: &[Fork]) -> Vec<ForkId> {
        let mut places: Vec<ForkId> = Vec::new();
        for incoming in forks {
            let place = match self.forks.iter().position(|fork| fork.id == incoming.id) {
                Some(place) => place,
                None => {
                    let parent = incoming.parent.map(|(parent, at)| (places.get(parent).copied().unwrap_or(0), at));
                    self.forks.push(Fork { id: incoming.id, parent, records: Vec::new() });
                    self.forks.len() - 1
                }
            };
            let held = &mut self.forks[place].records;
            for record in &incoming.records {
                if let Err(at) = held.binary_search_by_key(&record.end, |one| one.end) {
                    held.insert(at, record.clone());
                }
            }
            places.push(place);
        }
        places
    }

    /// Drops records without changes that lie before every place that somebody still needs.
    pub fn trim(&mut self, needed: Lsn) {
        for fork in &mut self.forks {
            let behind = fork.records.partition_point(|record| record.end < needed);
            if behind > 2 * IDLE_RECORDS_KEPT {
                let last = behind - IDLE_RECORDS_KEPT;
                let mut index = 0;
                fork.records.retain(|record| {
                    index += 1;
                    index > last || !record.changes.is_empty()
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log::new([1; 16], [2; 16], 0)
    }

    fn insert(row: u64) -> Vec<Change> {
        vec![Change::Insert { table: "t".into(), row, values: vec![Value::Int(row as i32)] }]
    }

    #[test]
    fn a_fork_keeps_what_was_common_and_not_what_came_after_on_the_other() {
        let mut log = log();
        log.append(0, 1, 1, vec![Change::Create { table: "T".into(), columns: Vec::new() }]);
        let kept = log.append(0, 2, 2, insert(1));
        let lost = log.append(0, 3, 2, insert(2));
        let fork = log.fork(0, kept, [3; 16]);
        let end = log.append(fork, 4, 2, insert(3));
        let rows = |fork, upto| log.tables(fork, upto)["t"].rows.keys().copied().collect::<Vec<_>>();
        assert_eq!(rows(0, lost), [1, 2]);
        assert_eq!(rows(fork, end), [1, 3]);
        assert_eq!(log.common(0, lost, fork), kept);
        assert_eq!(log.common(0, Lsn(17), fork), Lsn(17));
        assert_eq!(log.common(fork, end, fork), end);
        assert_eq!(log.last_commit(fork, kept), Some((kept, 2)));
        assert_eq!(log.committed_by(fork, end, 3), kept);
    }

    #[test]
    fn merging_a_backup_twice_is_merging_it_once() {
        let mut source = log();
        source.append(0, 1, 3, insert(1));
        let fork = source.fork(0, Lsn(19), [9; 16]);
        source.append(fork, 2, 3, insert(2));
        let mut target = Log::new([1; 16], [2; 16], 0);
        assert_eq!(target.merge(&source.forks), [0, 1]);
        assert_eq!(target.merge(&source.forks), [0, 1]);
        assert_eq!(target.forks, source.forks);
    }

    #[test]
    fn trimming_keeps_every_row() {
        let mut log = log();
        let mut end = Lsn(0);
        for n in 0..1000 {
            end = log.append(0, n, 1, if n % 100 == 0 { insert(n as u64) } else { Vec::new() });
        }
        log.trim(end);
        assert_eq!(log.forks[0].records.iter().filter(|record| !record.changes.is_empty()).count(), 10);
        assert!(log.forks[0].records.len() < 100);
        assert_eq!(log.end(0), end);
    }
}
