//! The accept loop under callers that misbehave, and over a network that is not TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use baton_platform::address::Address;
use baton_platform::dial::{BoxedIo, Dial, TcpDial};
use baton_platform::listen::{Listen, TcpListen};
use baton_platform::tls::{AcceptOptions, ConnectOptions, Connector, Incoming};
use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::installation::*;

async fn silent(address: &Address) -> TcpStream {
    TcpStream::connect((address.host(), address.port())).await.unwrap()
}

#[tokio::test]
async fn callers_that_say_nothing_do_not_hold_up_the_others() {
    let installation = Installation::new();
    // So long that a loop which waited for a silent caller would miss the test's deadline.
    let options = AcceptOptions { handshake_timeout: DEADLINE * 10, handshakes_max: 8, ..Default::default() };
    let server = RunningServer::start(installation.coordinator(), options).await;
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(silent(&server.address).await);
    }
    call(connector(installation.agent()).channel(&server.address)).await.unwrap();
}

#[tokio::test]
async fn callers_that_say_nothing_take_no_slot() {
    let installation = Installation::new();
    let options = AcceptOptions { handshake_timeout: DEADLINE * 10, handshakes_max: 1, ..Default::default() };
    let server = RunningServer::start(installation.coordinator(), options).await;
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(silent(&server.address).await);
    }
    call(connector(installation.agent()).channel(&server.address)).await.unwrap();
}

#[tokio::test]
async fn callers_that_take_every_place_lose_it_when_their_time_is_up() {
    let installation = Installation::new();
    let patience = Duration::from_millis(300);
    let options = AcceptOptions { handshake_timeout: patience, callers_max: 2, ..Default::default() };
    let server = RunningServer::start(installation.coordinator(), options).await;
    let began = Instant::now();
    let mut first = silent(&server.address).await;
    let _second = silent(&server.address).await;
    call(connector(installation.agent()).channel(&server.address)).await.unwrap();
    assert!(began.elapsed() >= patience, "both places were taken until then");
    let end = timeout(DEADLINE, first.read(&mut [0])).await.expect("the silent caller is dropped");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_a_client_its_timeout_and_no_more() {
    let installation = Installation::new();
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(deaf.local_addr().unwrap());
    let options = ConnectOptions { connect_timeout: Duration::from_millis(200), ..Default::default() };
    let connector = Connector::new(Arc::new(TcpDial), installation.agent(), options);
    let error = timeout(DEADLINE, connector.connect(&address)).await.expect("bounded").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(call(connector.channel(&address)).await.unwrap_err().code(), tonic::Code::Unavailable);
}

/// What a process sees that has no file descriptors left, for a while.
struct Exhausted {
    inner: TcpListen,
    refusals: Arc<AtomicUsize>,
}

#[async_trait]
impl Listen for Exhausted {
    async fn accept(&mut self) -> io::Result<(BoxedIo, SocketAddr)> {
        if self.refusals.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err(io::Error::from_raw_os_error(24));
        }
        self.inner.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[tokio::test]
async fn a_shortage_of_file_descriptors_passes_without_spinning() {
    let installation = Installation::new();
    let inner = TcpListen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = Address::from(inner.local_addr().unwrap());
    let refusals = Arc::new(AtomicUsize::new(0));
    let options = AcceptOptions { accept_pause: Duration::from_millis(50), ..Default::default() };
    let began = Instant::now();
    let stop = serve(Exhausted { inner, refusals: refusals.clone() }, installation.coordinator(), options);
    call(connector(installation.agent()).channel(&address)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150), "three refusals, three pauses");
    stop.cancel();
}

#[tokio::test]
async fn incoming_ends_with_its_token_and_stops_listening() {
    let installation = Installation::new();
    let listener = TcpListen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let stop = CancellationToken::new();
    let mut incoming = Incoming::start(listener, installation.coordinator(), AcceptOptions::default(), stop.clone());
    let address = incoming.local_addr().unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    assert!(timeout(DEADLINE, incoming.next()).await.expect("it ends").is_none());
    assert!(TcpStream::connect(address).await.is_err());
}

/// A network of one listener, in memory: what a simulation puts in the place of TCP.
struct MemoryListen(mpsc::Receiver<BoxedIo>);
struct MemoryDial(mpsc::Sender<BoxedIo>);

#[async_trait]
impl Listen for MemoryListen {
    async fn accept(&mut self) -> io::Result<(BoxedIo, SocketAddr)> {
        match self.0.recv().await {
            Some(io) => Ok((io, SocketAddr::from(([192, 0, 2, 1], 1)))),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 2], 7400)))
    }
}

#[async_trait]
impl Dial for MemoryDial {
    async fn dial(&self, _: &Address) -> io::Result<BoxedIo> {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        self.0.send(Box::new(theirs)).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Box::new(ours))
    }
}

#[tokio::test]
async fn the_same_server_and_client_work_over_a_network_that_is_handed_in() {
    let installation = Installation::new();
    let (sender, receiver) = mpsc::channel(1);
    let coordinator = installation.tls("baton://coordinator/c1", &["c1.simulated"]);
    let stop = serve(MemoryListen(receiver), coordinator, AcceptOptions::default());
    let connector = Connector::new(Arc::new(MemoryDial(sender)), installation.agent(), ConnectOptions::default());
    call(connector.channel(&"c1.simulated:7400".parse().unwrap())).await.unwrap();
    stop.cancel();
}
