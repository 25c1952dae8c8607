//! The ledger on disk. What is committed here is there after a power cut, before anything acts on it.
//!
//! Apart because it is the only owner of the database. It must never decide; and where it cannot write, the agent must
//! stop: an effect without its line could happen twice.

use std::{
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use baton_platform::clock::Clock;

use crate::{
    lease,
    ledger::{Change, Ledger},
};

mod lines;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const RULER: TableDefinition<&str, &[u8]> = TableDefinition::new("ruler");
const MARKS: TableDefinition<&str, u64> = TableDefinition::new("marks");
const RAISED: TableDefinition<&str, u64> = TableDefinition::new("raised");
const FLOORS: TableDefinition<&str, u64> = TableDefinition::new("floors");
/// The key is the task's id as JSON: its display form could be ambiguous.
const TASKS: TableDefinition<&str, &[u8]> = TableDefinition::new("tasks");
/// One row for the assignments, which are taken whole, and one for the first word that is waited for.
const ASSIGNED: TableDefinition<&str, &[u8]> = TableDefinition::new("assigned");
/// The key is (group, component) as JSON.
const UNDERTAKEN: TableDefinition<&str, &[u8]> = TableDefinition::new("undertaken");
const DEEDS: TableDefinition<u64, &[u8]> = TableDefinition::new("deeds");
/// In ASSIGNED.
const WAITING: &str = "waiting";
/// In META: the highest number of a deed.
const DEED_LAST: &str = "deed_last";
/// In META: the file was found damaged, and redb fell back to an older state of it.
const DAMAGED: &str = "damaged";

/// The version of what is in the tables. 2 has assignments and deeds: an agent that knows 1 would not stop what must not run.
pub const SCHEMA: u64 = 2;
/// An agent is small; the ledger is in memory anyway.
const CACHE_BYTES: usize = 1 << 20;
/// How long another process may hold the file, and between two looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "BTN-0451 the journal cannot be used: {0}. Without it the agent does nothing. See that its disk has room and no errors, that the \
         file may be written, and that no other agent has it open; then start the agent again"
    )]
    Database(Box<redb::Error>),
    #[error(
        "BTN-0454 the journal is damaged: {0}. It is not used, and not mended. Keep it, and go by \"An agent's journal is lost\" in \
         docs/disaster.md"
    )]
    Damaged(String),
    #[error(
        "BTN-0452 the journal has schema {found}, and this agent knows {SCHEMA}. Install the agent that wrote it, or a newer one"
    )]
    Schema { found: u64 },
    #[error("BTN-0453 the journal has a line that is not understood, {key}: {reason}")]
    Line { key: String, reason: String },
}

impl<E: Into<redb::Error>> From<E> for JournalError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(what) => Self::Damaged(what),
            redb::Error::Io(io) if matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                Self::Damaged(io.to_string())
            }
            other => Self::Database(Box::new(other)),
        }
    }
}

/// The database and what is in it.
pub struct Journal {
    database: Database,
    ledger: Ledger,
}

impl Journal {
    /// Opens or creates a file. A predecessor that was killed just now may have left a program between its fork and its start, which
    /// holds the file's lock until then: that is waited for.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_within(path, LOCK_PATIENCE)
    }

    fn open_within(path: &Path, patience: Duration) -> Result<Self, JournalError> {
        let begun = Instant::now();
        loop {
            match Database::builder().set_cache_size(CACHE_BYTES).create(path) {
                Err(DatabaseError::DatabaseAlreadyOpen) if begun.elapsed() < patience => thread::sleep(LOCK_PAUSE),
                opened => return Self::over(opened?),
            }
        }
    }
    /// Over any storage: a simulated disk.
    pub fn open_backend(backend: impl StorageBackend) -> Result<Self, JournalError> {
        let mut builder = Database::builder();
        Self::over(builder.set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
    }

    fn over(mut database: Database) -> Result<Self, JournalError> {
        check(&mut database)?;
        let write = database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get("schema")?.map(|value| value.value());
            match found {
                // What 2 adds is empty at first.
                None | Some(1) => drop(meta.insert("schema", SCHEMA)?),
                Some(SCHEMA) => {}
                Some(found) => return Err(JournalError::Schema { found }),
            }
            write.open_table(RULER)?;
            write.open_table(MARKS)?;
            write.open_table(RAISED)?;
            write.open_table(FLOORS)?;
            write.open_table(TASKS)?;
            write.open_table(ASSIGNED)?;
            write.open_table(UNDERTAKEN)?;
            write.open_table(DEEDS)?;
        }
        write.commit()?;
        let ledger = lines::read(&database)?;
        Ok(Self { database, ledger })
    }

    /// At the start of the process: since when a first word is waited for, where one is.
    /// `beside`: the file that says in which life of the machine this was done last.
    pub fn begin_waiting(&mut self, clock: &dyn Clock, beside: &Path) -> Result<(), JournalError> {
        let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Lost or unreadable, it counts as another life: that is the careful side.
        let rebooted = std::fs::read_to_string(beside).unwrap_or_default() != machine;
        if let Err(error) = std::fs::write(beside, &machine) {
            tracing::warn!(%error, file = %beside.display(), "the next start will be taken for one after a reboot");
        }
        self.begin_waiting_on(machine.trim(), rebooted, clock.boot_ms())
    }

    /// The same, told which life of the machine this is.
    pub fn begin_waiting_on(&mut self, machine: &str, rebooted: bool, now_ms: u64) -> Result<(), JournalError> {
        let waiting = lease::waiting(self.ledger.waiting.as_ref(), machine, rebooted, now_ms);
        let wanted = self.ledger.assigned.list.iter().any(lease::is_leased).then_some(waiting);
        if wanted == self.ledger.waiting {
            return Ok(());
        }
        self.commit(vec![Change::Waiting(wanted)])
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
            lines::write(&write, change)?;
        }
        write.commit()?;
        self.ledger = next;
        Ok(())
    }
}

/// Every page against its checksum: redb itself looks only after a crash, and a journal that forgot a line would do something twice.
fn check(database: &mut Database) -> Result<(), JournalError> {
    if !database.check_integrity()? {
        // redb went back to the commit before. The next start must not take that for what was written last.
        let write = database.begin_write()?;
        write.open_table(META)?.insert(DAMAGED, 1)?;
        write.commit()?;
    }
    let read = database.begin_read()?;
    let marked = match read.open_table(META) {
        Ok(meta) => meta.get(DAMAGED)?.is_some(),
        Err(redb::TableError::TableDoesNotExist(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if marked { Err(JournalError::Damaged("its last commits do not have their checksums".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
