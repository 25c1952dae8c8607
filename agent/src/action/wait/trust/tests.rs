//! Real TLS servers, with certificates made here.

use std::{sync::Arc, time::Duration};

use baton_model::outcome::Observation;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::action::trial::{Trial, action};

const LONG: Duration = Duration::from_secs(20);

/// An authority of a customer.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("page of {name}"));
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn page(&self, params: CertificateParams) -> Page {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Page { certificate, key }
    }
}

/// A component's page over TLS.
struct Page {
    certificate: Certificate,
    key: KeyPair,
}

impl Page {
    /// The port it is served at, with this version alone where one is given.
    async fn serve(self, versions: &[&'static rustls::SupportedProtocolVersion]) -> (u16, JoinHandle<()>) {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /monitor HTTP/1.1\r\n"));
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrunning";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        (port, serving)
    }
}

async fn seen(trial: &Trial, params: Value) -> Result<String, String> {
    match action("wait.http", params).observe(&trial.context("1", LONG)).await.unwrap() {
        Observation::InPlace { note } => Ok(note),
        Observation::Differs { change } => Err(change),
        Observation::CannotTell { why } => panic!("{why}"),
    }
}

#[tokio::test]
async fn a_page_is_believed_by_its_authoritys_file_and_by_its_name() {
    let trial = Trial::new();
    let authority = Authority::new("Example Authority");
    let ca_file = trial.file("ca.pem", authority.certificate.pem());
    let others = ["Other Authority", "Example Authority"]
        .map(|name| (name, trial.file(name, Authority::new(name).certificate.pem())));
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let (port, serving) = authority.page(params("localhost")).serve(versions).await;
        let url = format!("https://localhost:{port}/monitor");
        let ask = |ca_file: &str| json!({ "url": url, "ca_file": ca_file, "body_contains": "running" });
        assert_eq!(seen(&trial, ask(&ca_file)).await, Ok(format!("{url} answers with status 200")));

        for (name, other) in &others {
            let why = if *name == "Other Authority" { "nobody known has signed it" } else { "has not signed it" };
            let refused = seen(&trial, ask(other)).await.unwrap_err();
            for part in [why, "asked for localhost", "it is for localhost", "signed by CN=Example Authority"] {
                assert!(refused.contains(part), "{part}: {refused}");
            }
        }
        let elsewhere = format!("https://127.0.0.1:{port}/monitor");
        let refused = seen(&trial, json!({ "url": elsewhere, "ca_file": ca_file })).await.unwrap_err();
        assert!(refused.contains("it is another's (asked for 127.0.0.1; it is for localhost,"), "{refused}");
        serving.abort();
    }
}

#[tokio::test]
async fn without_a_file_the_systems_authorities_decide_and_verify_false_believes_anybody() {
    let trial = Trial::new();
    let key = KeyPair::generate().unwrap();
    let own = Page { certificate: params("127.0.0.1").self_signed(&key).unwrap(), key };
    let pem = trial.file("own.pem", own.certificate.pem());
    let (port, _serving) = own.serve(rustls::ALL_VERSIONS).await;
    let url = format!("https://127.0.0.1:{port}/monitor");
    let refused = seen(&trial, json!({ "url": url })).await.unwrap_err();
    let why = match std::path::Path::new(super::SYSTEM_ROOTS).exists() {
        true => "nobody known has signed it",
        false => "give a ca_file",
    };
    assert!(refused.contains(why), "{refused}");
    let answers = Ok(format!("{url} answers with status 200"));
    assert_eq!(seen(&trial, json!({ "url": url, "verify": false })).await, answers);
    assert_eq!(
        seen(&trial, json!({ "url": url, "ca_file": pem })).await,
        answers,
        "its own certificate is its authority"
    );
}

#[tokio::test]
async fn an_expired_certificate_says_until_when_it_was_good() {
    let trial = Trial::new();
    let authority = Authority::new("Example Authority");
    let ca_file = trial.file("ca.pem", authority.certificate.pem());
    let mut old = params("localhost");
    (old.not_before, old.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 2, 3));
    let (port, _serving) = authority.page(old).serve(rustls::ALL_VERSIONS).await;
    let url = format!("https://localhost:{port}/monitor");
    let refused = seen(&trial, json!({ "url": url, "ca_file": ca_file })).await.unwrap_err();
    assert!(refused.contains("it has expired") && refused.contains("good until Feb  3 "), "{refused}");
}

#[tokio::test]
async fn a_port_without_tls_and_a_file_without_certificates_are_named() {
    let trial = Trial::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        listener
    });
    let refused = seen(&trial, json!({ "url": url, "verify": false })).await.unwrap_err();
    assert!(refused.contains("no TLS"), "{refused}");
    let _listener = plain.await.unwrap();
    let empty = trial.file("empty.pem", "");
    let refused = seen(&trial, json!({ "url": url, "ca_file": empty })).await.unwrap_err();
    assert!(
        refused.contains(&format!("cannot use the authorities in {empty}: there is no certificate in it")),
        "{refused}"
    );
}
