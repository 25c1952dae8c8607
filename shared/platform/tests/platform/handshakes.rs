//! Who gets in, and whom a client believes.

use std::io;
use std::path::Path;
use std::sync::Arc;

use baton_platform::address::Address;
use baton_platform::dial::TcpDial;
use baton_platform::tls::{AcceptOptions, ConnectOptions, Connector};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tonic::Code;

use crate::installation::*;

/// A client of its own, which does what Baton's never does. Ok when the server spoke after the handshake: in TLS 1.3 a
/// refusal of the client's certificate arrives only there.
async fn foreign_client(
    address: &Address,
    trusted: &Path,
    own: Option<&Path>,
    version: &'static SupportedProtocolVersion,
) -> io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(certificates(&trusted.join("ca.pem")).remove(0)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            builder.with_client_auth_cert(certificates(&own.join("cert.pem")), key(&own.join("key.pem"))).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connect = async {
        let stream = tokio::net::TcpStream::connect((address.host(), address.port())).await?;
        let name = ServerName::try_from(address.host().to_owned()).unwrap();
        let mut connection = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        // The server's part of the HTTP/2 preface comes without being asked for.
        connection.read_u8().await.map(drop)
    };
    tokio::time::timeout(DEADLINE, connect).await.expect("a connection that hangs")
}

#[tokio::test]
async fn an_agent_with_a_good_certificate_is_served() {
    let installation = Installation::new();
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    call(connector(installation.agent()).channel(&server.address)).await.unwrap();
}

#[tokio::test]
async fn an_operator_that_calls_an_agents_method_is_told_who_it_is_and_what_to_do() {
    let installation = Installation::new();
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let operator = installation.tls("baton://operator/ana?role=admin", &[]);
    let status = call(connector(operator).channel(&server.address)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "BTN-0302 this call is for an agent, and the client certificate says baton://operator/ana?role=admin. \
         Call with the certificate of an agent, made by \"baton ca issue agent\"."
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let installation = Installation::new();
    let (trusted, own) = (
        installation.identity_directory("baton://coordinator/c1", &["127.0.0.1"]),
        installation.identity_directory("baton://agent/db1", &[]),
    );
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let tls13 = &rustls::version::TLS13;
    foreign_client(&server.address, &trusted, Some(&own), tls13).await.expect("the same client with a certificate");
    let error = foreign_client(&server.address, &trusted, None, tls13).await.unwrap_err();
    assert!(whole(&error).contains("CertificateRequired"), "{}", whole(&error));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (installation, other) = (Installation::new(), Installation::new());
    let trusted = installation.identity_directory("baton://coordinator/c1", &["127.0.0.1"]);
    let stranger = other.identity_directory("baton://agent/db1", &[]);
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let error = foreign_client(&server.address, &trusted, Some(&stranger), &rustls::version::TLS13).await.unwrap_err();
    // Both authorities have the same name, so that it is the signature that does not fit.
    assert!(whole(&error).contains("received fatal alert"), "{}", whole(&error));
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let (installation, other) = (Installation::new(), Installation::new());
    let server = RunningServer::start(other.coordinator(), AcceptOptions::default()).await;
    let error = connector(installation.agent()).connect(&server.address).await.unwrap_err();
    assert!(whole(&error).contains("invalid peer certificate"), "{}", whole(&error));
}

#[tokio::test]
async fn a_client_that_speaks_only_tls_1_2_is_refused() {
    let installation = Installation::new();
    let (trusted, own) = (
        installation.identity_directory("baton://coordinator/c1", &["127.0.0.1"]),
        installation.identity_directory("baton://agent/db1", &[]),
    );
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let error = foreign_client(&server.address, &trusted, Some(&own), &rustls::version::TLS12).await.unwrap_err();
    assert!(whole(&error).contains("ProtocolVersion"), "{}", whole(&error));
}

#[tokio::test]
async fn a_server_under_another_name_than_its_certificates_is_not_believed() {
    let installation = Installation::new();
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let by_name = Address::new("localhost", server.address.port()).unwrap();
    let connector = connector(installation.agent());
    let error = connector.connect(&by_name).await.unwrap_err();
    assert!(whole(&error).contains("not valid for name"), "{}", whole(&error));
    let status = call(connector.channel(&by_name)).await.unwrap_err();
    assert!(whole(&status).contains("not valid for name"), "{}", whole(&status));
    // Where the address is translated on the way, the operator says which name to verify.
    let told = ConnectOptions { server_name: Some("127.0.0.1".into()), ..ConnectOptions::default() };
    connector.with_options(told).connect(&by_name).await.unwrap();
}

#[tokio::test]
async fn a_coordinator_where_another_one_was_expected_is_not_believed() {
    let installation = Installation::new();
    let server = RunningServer::start(installation.coordinator(), AcceptOptions::default()).await;
    let expecting = |name: &str| {
        let options = ConnectOptions { coordinator: Some(name.parse().unwrap()), ..ConnectOptions::default() };
        Connector::new(Arc::new(TcpDial), installation.agent(), options)
    };
    expecting("c1").connect(&server.address).await.unwrap();
    let error = expecting("c2").connect(&server.address).await.unwrap_err().to_string();
    assert!(error.contains("baton://coordinator/c1") && error.contains("baton://coordinator/c2"), "{error}");
}

#[tokio::test]
async fn an_agents_certificate_does_not_make_a_server() {
    let installation = Installation::new();
    // Signed by the authority for this very address, and still an agent's.
    let agent = installation.tls("baton://agent/db1", &["127.0.0.1"]);
    let server = RunningServer::start(agent, AcceptOptions::default()).await;
    let error = connector(installation.agent()).connect(&server.address).await.unwrap_err();
    assert!(whole(&error).contains("invalid peer certificate"), "{}", whole(&error));
}
