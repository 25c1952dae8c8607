//! A client that writes all the time through REST, to both sides: whoever takes a job is noted. Both are asked always, so that two
//! actives are seen by whoever is answered by both.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    judge::{Acknowledged, monotonic_ns},
    rest::JOBS,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What became of its jobs.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub acknowledged: Vec<Acknowledged>,
    /// Sent, and no answer that says yes or no.
    pub unknown: Vec<i64>,
    /// Asked and refused, or nobody there.
    pub refused: usize,
}

/// A running client. Dropped, it stops as soon as it notices.
#[derive(Debug)]
pub struct Client {
    stop: CancellationToken,
    record: Arc<Mutex<Record>>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

struct Notes {
    record: Arc<Mutex<Record>>,
    file: File,
    numbers: AtomicI64,
}

impl Client {
    /// Starts writing to each of these REST services; what is acknowledged is also written to `file`, a line of JSON each.
    pub fn start(services: &[SocketAddr], pause: Duration, file: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(file)?;
        let (stop, record) = (CancellationToken::new(), Arc::new(Mutex::new(Record::default())));
        let notes = Arc::new(Notes { record: Arc::clone(&record), file, numbers: AtomicI64::new(0) });
        let write = |service: &SocketAddr| tokio::spawn(write_on(*service, pause, stop.clone(), Arc::clone(&notes)));
        let tasks = services.iter().map(write).collect();
        Ok(Self { stop, record, tasks })
    }

    /// What it has seen until now.
    pub fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more jobs are acknowledged by a host; returns the first of them.
    pub async fn has_written(&self, host: &str, more: usize, within: Duration) -> Result<Acknowledged> {
        let (begun, before) = (Instant::now(), self.record().acknowledged.len());
        loop {
            let record = self.record();
            let fresh: Vec<&Acknowledged> =
                record.acknowledged[before..].iter().filter(|one| one.host == host).collect();
            if fresh.len() >= more.max(1) {
                return Ok(fresh[0].clone());
            }
            ensure!(
                begun.elapsed() < within,
                "{host} acknowledged {} of {more} jobs within {within:?}; {} were refused, {} are unknown",
                fresh.len(),
                record.refused,
                record.unknown.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many more jobs were refused by whoever was asked; a refusal costs no time, so that this is about as long as
    /// so many pauses.
    pub async fn was_refused(&self, more: usize, within: Duration) -> Result<()> {
        let (begun, before) = (Instant::now(), self.record().refused);
        while self.record().refused < before + more {
            ensure!(begun.elapsed() < within, "the client was not refused {more} times within {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops after the jobs in hand, and returns what it has seen.
    pub async fn stop(mut self) -> Result<Record> {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.context("the client panics nowhere")??;
        }
        Ok(self.record())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn write_on(service: SocketAddr, pause: Duration, stop: CancellationToken, notes: Arc<Notes>) -> Result<()> {
    while !stop.is_cancelled() {
        let number = notes.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = ask(service, number).await;
        // On disk before it counts: who waits for the count finds the line.
        if let Answer::Accepted(acknowledged) = &answer {
            let line = serde_json::to_string(acknowledged)? + "\n";
            (&notes.file).write_all(line.as_bytes())?;
        }
        {
            let mut record = notes.record.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Answer::Accepted(acknowledged) => record.acknowledged.push(acknowledged),
                Answer::Refused => record.refused += 1,
                Answer::Unknown => record.unknown.push(number),
            }
        }
        drop(timeout(pause, stop.cancelled()).await);
    }
    Ok(())
}

enum Answer {
    Accepted(Acknowledged),
    Refused,
    Unknown,
}

async fn ask(service: SocketAddr, number: i64) -> Answer {
    let Ok(Ok(mut stream)) = timeout(ANSWER_WITHIN, TcpStream::connect(service)).await else { return Answer::Refused };
    let job = format!("{number} payload {:08x}", rand::random::<u32>());
    let sent_ns = monotonic_ns();
    let asked = async {
        let head = format!(
            "POST {JOBS} HTTP/1.1\r\nHost: {service}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            job.len()
        );
        stream.write_all((head + &job).as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let Ok(Ok(text)) = timeout(ANSWER_WITHIN, asked).await else { return Answer::Unknown };
    let received_ns = monotonic_ns();
    let said = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let mut words = said.split_whitespace();
    match words.next() {
        Some("accepted") => accepted(words, number, sent_ns, received_ns).map_or(Answer::Unknown, Answer::Accepted),
        Some("refused") => Answer::Refused,
        _ => Answer::Unknown,
    }
}

fn accepted<'a>(
    mut words: impl Iterator<Item = &'a str>,
    number: i64,
    sent_ns: i64,
    received_ns: i64,
) -> Option<Acknowledged> {
    let host = words.next()?.to_owned();
    let (epoch, at_ns) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Acknowledged { number, host, epoch, at_ns, sent_ns, received_ns })
}
