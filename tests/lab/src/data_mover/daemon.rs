//! The daemon: takes a job where its own settings say that it is active, ActiveMQ is there with an agent, and its repository takes the
//! job. It answers with its name, its epoch and the moment: that is what the judge judges by.
//!
//! It reads its settings once, when it starts, and never again: as a daemon that nobody has stopped would go on.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
    time::timeout,
};
use tokio_postgres::Client;

use super::{Repository, broker, judge::monotonic_ns};
use crate::horizon::properties;

const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// A job, and whether it must still be synchronized, in one transaction.
const STORE: &str =
    "with taken as (insert into job(number, payload, host, epoch, at_ns) values ($1, $2, $3, $4, $5) returning number)
                     insert into unsynchronized select number from taken";

struct Daemon {
    host: String,
    active: bool,
    epoch: i64,
    agents: watch::Receiver<Option<usize>>,
    repository: Repository,
    client: Mutex<Option<Client>>,
}

pub(super) async fn work(
    listener: TcpListener,
    host: String,
    settings: &Path,
    broker: SocketAddr,
    repository: Repository,
) -> Result<()> {
    let text = fs::read_to_string(settings).with_context(|| format!("read {}", settings.display()))?;
    let active = properties::value(&text, "cluster.mode").as_deref() == Some("active");
    let epoch = properties::value(&text, "cluster.epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    eprintln!("{} mode, epoch {epoch}", if active { "active" } else { "standby" });
    let from = match listener.local_addr()? {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(_) => Ipv4Addr::LOCALHOST,
    };
    let (told, agents) = watch::channel(None);
    tokio::spawn(broker::follow(broker::DAEMON, from, broker, told));
    let daemon = Arc::new(Daemon { host, active, epoch, agents, repository, client: Mutex::new(None) });
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        tokio::spawn(Arc::clone(&daemon).answer(stream));
    }
}

impl Daemon {
    /// A line `NUMBER PAYLOAD`, and a line back: `accepted HOST EPOCH NANOSECONDS`, `refused WHY`, or `unknown WHY`.
    async fn answer(self: Arc<Self>, stream: TcpStream) -> Result<()> {
        let (from, mut to) = stream.into_split();
        let Some(line) = BufReader::new(from).lines().next_line().await? else { return Ok(()) };
        let answer = match line.split_once(' ').and_then(|(number, payload)| Some((number.parse().ok()?, payload))) {
            Some((number, payload)) => self.take(number, payload).await,
            None => "refused a job is NUMBER PAYLOAD".to_owned(),
        };
        Ok(to.write_all(format!("{answer}\n").as_bytes()).await?)
    }

    async fn take(&self, number: i64, payload: &str) -> String {
        if !self.active {
            return "refused the daemon is in standby mode".to_owned();
        }
        match *self.agents.borrow() {
            None => return "refused ActiveMQ is not there".to_owned(),
            Some(0) => return "refused there is no agent".to_owned(),
            Some(_) => {}
        }
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = self.repository.endpoint().connect_within(WRITE_WITHIN).await.ok();
        }
        let Some(open) = client.as_ref() else { return "refused the repository is not there".to_owned() };
        let at = monotonic_ns();
        let job: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [&number, &payload, &self.host, &self.epoch, &at];
        match timeout(WRITE_WITHIN, open.execute(STORE, &job)).await {
            Ok(Ok(_)) => format!("accepted {} {} {}", self.host, self.epoch, monotonic_ns()),
            // The server itself said no, and not because it is being shut down.
            Ok(Err(error)) if error.code().is_some_and(|code| !code.code().starts_with("57P")) => {
                format!("refused {error}")
            }
            _ => {
                *client = None;
                "unknown the repository did not answer".to_owned()
            }
        }
    }
}
