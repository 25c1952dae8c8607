//! The durable log: votes, entries and snapshots in one redb file.
//!
//! Apart from Raft's types and tasks, so that openraft's own storage suite and crash tests can drive it alone.
//! Entries are readable as soon as they are appended, from a tail in memory; they are durable when their callback
//! is called, which happens after the one writer has committed a batch of them with a single fsync.
//!
//! It must never report as durable what is not, never leave a hole between two entries, and never reorder writes:
//! every write, votes and snapshots included, goes through one queue.

mod committer;
mod reader;
mod snapshot;
mod tail;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{AsyncRuntime, LogIdOptionExt};
use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::{mpsc, oneshot};

use self::committer::{Change, Committer, Job};
pub(crate) use self::snapshot::SnapshotRecord;
use self::tail::Tail;
use crate::encoding::{decode, encode};
use crate::error::Error;
use crate::options::{Medium as Place, Storage};
use crate::raft::{Entry, LogId, Types, Vote};

const ENTRIES: redb::TableDefinition<'static, u64, &'static [u8]> = redb::TableDefinition::new("entries");
const FACTS: redb::TableDefinition<'static, &'static str, &'static [u8]> = redb::TableDefinition::new("facts");
const SNAPSHOT_PARTS: redb::TableDefinition<'static, (u64, u32), &'static [u8]> =
    redb::TableDefinition::new("snapshot_parts");

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";
const SNAPSHOT: &str = "snapshot";
const FORMAT: &str = "format";
const OWNER: &str = "owner";
/// Written where the file was found damaged and redb fell back to an older state of it: it is refused from then on.
const DAMAGED: &str = "damaged";

/// The version of everything in the file.
const FORMAT_VERSION: u32 = 1;

/// redb's page cache. Small, because entries that are read again are in the tail.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Writes that may wait for the writer. A full queue makes openraft wait, not the executor.
const QUEUE_JOBS: usize = 1024;

/// The store. A cheap handle.
#[derive(Clone)]
pub struct LogStore {
    medium: Arc<Medium>,
    queue: Queue,
}

/// What the writer and the readers share.
struct Medium {
    /// `None` once closed.
    database: RwLock<Option<Database>>,
    memory: Mutex<Memory>,
}

/// The log as it is known without reading the disk.
struct Memory {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    committed: Option<LogId>,
    snapshot: Option<SnapshotRecord>,
    next_generation: u64,
    tail: Tail,
}

#[derive(Clone)]
enum Queue {
    /// To the writer thread, which ends when the last store is dropped.
    Thread(mpsc::Sender<Job>),
    /// Commits here and now.
    Inline(Arc<Mutex<Committer>>),
}

impl LogStore {
    /// Opens the log, creating it if there is none.
    pub fn open(storage: Storage) -> Result<Self, Error> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let mut database = match storage.medium {
            Place::File(path) => create_file(&builder, &path)?,
            Place::Backend(create) => create(&builder).map_err(failed)?,
        };
        check(&mut database)?;
        let memory = load(&database, storage.tail_bytes_max)?;
        let medium = Arc::new(Medium { database: RwLock::new(Some(database)), memory: Mutex::new(memory) });
        let committer = Committer::new(medium.clone());
        let queue = if storage.inline_commit {
            Queue::Inline(Arc::new(Mutex::new(committer)))
        } else {
            let (sender, receiver) = mpsc::channel(QUEUE_JOBS);
            std::thread::Builder::new()
                .name("baton-log".to_owned())
                .spawn(move || committer.run(receiver))
                .map_err(|e| Error::Storage(format!("start the writer: {e}")))?;
            Queue::Thread(sender)
        };
        Ok(Self { medium, queue })
    }

    /// Makes a new log this node's, for ever. An error where it is another's: a node that took over another's disk would
    /// take that one's votes and acknowledgements for its own.
    pub(crate) fn claim(&self, cluster: &str, node_id: u64) -> Result<(), Error> {
        let guard = self.medium.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or_else(|| failed(stopped()))?;
        let transaction = database.begin_write().map_err(failed)?;
        {
            let mut facts = transaction.open_table(FACTS).map_err(failed)?;
            let mine = (cluster.to_owned(), node_id);
            match fact::<(String, u64)>(&facts, OWNER)? {
                Some(owner) if owner == mine => return Ok(()),
                Some((cluster_then, node_then)) => {
                    return Err(Error::Storage(format!(
                        "it belongs to node {node_then} of {cluster_then:?}, and this is node {node_id} of {cluster:?}; \
                         give each node the data folder that it has always had"
                    )));
                }
                None => {
                    facts.insert(OWNER, encode(&mine).as_slice()).map_err(failed)?;
                }
            }
        }
        transaction.commit().map_err(failed)
    }

    /// Writes what is queued and lets go of the file. Everything afterwards fails.
    pub(crate) async fn close(&self) -> io::Result<()> {
        self.write(Change::Close).await
    }

    /// Queues a write and waits until it is durable.
    async fn write(&self, change: Change) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
            // Nobody waits any more: the caller was cancelled, the write is done all the same.
            let _ = sender.send(result);
        });
        self.enqueue(Job { change, done: Some(done) }).await?;
        receiver.await.map_err(|_| stopped())?
    }

    async fn enqueue(&self, job: Job) -> io::Result<()> {
        match &self.queue {
            Queue::Thread(sender) => sender.send(job).await.map_err(|_| stopped()),
            Queue::Inline(committer) => {
                committer.lock().unwrap_or_else(PoisonError::into_inner).commit(vec![job]);
                Ok(())
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.medium.memory()
    }
}

impl Medium {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no code panics while it holds the log's memory")
    }

    fn with_database<T>(&self, f: impl FnOnce(&Database) -> Result<T, redb::Error>) -> io::Result<T> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or_else(stopped)?;
        f(database).map_err(io::Error::other)
    }
}

impl<R: AsyncRuntime> RaftLogStorage<Types<R>> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<R>>> {
        let memory = self.memory();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(Change::Vote(*vote)).await?;
        self.memory().vote = Some(*vote);
        Ok(())
    }

    /// Not worth an fsync: it rides along with the next write. After a crash the state machine starts a little
    /// earlier and is brought up to date by the leader before any linearizable read.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.memory().committed = committed;
        self.enqueue(Job { change: Change::Committed(committed), done: None }).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut memory = self.memory();
            if let Some(last) = entries.last() {
                memory.last = Some(last.log_id);
            }
            memory.tail.push(&entries);
        }
        let done = Box::new(move |result| callback.io_completed(result));
        self.enqueue(Job { change: Change::Append(entries), done: Some(done) }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let after = {
            let mut memory = self.memory();
            // What is to be kept may lie beyond the end: then there is nothing to do, and the end must stay.
            if last_log_id.next_index() >= memory.last.next_index() {
                return Ok(());
            }
            memory.last = last_log_id.max(memory.purged);
            let after = memory.last.next_index();
            memory.tail.truncate(after);
            after
        };
        // Awaited, so that whatever the writer still holds of the old entries cannot be taken for the new ones.
        self.write(Change::Truncate(after)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        {
            let mut memory = self.memory();
            if memory.purged >= Some(log_id) {
                return Ok(());
            }
            memory.purged = Some(log_id);
            memory.last = memory.last.max(Some(log_id));
            memory.tail.purge(log_id.index);
        }
        self.enqueue(Job { change: Change::Purge(log_id), done: None }).await
    }
}

/// Every page against its checksum, because redb itself looks only after a crash, and a flipped bit in an entry would make this
/// node differ from the others without a word. What a power cut left is mended before this, when the file is opened.
fn check(database: &mut Database) -> Result<(), Error> {
    match database.check_integrity() {
        Ok(true) => {}
        Ok(false) => {
            // redb went back to the commit before, which lacks what was acknowledged since: the next start must not take it.
            let transaction = database.begin_write().map_err(failed)?;
            transaction.open_table(FACTS).map_err(failed)?.insert(DAMAGED, [1_u8].as_slice()).map_err(failed)?;
            transaction.commit().map_err(failed)?;
        }
        Err(error) => return Err(opened(error)),
    }
    let transaction = database.begin_read().map_err(failed)?;
    let marked = match transaction.open_table(FACTS) {
        Ok(facts) => facts.get(DAMAGED).map_err(failed)?.is_some(),
        Err(redb::TableError::TableDoesNotExist(_)) => false,
        Err(error) => return Err(failed(error)),
    };
    if marked { Err(Error::Damaged("its last commits do not have their checksums".to_owned())) } else { Ok(()) }
}

/// Why it cannot be opened: whether the file is at fault, or what is around it.
fn opened(error: redb::DatabaseError) -> Error {
    use redb::{DatabaseError, StorageError};
    match &error {
        DatabaseError::Storage(StorageError::Corrupted(what)) => Error::Damaged(what.clone()),
        DatabaseError::Storage(StorageError::Io(io)) if is_of_the_file(io) => Error::Damaged(io.to_string()),
        _ => failed(error),
    }
}

/// What a file that is none, or is cut short, makes of reading it.
fn is_of_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn create_file(builder: &redb::Builder, path: &Path) -> Result<Database, Error> {
    let new = !path.exists();
    let database = builder.create(path).map_err(opened)?;
    if new {
        // The file's name must survive a power loss too, not only its content.
        let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let sync = std::fs::File::open(directory).and_then(|d| d.sync_all());
        sync.map_err(|e| Error::Storage(format!("sync {}: {e}", directory.display())))?;
    }
    Ok(database)
}

fn load(database: &Database, tail_bytes_max: usize) -> Result<Memory, Error> {
    let transaction = database.begin_write().map_err(failed)?;
    let mut memory = {
        let mut facts = transaction.open_table(FACTS).map_err(failed)?;
        let entries = transaction.open_table(ENTRIES).map_err(failed)?;
        let format: Option<u32> = fact(&facts, FORMAT)?;
        match format {
            Some(FORMAT_VERSION) => {}
            None => {
                facts.insert(FORMAT, encode(&FORMAT_VERSION).as_slice()).map_err(failed)?;
            }
            Some(other) => {
                return Err(Error::Storage(format!("the log has format {other}, this program knows {FORMAT_VERSION}")));
            }
        }
        let purged: Option<LogId> = fact(&facts, PURGED)?;
        let last: Option<LogId> = match entries.last().map_err(failed)? {
            Some((index, value)) => {
                let entry = decode::<Entry>(value.value());
                Some(entry.map_err(|e| Error::Damaged(format!("entry {}: {e}", index.value())))?.log_id)
            }
            None => None,
        };
        let last = last.max(purged);
        Memory {
            vote: fact(&facts, VOTE)?,
            purged,
            last,
            committed: fact::<Option<LogId>>(&facts, COMMITTED)?.flatten(),
            snapshot: fact(&facts, SNAPSHOT)?,
            next_generation: 0,
            tail: Tail::new(last.next_index(), tail_bytes_max),
        }
    };
    let mut parts = transaction.open_table(SNAPSHOT_PARTS).map_err(failed)?;
    let current = memory.snapshot.as_ref().map(|s| s.generation);
    // Parts of a snapshot that was interrupted.
    parts.retain(|(generation, _), _| Some(generation) == current).map_err(failed)?;
    drop(parts);
    transaction.commit().map_err(failed)?;
    memory.next_generation = current.map_or(0, |g| g + 1);
    Ok(memory)
}

fn fact<T: serde::de::DeserializeOwned>(
    facts: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, Error> {
    match facts.get(name).map_err(failed)? {
        None => Ok(None),
        Some(value) => decode(value.value()).map(Some).map_err(|e| Error::Damaged(format!("{name}: {e}"))),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Storage(error.to_string())
}

fn stopped() -> io::Error {
    io::Error::other("the log's storage is closed")
}
