//! The judge of lost rows: clients that write all the time, a record of every commit a server acknowledged, and the
//! comparison of that record with what a server holds.
//!
//! Apart from the world and from Baton: it believes nobody but the acknowledgements it got itself. It must never
//! record a commit before its acknowledgement, nor call a commit lost whose acknowledgement never came.

pub mod comparison;
pub mod writer;

pub use comparison::{Comparison, Outage, compare, outages};
pub use writer::{Resolver, Target, Writer};

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

/// The table of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Its key comes from the writer.
    LedgerEntry,
    /// Its key comes from a sequence of the server, which can hand out the same number twice after a failover.
    LedgerSession,
}

/// What the writer knows of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server said that it is committed. If it is not there later, it was lost.
    Acknowledged,
    /// COMMIT was sent and no answer came: it may be there or not, and either is right.
    Unknown,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which replicated database, in the words of the one who set the writer up: `sp/fdb`.
    pub place: String,
    /// Who wrote it.
    pub writer: String,
    /// The writer's own number of it; with `writer` unique in the world.
    pub number: i64,
    /// The table.
    pub table: Table,
    /// The number that the server's sequence gave it, in [`Table::LedgerSession`].
    pub id: Option<i64>,
    /// What was written.
    pub payload: String,
    /// Where it was written.
    pub server: SocketAddr,
    /// When the answer came, in milliseconds since 1970.
    pub at_ms: i64,
    /// What the writer knows.
    pub outcome: Outcome,
}

/// The record: a file with a line of JSON for each commit. Cheap to clone.
///
/// Not synced to disk: it must survive the crash of a process, not of the machine.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

/// Why the record cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("{verb} {}: {source}", path.display())]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    /// A line that is no entry.
    #[error("{}:{line}: {source}", path.display())]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
}

impl Ledger {
    /// Opens a record; one that is there already is continued.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::File { verb: "open", path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    /// Adds a commit: one write, so that lines of several writers never mix.
    pub fn add(&self, entry: &Entry) -> Result<(), Error> {
        let mut line = serde_json::to_string(entry).expect("an entry has only names, numbers and words");
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(line.as_bytes()).map_err(|source| Error::File {
            verb: "append to",
            path: self.path.clone(),
            source,
        })
    }

    /// Everything recorded up to now.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let text = std::fs::read_to_string(&self.path);
        let text = text.map_err(|source| Error::File { verb: "read", path: self.path.clone(), source })?;
        // A line without its end was cut short by the writer's death: it was never finished, so it counts for nothing.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).enumerate();
        whole
            .map(|(number, line)| {
                let read = serde_json::from_str(line);
                read.map_err(|source| Error::Line { path: self.path.clone(), line: number + 1, source })
            })
            .collect()
    }
}
