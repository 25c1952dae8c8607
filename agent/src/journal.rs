//! The ledger on disk. What is committed here is there after a power cut, before anything acts on it.
//!
//! Apart because it is the only owner of the database. It must never decide; and where it cannot write, the agent must
//! stop: an effect without its line could happen twice.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use crate::ledger::{Change, Ledger};

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const RULER: TableDefinition<&str, &[u8]> = TableDefinition::new("ruler");
const MARKS: TableDefinition<&str, u64> = TableDefinition::new("marks");
const RAISED: TableDefinition<&str, u64> = TableDefinition::new("raised");
const FLOORS: TableDefinition<&str, u64> = TableDefinition::new("floors");
/// The key is the task's id as JSON: its display form could be ambiguous.
const TASKS: TableDefinition<&str, &[u8]> = TableDefinition::new("tasks");

/// The version of what is in the tables.
pub const SCHEMA: u64 = 1;
/// An agent is small; the ledger is in memory anyway.
const CACHE_BYTES: usize = 1 << 20;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("BTN-0451 the journal cannot be used: {0}")]
    Database(Box<redb::Error>),
    #[error(
        "BTN-0452 the journal has schema {found}, and this agent knows {SCHEMA}. Install the agent that wrote it, or a newer one"
    )]
    Schema { found: u64 },
    #[error("BTN-0453 the journal has a line that is not understood, {key}: {reason}")]
    Line { key: String, reason: String },
}

impl<E: Into<redb::Error>> From<E> for JournalError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// The database and what is in it.
pub struct Journal {
    database: Database,
    ledger: Ledger,
}

impl Journal {
    /// Opens or creates a file.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut builder = Database::builder();
        Self::over(builder.set_cache_size(CACHE_BYTES).create(path)?)
    }
    /// Over any storage: a simulated disk.
    pub fn open_backend(backend: impl StorageBackend) -> Result<Self, JournalError> {
        let mut builder = Database::builder();
        Self::over(builder.set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
    }

    fn over(database: Database) -> Result<Self, JournalError> {
        let write = database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get("schema")?.map(|value| value.value());
            match found {
                None => drop(meta.insert("schema", SCHEMA)?),
                Some(SCHEMA) => {}
                Some(found) => return Err(JournalError::Schema { found }),
            }
            write.open_table(RULER)?;
            write.open_table(MARKS)?;
            write.open_table(RAISED)?;
            write.open_table(FLOORS)?;
            write.open_table(TASKS)?;
        }
        write.commit()?;
        let ledger = read(&database)?;
        Ok(Self { database, ledger })
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Writes all of them or none, waits for the disk, and only then lets the ledger show them. No changes, no wait.
    pub fn commit(&mut self, changes: Vec<Change>) -> Result<(), JournalError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut next = self.ledger.clone();
        changes.iter().for_each(|change| next.apply(change.clone()));
        // What this makes superfluous goes in the same transaction, so that the journal stays bounded by what is open.
        let superfluous = next.superfluous();
        superfluous.iter().for_each(|change| next.apply(change.clone()));

        // redb's default is durable: the commit returns after the fsync.
        let write = self.database.begin_write()?;
        for change in changes.iter().chain(&superfluous) {
            match change {
                Change::Ruler(ruler) => drop(write.open_table(RULER)?.insert("ruler", bytes(ruler).as_slice())?),
                Change::Mark(run, index) => drop(write.open_table(MARKS)?.insert(run.to_string().as_str(), index)?),
                Change::Raised(run, index) => drop(write.open_table(RAISED)?.insert(run.to_string().as_str(), index)?),
                Change::Floor(group, number) => drop(write.open_table(FLOORS)?.insert(group.as_str(), number)?),
                Change::Task(task, entry) => {
                    drop(write.open_table(TASKS)?.insert(key(task).as_str(), bytes(entry).as_slice())?)
                }
                Change::DropMark(run) => {
                    drop(write.open_table(MARKS)?.remove(run.to_string().as_str())?);
                    drop(write.open_table(RAISED)?.remove(run.to_string().as_str())?);
                }
                Change::DropTask(task) => drop(write.open_table(TASKS)?.remove(key(task).as_str())?),
            }
        }
        write.commit()?;
        self.ledger = next;
        Ok(())
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the ledger's types have string keys and no failing serializer")
}

fn key(task: &baton_model::ids::TaskId) -> String {
    serde_json::to_string(task).expect("a task's id is plain data")
}

fn read(database: &Database) -> Result<Ledger, JournalError> {
    let transaction = database.begin_read()?;
    let mut ledger = Ledger::default();
    if let Some(value) = transaction.open_table(RULER)?.get("ruler")? {
        ledger.ruler = parse("ruler", value.value())?;
    }
    for row in transaction.open_table(MARKS)?.iter()? {
        let (run, index) = row?;
        let name = run.value();
        ledger.marks.insert(name.parse().map_err(|error| line(name, error))?, index.value());
    }
    for row in transaction.open_table(RAISED)?.iter()? {
        let (run, index) = row?;
        let name = run.value();
        ledger.raised.insert(name.parse().map_err(|error| line(name, error))?, index.value());
    }
    for row in transaction.open_table(FLOORS)?.iter()? {
        let (group, number) = row?;
        let name = group.value();
        ledger.floors.insert(name.parse().map_err(|error| line(name, error))?, number.value());
    }
    for row in transaction.open_table(TASKS)?.iter()? {
        let (task, entry) = row?;
        let name = task.value();
        ledger.tasks.insert(parse(name, name.as_bytes())?, parse(name, entry.value())?);
    }
    Ok(ledger)
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, JournalError> {
    serde_json::from_slice(bytes).map_err(|error| line(key, error))
}

fn line(key: &str, reason: impl std::fmt::Display) -> JournalError {
    JournalError::Line { key: key.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
