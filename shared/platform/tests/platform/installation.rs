//! An authority and its identity directories in a temporary place, and a gRPC server that answers to some.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baton_platform::address::Address;
use baton_platform::ca::{CertificateAuthority, CreateOptions, IssueOptions};
use baton_platform::clock::SystemClock;
use baton_platform::dial::TcpDial;
use baton_platform::identity::{self, Identity};
use baton_platform::listen::{Listen, TcpListen};
use baton_platform::tls::{AcceptOptions, ConnectOptions, Connector, Incoming, ReloadableTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic_health::pb::health_client::HealthClient;

/// Nothing here takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Installation {
    directory: tempfile::TempDir,
    pub ca: CertificateAuthority,
}

impl Installation {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions::named("test".parse().unwrap());
        let ca = CertificateAuthority::create(&directory.path().join("ca"), &options, &SystemClock::new()).unwrap();
        Self { directory, ca }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// An identity directory for `baton://…`; the addresses are for coordinators.
    pub fn identity_directory(&self, identity: &str, addresses: &[&str]) -> PathBuf {
        let identity: Identity = identity.parse().unwrap();
        let directory = self.path().join(format!("{}-{}", identity.kind(), identity.name()));
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let issued = self.ca.issue(identity, &addresses, &IssueOptions::default(), &SystemClock::new()).unwrap();
        issued.replace(&directory).unwrap();
        directory
    }

    pub fn tls(&self, identity: &str, addresses: &[&str]) -> Arc<ReloadableTls> {
        ReloadableTls::load(self.identity_directory(identity, addresses)).unwrap()
    }

    pub fn coordinator(&self) -> Arc<ReloadableTls> {
        self.tls("baton://coordinator/c1", &["127.0.0.1"])
    }

    pub fn agent(&self) -> Arc<ReloadableTls> {
        self.tls("baton://agent/db1", &[])
    }
}

/// A server whose one service is for agents.
pub struct RunningServer {
    pub address: Address,
    pub stop: CancellationToken,
}

impl RunningServer {
    pub async fn start(tls: Arc<ReloadableTls>, options: AcceptOptions) -> Self {
        let listener = TcpListen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        Self { stop: serve(listener, tls, options), address }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn serve(listener: impl Listen, tls: Arc<ReloadableTls>, options: AcceptOptions) -> CancellationToken {
    let stop = CancellationToken::new();
    let incoming = Incoming::start(listener, tls, options.clone(), stop.clone());
    let (_, health) = tonic_health::server::health_reporter();
    let for_agents = InterceptedService::new(health, |request: tonic::Request<()>| {
        identity::require_agent(&request)?;
        assert!(request.remote_addr().is_some());
        Ok(request)
    });
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(options.server().add_service(for_agents).serve_with_incoming_shutdown(incoming, stopped));
    stop
}

pub fn connector(tls: Arc<ReloadableTls>) -> Connector {
    Connector::new(Arc::new(TcpDial), tls, ConnectOptions::default())
}

/// One call over a channel.
pub async fn call(channel: tonic::transport::Channel) -> Result<(), tonic::Status> {
    let check = async { HealthClient::new(channel).check(tonic_health::pb::HealthCheckRequest::default()).await };
    tokio::time::timeout(DEADLINE, check).await.expect("a call that hangs").map(drop)
}

/// Everything that an error says, down to its first cause.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

pub fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().collect::<Result<_, _>>().unwrap()
}

pub fn key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}

/// Looks until it is so.
pub async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let look = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, look).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}
