//! The program behind every component of Data Mover: its port is its own, and it works until it is told to end.
//!
//! It must never work without what it needs: a daemon that took a job without its repository would be no witness.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, signal::unix::Signal};

use super::{Repository, agent, broker, daemon, rest, side, sync};

/// What a component is, as data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Component {
    /// Takes jobs while it is in active mode, and writes them to its repository.
    Daemon {
        /// The machine's name: who answers.
        host: String,
        properties: PathBuf,
        broker: SocketAddr,
        repository: Repository,
    },
    /// Hands jobs to the daemon.
    Rest { daemon: SocketAddr },
    /// Knows who is there.
    Broker,
    /// Is there.
    Agent { broker: SocketAddr },
    /// The bundled DSA.
    Dsa,
    /// Carries jobs from one repository to the other, some time after they were acknowledged.
    Sync { from: Repository, to: Repository },
}

impl Component {
    fn port(&self) -> u16 {
        match self {
            Self::Daemon { .. } => side::DAEMON_PORT,
            Self::Rest { .. } => side::REST_PORT,
            Self::Broker => side::BROKER_PORT,
            Self::Agent { .. } => side::AGENT_PORT,
            Self::Dsa => side::DSA_PORT,
            Self::Sync { .. } => side::SYNC_PORT,
        }
    }

    /// Runs until the signal. `started` is called once nobody else can be this component.
    pub async fn serve(
        self,
        address: Ipv4Addr,
        terminated: &mut Signal,
        started: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let port = self.port();
        let listener = TcpListener::bind((address, port)).await.with_context(|| format!("listen on {port}"))?;
        started()?;
        let work = async move {
            match self {
                Self::Daemon { host, properties, broker, repository } => {
                    daemon::work(listener, host, &properties, broker, repository).await
                }
                Self::Rest { daemon } => rest::work(listener, daemon).await,
                Self::Broker => broker::work(listener).await,
                Self::Agent { broker } => agent::work(listener, address, broker).await,
                Self::Dsa => agent::listen(listener).await,
                Self::Sync { from, to } => sync::work(&from, &to).await,
            }
        };
        tokio::select! {
            ended = work => ended,
            _ = terminated.recv() => Ok(()),
        }
    }
}
