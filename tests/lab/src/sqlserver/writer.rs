//! A client that writes numbered rows all the time to whichever instance has the database open, and remembers what was
//! acknowledged: nobody else can say afterwards what was lost.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use baton_sqlserver::{answer::Value, control::Control};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Endpoint, Session};

/// The table that it writes to; see [`prepare`].
pub const TABLE: &str = "ledger_entry";
/// How long one write may take before the client gives up the connection.
const WRITE_WITHIN: Duration = Duration::from_secs(3);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What became of its writes, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The server said that it is committed.
    pub acknowledged: BTreeSet<i64>,
    /// Sent, and no answer came: it may be there.
    pub unknown: BTreeSet<i64>,
}

/// A running writer. Dropped, it stops as soon as it notices.
#[derive(Debug)]
pub struct Writer {
    stop: CancellationToken,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

/// Makes the table, on the primary.
pub async fn prepare(primary: &Endpoint) -> Result<()> {
    let mut session = primary.connect().await?;
    session
        .run(&format!("CREATE TABLE dbo.{TABLE} (number bigint NOT NULL PRIMARY KEY, payload nvarchar(100) NOT NULL)"))
        .await
}

impl Writer {
    /// Starts; `any_of` are tried in turn until one takes a write.
    pub fn start(any_of: Vec<Endpoint>, pause: Duration) -> Self {
        Self::start_after(any_of, pause, 0)
    }

    /// As [`Self::start`], with numbers above `last`: where an earlier client has written already.
    pub fn start_after(any_of: Vec<Endpoint>, pause: Duration, last: i64) -> Self {
        let (stop, record) = (CancellationToken::new(), Arc::new(Mutex::new(Record::default())));
        let task = tokio::spawn(write_on(any_of, pause, last, stop.clone(), Arc::clone(&record)));
        Self { stop, record, task }
    }

    /// What it has seen until now.
    pub fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn has_written(&self, more: usize, within: Duration) -> Result<()> {
        let (begun, before) = (Instant::now(), self.record().acknowledged.len());
        while self.record().acknowledged.len() < before + more {
            ensure!(begun.elapsed() < within, "the client got no {more} writes acknowledged within {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops after the write in hand, and returns what it has seen.
    pub async fn stop(mut self) -> Record {
        self.stop.cancel();
        // It panics nowhere; what it has recorded counts in any case.
        drop((&mut self.task).await);
        self.record()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The numbers that an instance's copy has hardened, by the simulator's own truth.
pub fn hardened(control: &Control, instance: &str, database: &str) -> Result<BTreeSet<i64>> {
    let rows = control.rows(instance, database, TABLE)?;
    Ok(rows
        .iter()
        .filter_map(|row| match row.first()? {
            Value::BigInt(number) => Some(*number),
            Value::Int(number) => Some(i64::from(*number)),
            _ => None,
        })
        .collect())
}

async fn write_on(
    any_of: Vec<Endpoint>,
    pause: Duration,
    last: i64,
    stop: CancellationToken,
    record: Arc<Mutex<Record>>,
) {
    let mut session: Option<Session> = None;
    let mut number = last;
    while !stop.is_cancelled() {
        let mut open = match session.take() {
            Some(open) => open,
            None => match connect(&any_of).await {
                Some(open) => open,
                None => {
                    tokio::time::sleep(pause).await;
                    continue;
                }
            },
        };
        number += 1;
        let sql = format!("INSERT INTO dbo.{TABLE} (number, payload) VALUES ({number}, N'row {number}')");
        let written = timeout(WRITE_WITHIN, open.run(&sql)).await;
        // An error may have come after the commit; the connection is not trusted any more.
        let acknowledged = matches!(written, Ok(Ok(())));
        session = acknowledged.then_some(open);
        {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            if acknowledged {
                record.acknowledged.insert(number)
            } else {
                record.unknown.insert(number)
            };
        }
        tokio::time::sleep(pause).await;
    }
}

async fn connect(any_of: &[Endpoint]) -> Option<Session> {
    for endpoint in any_of {
        if let Ok(Ok(true)) = timeout(CONNECT_WITHIN, endpoint.is_writable()).await
            && let Ok(Ok(session)) = timeout(CONNECT_WITHIN, endpoint.connect()).await
        {
            return Some(session);
        }
    }
    None
}
