//! ActiveMQ, as far as anybody here needs it: whoever connects and says who it is, is told how many agents there are, at once and
//! whenever that changes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};

/// The word of an agent, and of everybody else.
pub(super) const AGENT: &str = "agent";
pub(super) const DAEMON: &str = "daemon";
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn work(listener: TcpListener) -> Result<()> {
    let agents = Arc::new(watch::Sender::new(0_usize));
    loop {
        let (stream, _) = listener.accept().await.context("accept")?;
        tokio::spawn(entertain(stream, Arc::clone(&agents)));
    }
}

async fn entertain(stream: TcpStream, agents: Arc<watch::Sender<usize>>) -> Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    // Who says nothing only looked whether the port answers.
    let Some(who) = lines.next_line().await? else { return Ok(()) };
    let counts = usize::from(who == AGENT);
    agents.send_modify(|agents| *agents += counts);
    let mut news = agents.subscribe();
    let keep = async {
        loop {
            let now = *news.borrow_and_update();
            to.write_all(format!("{now}\n").as_bytes()).await?;
            tokio::select! {
                changed = news.changed() => changed?,
                gone = lines.next_line() => if gone?.is_none() { return Ok(()) },
            }
        }
    };
    let ended: Result<()> = keep.await;
    agents.send_modify(|agents| *agents -= counts);
    ended
}

/// Stays connected to a broker for as long as there is one; `told` gets the number of agents, `None` without a broker.
pub(super) async fn follow(
    who: &str,
    from: std::net::Ipv4Addr,
    broker: SocketAddr,
    told: watch::Sender<Option<usize>>,
) {
    loop {
        // However it ends: then there is none, until there is one again.
        drop(listen_to(who, from, broker, &told).await);
        told.send_replace(None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn listen_to(
    who: &str,
    from: std::net::Ipv4Addr,
    broker: SocketAddr,
    told: &watch::Sender<Option<usize>>,
) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let mut stream = timeout(CONNECT_WITHIN, socket.connect(broker)).await??;
    stream.write_all(format!("{who}\n").as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        told.send_replace(Some(line.parse().context("a number of agents")?));
    }
    Ok(())
}
