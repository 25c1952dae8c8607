//! Outgoing connections: an address becomes a byte stream.
//!
//! Apart so that a simulated network can stand where TCP stands. It must never encrypt or identify: that is `tls`,
//! which is the same over every network.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::address::Address;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// So that a connection can be shown; what network it is of stays unknown.
impl std::fmt::Debug for dyn Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Io")
    }
}

/// A byte stream whose network is not known.
pub type BoxedIo = Box<dyn Io>;

/// The network, as the side that calls sees it.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects once. The caller bounds it in time and decides about trying again.
    async fn dial(&self, address: &Address) -> io::Result<BoxedIo>;
}

/// The real network.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDial;

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self, address: &Address) -> io::Result<BoxedIo> {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        // Orders and heartbeats are small; Nagle would hold each for a round trip.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
