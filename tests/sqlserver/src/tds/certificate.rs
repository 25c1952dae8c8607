//! The certificate that an instance shows, and how its TLS is set up in both generations of the protocol.
//!
//! Apart because the two generations want different things of the same certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// A chain, the server's own first, and its key.
#[derive(Debug)]
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("read certificate or key {path}: {reason}")]
    Read { path: String, reason: String },
    #[error("use certificate: {0}")]
    Use(#[from] rustls::Error),
    #[error("make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Clone for Certificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Certificate {
    /// From two PEM files.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let error = |path: &Path| {
            let path = path.display().to_string();
            move |error: rustls::pki_types::pem::Error| CertificateError::Read { path, reason: error.to_string() }
        };
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(error(chain))?;
        Ok(Self { chain: certificates, key: PrivateKeyDer::from_pem_file(key).map_err(error(key))? })
    }

    /// As a server makes one for itself when it has none: nobody should trust it.
    pub fn self_signed(name: &str) -> Result<Self, CertificateError> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
        Ok(Self {
            chain: vec![made.cert.der().clone()],
            key: PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
        })
    }
}

/// TLS as either generation wants it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// TDS 7: the handshake is wrapped in packets.
    pub wrapped: Arc<ServerConfig>,
    /// TDS 8: TLS comes first.
    pub strict: Arc<ServerConfig>,
}

impl Tls {
    pub fn new(certificate: Certificate) -> Result<Self, CertificateError> {
        let builder = |versions: &[&'static SupportedProtocolVersion]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            Ok::<_, rustls::Error>(
                ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?.with_no_client_auth(),
            )
        };
        // As SQL Server 2022: TLS 1.3 with TDS 8 only. FreeTDS loses the last words of a wrapped handshake of TLS 1.3,
        // because there they are the client's.
        let mut wrapped =
            builder(&[&TLS12])?.with_single_cert(certificate.chain.clone(), certificate.key.clone_key())?;
        // Tickets would come after the handshake, when clients no longer expect a wrapped record.
        wrapped.send_tls13_tickets = 0;
        let mut strict = builder(&[&TLS13, &TLS12])?.with_single_cert(certificate.chain, certificate.key)?;
        strict.alpn_protocols = vec![b"tds/8.0".to_vec()];
        Ok(Self { wrapped: Arc::new(wrapped), strict: Arc::new(strict) })
    }
}
