//! From a listener to a stream of authenticated connections.
//!
//! Apart because a handshake is the one thing that a stranger can make a server do. It must never let one caller hold
//! up the others: each handshake is a task with a deadline, and there are only so many.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::ReloadableTls;
use crate::dial::BoxedIo;
use crate::listen::Listen;

/// How often the log hears that the system gives no connections.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Bounds of the accept loop, and of the connections of the server behind it.
#[derive(Debug, Clone)]
pub struct AcceptOptions {
    /// How long a caller may take for its first byte, and again for its handshake.
    pub handshake_timeout: Duration,
    /// How many callers may be connected and not let in yet: more wait in the kernel's queue. One that says nothing holds a descriptor and
    /// no more, so that a thousand of them keep nobody out.
    pub callers_max: usize,
    /// How many handshakes go on at once, of callers that have begun theirs. Each holds some 20 kB.
    pub handshakes_max: usize,
    /// How long to wait after the system refused a connection (file descriptors used up), which passes by itself.
    pub accept_pause: Duration,
    /// How often a silent connection is asked whether somebody is still there.
    pub keepalive_interval: Duration,
    /// How long the answer may take.
    pub keepalive_timeout: Duration,
    /// How many calls one connection may have open.
    pub streams_max: u32,
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            callers_max: 8_192,
            handshakes_max: 512,
            accept_pause: Duration::from_millis(100),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(10),
            streams_max: 256,
        }
    }
}

impl AcceptOptions {
    /// A tonic server with these bounds; give it its services and `serve_with_incoming` an [`Incoming`].
    pub fn server(&self) -> tonic::transport::Server {
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(self.keepalive_interval))
            .http2_keepalive_timeout(Some(self.keepalive_timeout))
            .max_concurrent_streams(self.streams_max)
    }
}

/// A connection whose caller has shown a certificate of the authority.
pub type TlsConnection = TlsStream<PeerIo>;

/// A stream of connections for `serve_with_incoming`. Never yields an error: what fails, fails for its caller alone.
/// Ends when the token is cancelled; dropping it stops listening.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<TlsConnection>,
    local_addr: Option<SocketAddr>,
    _accepting: AbortOnDropHandle<()>,
}

impl Incoming {
    /// Starts to accept. Each handshake uses the certificate that is current when it begins.
    pub fn start(
        listener: impl Listen,
        tls: Arc<ReloadableTls>,
        options: AcceptOptions,
        stop: CancellationToken,
    ) -> Self {
        // Handshakes that are done wait here for the server, which takes them at once: one is enough.
        let (sender, connections) = mpsc::channel(1);
        let local_addr = listener.local_addr().ok();
        let accepting = tokio::spawn(accept_all(Box::new(listener), tls, options, sender, stop));
        Self { connections, local_addr, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
}

impl Stream for Incoming {
    type Item = io::Result<TlsConnection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

async fn accept_all(
    mut listener: Box<dyn Listen>,
    tls: Arc<ReloadableTls>,
    options: AcceptOptions,
    sender: mpsc::Sender<TlsConnection>,
    stop: CancellationToken,
) {
    let callers = Arc::new(Semaphore::new(options.callers_max));
    let slots = Arc::new(Semaphore::new(options.handshakes_max));
    let mut refused = Refused::default();
    loop {
        let caller = tokio::select! {
            () = stop.cancelled() => return,
            () = sender.closed() => return,
            caller = callers.clone().acquire_owned() => caller.expect("this semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            () = sender.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (io, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                refused.tell(&error);
                // The same error comes back at once while descriptors are used up; without a pause this loop would spin.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(options.accept_pause) => continue,
                }
            }
        };
        let mut io = PeerIo { io, first: None, local: listener.local_addr().ok(), peer };
        let tls = tls.clone();
        let (slots, sender, stop, patience) = (slots.clone(), sender.clone(), stop.clone(), options.handshake_timeout);
        // Not joined: it ends by its deadlines, by the token, or because the receiver is gone.
        tokio::spawn(async move {
            let handshake = async {
                // Held until the server has taken the connection, so that one which takes none is sent no more.
                let _caller = caller;
                match timeout(patience, io.hear()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "a caller left before it said anything"),
                    Err(_) => return tracing::info!(%peer, ?patience, "connection dropped: nothing was said in time"),
                }
                // Whoever waits here waits for handshakes that all end in time.
                let _slot = slots.acquire_owned().await.expect("this semaphore is never closed");
                let acceptor = TlsAcceptor::from(tls.server_config());
                match timeout(patience, acceptor.accept(io)).await {
                    // An error says that the server has ended, and with it everybody who could answer.
                    Ok(Ok(connection)) => drop(sender.send(connection).await),
                    Ok(Err(error)) => tracing::info!(%peer, "connection refused in the handshake: {}", Told(&error)),
                    Err(_) => tracing::info!(%peer, ?patience, "connection dropped: no handshake in time"),
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = handshake => {}
            }
        });
    }
}

/// Why a handshake failed. The one reason that says nothing of the caller gets its code; every other names what is wrong.
struct Told<'a>(&'a io::Error);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = self.0.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match reason {
            Some(rustls::Error::NoCertificatesPresented) => f.write_str(
                "BTN-0301 the connection came without a client certificate. Make one with \"baton ca\", and give its directory with --identity",
            ),
            _ => self.0.fmt(f),
        }
    }
}

/// Connections that the system did not give. It says so again and again while descriptors are used up; the log hears of it once, and
/// then now and again.
#[derive(Default)]
struct Refused {
    told: Option<Instant>,
    since: u64,
}

impl Refused {
    fn tell(&mut self, error: &io::Error) {
        self.since += 1;
        if self.told.is_some_and(|told| told.elapsed() < REFUSED_TOLD_EVERY) {
            return;
        }
        tracing::error!(
            "BTN-0334 a connection cannot be accepted: {error} ({} times since this was last said). What is connected goes on. Where too \
             many files are open, raise LimitNOFILE of this program's unit, or see who connects so often.",
            self.since
        );
        (self.told, self.since) = (Some(Instant::now()), 0);
    }
}

/// A byte stream that knows who it leads to.
pub struct PeerIo {
    io: BoxedIo,
    /// Heard already, and read again.
    first: Option<u8>,
    local: Option<SocketAddr>,
    peer: SocketAddr,
}

impl PeerIo {
    /// Waits for the first byte.
    async fn hear(&mut self) -> io::Result<()> {
        self.first = Some(self.io.read_u8().await?);
        Ok(())
    }
}

/// TCP's own information, whatever the network: `Request::peer_certs` and `Request::remote_addr` look for this type.
impl Connected for PeerIo {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.local, remote_addr: Some(self.peer) }
    }
}

impl std::fmt::Debug for PeerIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerIo").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for PeerIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
