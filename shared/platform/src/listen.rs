//! Incoming connections: a port becomes byte streams.
//!
//! Apart so that a simulated network can stand where TCP stands. It must never shake hands or judge who calls: one
//! slow caller would then hold up all others.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use crate::dial::BoxedIo;

/// The network, as the side that is called sees it.
#[async_trait]
pub trait Listen: Send + 'static {
    /// The next caller and where it calls from. Must be safe to drop while it waits. An error concerns this one
    /// call, or a shortage that may pass (file descriptors); the caller of `accept` goes on after a pause.
    async fn accept(&mut self) -> io::Result<(BoxedIo, SocketAddr)>;

    /// Where it listens: the port that was given, when port 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The real network.
#[derive(Debug)]
pub struct TcpListen {
    listener: TcpListener,
}

impl TcpListen {
    /// Listens on an address such as `127.0.0.1:7400`; port 0 takes any free port.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Takes over a listener made elsewhere, for instance one that systemd opened.
    pub fn from_listener(listener: TcpListener) -> Self {
        Self { listener }
    }
}

#[async_trait]
impl Listen for TcpListen {
    async fn accept(&mut self) -> io::Result<(BoxedIo, SocketAddr)> {
        let (stream, peer): (TcpStream, SocketAddr) = self.listener.accept().await?;
        // Server::tcp_nodelay has no effect with serve_with_incoming, so it is set here.
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
