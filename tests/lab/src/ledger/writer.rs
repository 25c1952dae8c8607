//! A client that writes all the time to wherever the primary is said to be.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{Entry, Error, Ledger, Outcome, Table};
use crate::horizon::Endpoint;

/// How long one write may take before the client gives up the connection.
const WRITE_WITHIN: Duration = Duration::from_secs(3);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Says where the primary is now; asked before every write. `None`: nowhere, wait.
pub type Resolver = Arc<dyn Fn() -> Option<Endpoint> + Send + Sync>;

/// Always the same server.
pub fn fixed(endpoint: Endpoint) -> Resolver {
    Arc::new(move || Some(endpoint.clone()))
}

/// The server whose address (`127.0.11.1:5432`) is in a file; the rest is as in `endpoint`.
/// A file that is missing or empty means: nowhere.
pub fn in_file(path: &Path, endpoint: Endpoint) -> Resolver {
    let path: PathBuf = path.to_owned();
    Arc::new(move || {
        let address: SocketAddr = std::fs::read_to_string(&path).ok()?.trim().parse().ok()?;
        Some(Endpoint { address, ..endpoint.clone() })
    })
}

/// What a writer writes to.
#[derive(Clone)]
pub struct Target {
    /// The replicated database in the record's words: `sp/fdb`.
    pub place: String,
    /// The writer's name, unique in the world.
    pub writer: String,
    /// Where the primary is.
    pub primary: Resolver,
    /// The pause between two writes.
    pub pause: Duration,
}

/// What a writer has seen, besides the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Commits that a server acknowledged.
    pub acknowledged: u64,
    /// Commits without an answer.
    pub unknown: u64,
    /// Writes that failed for certain: refused, or no connection.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
}

/// A running writer. Dropped, it stops as soon as it notices.
#[derive(Debug)]
pub struct Writer {
    stop: CancellationToken,
    counters: Arc<Counters>,
    task: JoinHandle<Result<(), Error>>,
}

impl Writer {
    /// Starts writing.
    pub fn start(ledger: &Ledger, target: Target) -> Self {
        let (stop, counters) = (CancellationToken::new(), Arc::new(Counters::default()));
        let task = tokio::spawn(write_on(ledger.clone(), target, stop.clone(), counters.clone()));
        Self { stop, counters, task }
    }

    /// What it has seen until now.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { acknowledged, unknown, failed } = &*self.counters;
        Tally { acknowledged: read(acknowledged), unknown: read(unknown), failed: read(failed) }
    }

    /// Stops after the write in hand, and returns what it has seen.
    pub async fn stop(mut self) -> Result<Tally, Error> {
        self.stop.cancel();
        let ended = (&mut self.task).await;
        ended.expect("the writer is not aborted, and panics nowhere")?;
        Ok(self.tally())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn write_on(
    ledger: Ledger,
    target: Target,
    stop: CancellationToken,
    counters: Arc<Counters>,
) -> Result<(), Error> {
    let mut connected: Option<(Endpoint, Client)> = None;
    let mut number: i64 = 0;
    while !stop.is_cancelled() {
        let Some(primary) = (target.primary)() else {
            connected = None;
            pause(&stop, target.pause).await;
            continue;
        };
        if connected.as_ref().is_none_or(|(to, client)| *to != primary || client.is_closed()) {
            connected = primary.connect_within(CONNECT_WITHIN).await.ok().map(|client| (primary, client));
        }
        let Some((endpoint, client)) = &mut connected else {
            counters.failed.fetch_add(1, Ordering::Relaxed);
            pause(&stop, target.pause).await;
            continue;
        };
        // Every try has a number of its own: a row is compared with one try only.
        number += 1;
        let table = if number % 2 == 0 { Table::LedgerSession } else { Table::LedgerEntry };
        let payload = format!("{} {number} {:08x}", target.writer, rand::random::<u32>());
        let mut id = None;
        let written = write(client, table, &target.writer, number, &payload, &mut id).await;
        let (counter, outcome) = match written {
            Written::Acknowledged => (&counters.acknowledged, Some(Outcome::Acknowledged)),
            Written::Unknown => (&counters.unknown, Some(Outcome::Unknown)),
            Written::Failed => (&counters.failed, None),
        };
        if let Some(outcome) = outcome {
            let (place, writer) = (target.place.clone(), target.writer.clone());
            let (server, at_ms) = (endpoint.address, jiff::Timestamp::now().as_millisecond());
            ledger.add(&Entry { place, writer, number, table, id, payload, server, at_ms, outcome })?;
        }
        // Counted after it is recorded: who waits for the count finds the entry.
        counter.fetch_add(1, Ordering::Relaxed);
        if written != Written::Acknowledged {
            connected = None;
        }
        pause(&stop, target.pause).await;
    }
    Ok(())
}

async fn pause(stop: &CancellationToken, pause: Duration) {
    drop(timeout(pause, stop.cancelled()).await);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Acknowledged,
    Unknown,
    Failed,
}

/// One transaction of its own, with an explicit COMMIT: before that is sent, a failure is certain.
async fn write(
    client: &mut Client,
    table: Table,
    writer: &str,
    number: i64,
    payload: &str,
    id: &mut Option<i64>,
) -> Written {
    let inserted = timeout(WRITE_WITHIN, async {
        let transaction = client.transaction().await?;
        match table {
            Table::LedgerEntry => {
                let sql = "insert into ledger_entry(writer, number, payload) values ($1, $2, $3)";
                transaction.execute(sql, &[&writer, &number, &payload]).await?;
            }
            Table::LedgerSession => {
                let sql = "insert into ledger_session(writer, number, payload) values ($1, $2, $3) returning id";
                *id = Some(transaction.query_one(sql, &[&writer, &number, &payload]).await?.get(0));
            }
        }
        Ok::<_, tokio_postgres::Error>(transaction)
    });
    let Ok(Ok(transaction)) = inserted.await else { return Written::Failed };
    match timeout(WRITE_WITHIN, transaction.commit()).await {
        Ok(Ok(())) => Written::Acknowledged,
        // The server itself said no: nothing was committed. Except when it says no because it is being shut down:
        // then nobody knows how far it had come.
        Ok(Err(error)) if error.code().is_some_and(|code| !code.code().starts_with("57P")) => Written::Failed,
        Ok(Err(_)) | Err(_) => Written::Unknown,
    }
}
