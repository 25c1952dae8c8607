//! From an address to a gRPC channel.
//!
//! Apart because reconnecting is where a renewed certificate comes into use. It must never decide which coordinator to
//! call, or give up: a channel connects when it is used, and again when it is used again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::ReloadableTls;
use crate::address::Address;
use crate::dial::{BoxedIo, Dial};
use crate::identity::{self, Identity, Name};

/// Bounds of an outgoing connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// How long the network and the handshake may take together.
    pub connect_timeout: Duration,
    /// How often a silent connection is asked whether somebody is still there, calls or no calls.
    pub keepalive_interval: Duration,
    /// How long the answer may take.
    pub keepalive_timeout: Duration,
    /// The name to verify, where it is not the host that is dialled (a tunnel, an address translation).
    pub server_name: Option<String>,
    /// Which coordinator it must be; any when absent. Never anything but a coordinator.
    pub coordinator: Option<Name>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(10),
            server_name: None,
            coordinator: None,
        }
    }
}

/// Who a channel is connected to, as the certificate of its latest connection says.
#[derive(Clone, Debug, Default)]
pub struct Peer(Arc<ArcSwapOption<Name>>);

impl Peer {
    /// The coordinator's name; none before the first connection.
    pub fn name(&self) -> Option<Arc<Name>> {
        self.0.load_full()
    }
}

/// Makes channels over one network with one identity. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    dial: Arc<dyn Dial>,
    tls: Arc<ReloadableTls>,
    options: ConnectOptions,
}

impl Connector {
    /// A connector over this network.
    pub fn new(dial: Arc<dyn Dial>, tls: Arc<ReloadableTls>, options: ConnectOptions) -> Self {
        Self { dial, tls, options }
    }

    /// The same, with other bounds.
    pub fn with_options(&self, options: ConnectOptions) -> Self {
        Self { options, ..self.clone() }
    }

    /// The bounds.
    pub fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// A channel to this address. Returns at once; connects when it is first used, and reconnects, each time with the
    /// certificate that is current then. Hold one for each peer: a channel per call would be a handshake per call.
    pub fn channel(&self, address: &Address) -> Channel {
        self.channel_and_peer(address).0
    }

    /// As [`Connector::channel`], with the name that the other side has proven: for whoever must not take it from a message.
    pub fn channel_and_peer(&self, address: &Address) -> (Channel, Peer) {
        // Plain http for tonic, because the encryption is inside the connection that it is given. No connect timeout
        // for tonic either: `connect` has it, and two for the same thing would race for the error.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .expect("an Address has only characters that a URI may have")
            .http2_keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .keep_alive_while_idle(true);
        let (connector, address, peer) = (self.clone(), address.clone(), Peer::default());
        let seen = peer.clone();
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
            let (connector, address, seen) = (connector.clone(), address.clone(), seen.clone());
            async move {
                let (connection, name) = connector.connect_named(&address).await?;
                seen.0.store(Some(Arc::new(name)));
                Ok::<_, io::Error>(TokioIo::new(connection))
            }
        }));
        (channel, peer)
    }

    /// One connection, with the other side verified: its name, its authority, and that it is the coordinator asked for.
    pub async fn connect(&self, address: &Address) -> io::Result<TlsStream<BoxedIo>> {
        self.connect_named(address).await.map(|(connection, _)| connection)
    }

    async fn connect_named(&self, address: &Address) -> io::Result<(TlsStream<BoxedIo>, Name)> {
        let patience = self.options.connect_timeout;
        timeout(patience, self.connect_unbounded(address)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {address} within {patience:?}")))
        })
    }

    async fn connect_unbounded(&self, address: &Address) -> io::Result<(TlsStream<BoxedIo>, Name)> {
        let name = self.options.server_name.as_deref().unwrap_or(address.host());
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no server name")))?;
        let io = self.dial.dial(address).await?;
        let connection = TlsConnector::from(self.tls.client_config()).connect(name, io).await?;
        let coordinator = self.check_coordinator(address, &connection)?;
        Ok((connection, coordinator))
    }

    fn check_coordinator(&self, address: &Address, connection: &TlsStream<BoxedIo>) -> io::Result<Name> {
        let refuse = |reason: String| io::Error::new(io::ErrorKind::PermissionDenied, reason);
        let (_, session) = connection.get_ref();
        let own = session.peer_certificates().and_then(|certificates| certificates.first());
        let own = own.ok_or_else(|| refuse(format!("{address} showed no certificate")))?;
        let identity = identity::of_certificate(own).map_err(|error| refuse(format!("{address}: {error}")))?;
        match (&identity, &self.options.coordinator) {
            (Identity::Coordinator { name }, Some(wanted)) if name != wanted => {
                Err(refuse(format!("{address} is {identity}, and baton://coordinator/{wanted} was expected there")))
            }
            (Identity::Coordinator { name }, _) => Ok(name.clone()),
            _ => Err(refuse(format!("{address} is {identity}, and not a coordinator"))),
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("options", &self.options).finish_non_exhaustive()
    }
}
