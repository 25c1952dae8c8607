//! A connection's bytes: plain, inside TLS, or in the middle of a TLS handshake that travels in packets (TDS 7).
//!
//! Apart so that everything above reads packets and writes bytes. It has one owner; reading can be dropped at any await
//! and taken up again, writing cannot.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::cursor::Malformed;
use super::packet::{self, AssemblyError, Kind, Outbox, Packet};

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
}

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// A client's connection.
pub struct Wire<S> {
    socket: S,
    /// From the socket, not yet looked at.
    raw: BytesMut,
    /// Of TDS, not yet taken.
    plain: BytesMut,
    tls: Option<Box<ServerConnection>>,
    /// TLS records may still come in packets: as long as none has come without.
    reads_wrapped: bool,
    writes_wrapped: bool,
    /// TLS has been ended by the client, which is its end unless only the login was encrypted.
    tls_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection on which nothing has been said.
    pub fn new(socket: S) -> Self {
        Self {
            socket,
            raw: BytesMut::new(),
            plain: BytesMut::new(),
            tls: None,
            reads_wrapped: false,
            writes_wrapped: false,
            tls_ended: false,
        }
    }

    /// The first byte that the client sends, which stays.
    pub async fn first_byte(&mut self) -> Result<u8, WireError> {
        loop {
            if let Some(byte) = self.plain.first() {
                return Ok(*byte);
            }
            self.receive().await?;
        }
    }

    /// Does the handshake of TDS 7: TLS inside packets, plain TLS after it.
    pub async fn encrypt_wrapped(&mut self, config: Arc<ServerConfig>) -> Result<(), WireError> {
        self.reads_wrapped = true;
        self.writes_wrapped = true;
        self.shake_hands(config).await?;
        self.writes_wrapped = false;
        Ok(())
    }

    /// Does the handshake of TDS 8: TLS and nothing else.
    pub async fn encrypt(&mut self, config: Arc<ServerConfig>) -> Result<(), WireError> {
        self.shake_hands(config).await
    }

    async fn shake_hands(&mut self, config: Arc<ServerConfig>) -> Result<(), WireError> {
        let mut tls = ServerConnection::new(config)?;
        // What is written is bounded by the packets that are given to it.
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        // What came before TLS was known is TLS already.
        self.raw = self.plain.split();
        loop {
            let understood = self.understand();
            // Also an alert, when it went wrong.
            self.send_tls().await?;
            understood?;
            if !self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                return Ok(());
            }
            self.receive_raw().await?;
        }
    }

    /// Ends encryption after the login: both sides go on plain, without a word.
    pub fn decrypt(&mut self) {
        self.tls = None;
        self.tls_ended = false;
        self.reads_wrapped = false;
    }

    /// The next packet.
    pub async fn packet(&mut self) -> Result<Packet, WireError> {
        loop {
            if let Some(packet) = packet::split(&mut self.plain)? {
                return Ok(packet);
            }
            self.receive().await?;
        }
    }

    /// Waits for the connection's end, and keeps what comes before it; not more than a little, because nobody has asked for
    /// it yet.
    pub async fn ended(&mut self) -> WireError {
        const KEPT_BYTES_MAX: usize = 64 * 1024;
        loop {
            if self.plain.len() > KEPT_BYTES_MAX {
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.receive().await {
                return error;
            }
        }
    }

    async fn receive(&mut self) -> Result<(), WireError> {
        self.receive_raw().await?;
        self.understand()
    }

    async fn receive_raw(&mut self) -> Result<(), WireError> {
        if self.tls_ended {
            return Err(WireError::Closed);
        }
        self.raw.reserve(READ_BYTES);
        match self.socket.read_buf(&mut self.raw).await? {
            0 => Err(WireError::Closed),
            _ => Ok(()),
        }
    }

    /// From raw to plain, as far as it goes.
    fn understand(&mut self) -> Result<(), WireError> {
        let Some(tls) = &mut self.tls else {
            self.plain.unsplit(self.raw.split());
            return Ok(());
        };
        // Asked for every packet, not once: the last record of the handshake and the first after it may come together.
        while self.reads_wrapped && self.raw.first().is_some_and(|byte| *byte == Kind::Prelogin.code()) {
            match packet::split(&mut self.raw)? {
                Some(packet) => self.tls_ended = feed(tls, &packet.body, &mut self.plain)?,
                None => return Ok(()),
            }
        }
        if self.raw.is_empty() {
            return Ok(());
        }
        self.reads_wrapped = false;
        let records = self.raw.split();
        self.tls_ended = feed(tls, &records, &mut self.plain)?;
        Ok(())
    }

    /// Writes all of it, encrypted if that is agreed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        match &mut self.tls {
            None => self.socket.write_all(bytes).await?,
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                self.send_tls().await?;
            }
        }
        Ok(self.socket.flush().await?)
    }

    async fn send_tls(&mut self) -> Result<(), WireError> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records)?;
        }
        if records.is_empty() {
            return Ok(());
        }
        if self.writes_wrapped {
            let mut outbox = Outbox::new(Kind::Prelogin, packet::SIZE_BEFORE_LOGIN);
            outbox.body.put_slice(&records);
            self.socket.write_all(&outbox.end()).await?;
        } else {
            self.socket.write_all(&records).await?;
        }
        Ok(self.socket.flush().await?)
    }

    /// Says that nothing more comes, and waits until the client has heard it, so that the last words are not lost: a socket
    /// closed with bytes unread takes back what was sent. The caller sets the deadline.
    pub async fn finish(mut self) -> Result<(), WireError> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.send_tls().await?;
        }
        self.socket.shutdown().await?;
        loop {
            self.raw.clear();
            self.receive_raw().await?;
        }
    }
}

/// Gives records to TLS and takes out what was inside; true where the client has said that no more comes.
fn feed(tls: &mut ServerConnection, mut records: &[u8], plain: &mut BytesMut) -> Result<bool, WireError> {
    while !records.is_empty() {
        tls.read_tls(&mut records)?;
        let state = tls.process_new_packets()?;
        let available = state.plaintext_bytes_to_read();
        let start = plain.len();
        plain.resize(start + available, 0);
        tls.reader().read_exact(&mut plain[start..])?;
        if state.peer_has_closed() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
