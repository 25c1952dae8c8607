//! An agent of Data Mover: it listens, and is connected to its broker while there is one. The bundled DSA only listens.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::{net::TcpListener, sync::watch};

use super::broker;

pub(super) async fn work(listener: TcpListener, address: Ipv4Addr, broker: SocketAddr) -> Result<()> {
    tokio::spawn(broker::follow(broker::AGENT, address, broker, watch::Sender::new(None)));
    listen(listener).await
}

/// Lets everybody in and out again.
pub(super) async fn listen(listener: TcpListener) -> Result<()> {
    loop {
        drop(listener.accept().await.context("accept")?);
    }
}
