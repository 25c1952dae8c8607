//! The program behind every Framework component: it serves on its port while it can, and follows another one over a TCP
//! connection that it keeps.
//!
//! A Configuration Server serves while the databases of its own instance are open for writing; the backup of a pair lets nobody in
//! while its primary answers. Whoever follows Configuration Servers tries them in turn, and goes on to the next when the one it
//! has is gone: nobody tells it. It must never serve without what it needs.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    signal::unix::Signal,
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::sqlserver::Endpoint;

/// What a component is, as data.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Component {
    pub port: u16,
    /// Databases that must be open for writing: where, which, and by which login.
    pub databases: Option<Databases>,
    /// The primary of its pair.
    pub backup_of: Option<SocketAddr>,
    /// Whom it connects to: the first that lets it in.
    pub follows: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Databases {
    pub instance: SocketAddr,
    pub names: Vec<String>,
    pub user: String,
    pub password: String,
}

/// Only one process of a component can hold this port, whether it serves or not.
const ALONE: u16 = 20_000;
const GREETING: &[u8] = b"welcome\n";
const CONNECT_WITHIN: Duration = Duration::from_millis(700);
const ASK_WITHIN: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_millis(150);
const WHILE_WELL: Duration = Duration::from_secs(2);

/// Where a component of a machine says whom it is connected to.
pub fn peer_file(root: &Path, name: &str) -> PathBuf {
    root.join(format!("var/peer-{name}"))
}

impl Component {
    /// Runs until the signal. `started` is called once nobody else can be this component.
    pub async fn serve(
        self,
        root: &Path,
        name: &str,
        address: Ipv4Addr,
        terminated: &mut Signal,
        started: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let _alone = TcpListener::bind((address, self.port + ALONE)).await.context("another one runs")?;
        let (can_serve, mut serves) = watch::channel(self.databases.is_none() && self.follows.is_empty());
        let peer = peer_file(root, name);
        drop(fs::remove_file(&peer));
        started()?;
        let watching = tokio::spawn(watch_over(self.clone(), address, peer, can_serve));
        loop {
            tokio::select! {
                _ = terminated.recv() => break,
                waited = serves.wait_for(|serves| *serves) => drop(waited.context("watch")?),
            }
            let listener =
                TcpListener::bind((address, self.port)).await.with_context(|| format!("listen on {}", self.port))?;
            eprintln!("{name} serves");
            let ended = CancellationToken::new();
            let over = loop {
                tokio::select! {
                    _ = terminated.recv() => break true,
                    _ = serves.wait_for(|serves| !*serves) => break false,
                    accepted = listener.accept() => {
                        let (stream, _) = accepted?;
                        tokio::spawn(entertain(stream, self.backup_of, ended.child_token()));
                    }
                }
            };
            ended.cancel();
            eprintln!("{name} does not serve any more");
            if over {
                break;
            }
        }
        watching.abort();
        Ok(())
    }
}

/// Keeps a client until it goes, or this one does not serve any more.
async fn entertain(mut stream: TcpStream, backup_of: Option<SocketAddr>, ended: CancellationToken) {
    if let Some(primary) = backup_of
        && let Ok(Ok(_)) = timeout(CONNECT_WITHIN, TcpStream::connect(primary)).await
    {
        return;
    }
    let keep = async {
        stream.write_all(GREETING).await?;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    tokio::select! {
        () = ended.cancelled() => {}
        _ = keep => {}
    }
}

async fn watch_over(own: Component, address: Ipv4Addr, peer: PathBuf, can_serve: watch::Sender<bool>) {
    if let Some(databases) = &own.databases {
        loop {
            let open = databases.open().await;
            if can_serve.send_replace(open) != open {
                eprintln!("databases {} open for writing", if open { "are" } else { "are not" });
            }
            tokio::time::sleep(if open { WHILE_WELL } else { SOON }).await;
        }
    }
    loop {
        for server in &own.follows {
            let Some(mut stream) = enter(address, *server).await else { continue };
            eprintln!("connected to {server}");
            drop(fs::write(&peer, server.to_string()));
            // What it serves to others goes on from what it knows, also while it looks for another server.
            can_serve.send_replace(true);
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            drop(fs::remove_file(&peer));
            eprintln!("{server} is gone");
            break;
        }
        tokio::time::sleep(SOON).await;
    }
}

/// A connection from the machine's own address, if the server lets it in.
async fn enter(address: Ipv4Addr, server: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((address, 0))).ok()?;
    let mut stream = timeout(CONNECT_WITHIN, socket.connect(server)).await.ok()?.ok()?;
    let mut greeting = [0; GREETING.len()];
    // A backup asks its primary first.
    timeout(CONNECT_WITHIN * 2, stream.read_exact(&mut greeting)).await.ok()?.ok()?;
    (greeting == GREETING).then_some(stream)
}

impl Databases {
    async fn open(&self) -> bool {
        for database in &self.names {
            let endpoint = Endpoint {
                address: self.instance,
                database: database.clone(),
                user: self.user.clone(),
                password: self.password.clone(),
            };
            if !matches!(timeout(ASK_WITHIN, endpoint.is_writable()).await, Ok(Ok(true))) {
                return false;
            }
        }
        true
    }
}
