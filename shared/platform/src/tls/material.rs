//! What an identity directory holds, checked, and made into configurations.
//!
//! Apart because it is pure but for three reads: from files to two values, or an error that names the file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::{ALPN, TlsError};
use crate::ca::{CA_CERTIFICATE_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::identity::{self, Identity};

/// One identity, ready to be used on both sides of a connection.
#[derive(Debug, Clone)]
pub struct Material {
    identity: Identity,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    not_before_unix_s: i64,
    not_after_unix_s: i64,
    key_mode: u32,
}

impl Material {
    /// Reads and checks `ca.pem`, `cert.pem` and `key.pem`. The certificate must name an identity, belong to the key,
    /// and be signed by the authority; whether it is valid today is for the caller to ask ([`Self::valid_at`]).
    pub fn load(directory: &Path) -> Result<Self, TlsError> {
        let ca_path = directory.join(CA_CERTIFICATE_FILE);
        let certificate_path = directory.join(CERTIFICATE_FILE);
        let key_path = directory.join(KEY_FILE);
        let refuse = |source| TlsError::Refused { directory: directory.into(), source };

        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca_path)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::Unusable { path: ca_path.clone(), reason: error.to_string() })?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&certificate_path)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|error| TlsError::Unusable { path: key_path.clone(), reason: error.to_string() })?;

        let key_mode = std::fs::metadata(&key_path)
            .map(|metadata| metadata.permissions().mode() & 0o777)
            .map_err(|source| TlsError::Read { path: key_path.clone(), source })?;

        let (own, issuers) = chain.split_first().expect("certificates() returns at least one");
        let unusable = |reason: String| TlsError::Unusable { path: certificate_path.clone(), reason };
        let identity = identity::of_certificate(own).map_err(|error| unusable(error.to_string()))?;
        let (not_before_unix_s, not_after_unix_s) =
            identity::certificate_validity(own).map_err(|error| unusable(error.to_string()))?;

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client_verifier = client_verifier(&roots, &provider)
            .map_err(|error| TlsError::Unusable { path: ca_path.clone(), reason: error.to_string() })?;
        // Checked at the moment when it began to be valid, so that an expired certificate is told apart from a
        // foreign one: a host whose clock is wrong at boot must not be told that it has the wrong certificate.
        let begin = UnixTime::since_unix_epoch(Duration::from_secs(not_before_unix_s.unsigned_abs()));
        client_verifier
            .verify_client_cert(own, issuers, begin)
            .map_err(|error| unusable(format!("{} does not vouch for it: {error}", ca_path.display())))?;

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(refuse)?
            .with_client_cert_verifier(client_verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(refuse)?;
        server.alpn_protocols = vec![ALPN.to_vec()];

        let server_verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| TlsError::Unusable { path: ca_path.clone(), reason: error.to_string() })?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(refuse)?
            .with_webpki_verifier(server_verifier)
            .with_client_auth_cert(chain, key)
            .map_err(refuse)?;
        client.alpn_protocols = vec![ALPN.to_vec()];

        Ok(Self {
            identity,
            server: Arc::new(server),
            client: Arc::new(client),
            not_before_unix_s,
            not_after_unix_s,
            key_mode,
        })
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For the side that is called.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// For the side that calls.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn not_after_unix_s(&self) -> i64 {
        self.not_after_unix_s
    }

    /// Whether anybody but the owner may read or write `key.pem`, and so be who this is.
    pub fn key_is_exposed(&self) -> bool {
        self.key_mode & 0o077 != 0
    }

    /// Whether the other side will accept the certificate at this time.
    pub fn valid_at(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        (self.not_before_unix_s..=self.not_after_unix_s).contains(&now)
    }
}

fn client_verifier(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
    // No `allow_unauthenticated`: a caller without a certificate does not get past the handshake.
    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.into(), source })
}

/// The certificates of a PEM file: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError::Unusable { path: path.to_path_buf(), reason };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("it has no certificate in PEM form".into()));
    }
    Ok(found)
}
