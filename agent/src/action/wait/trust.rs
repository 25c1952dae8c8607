//! TLS to a page: whose certificate is believed, and what one that is not believed says of itself.
//!
//! Apart because a component's page is somebody else's: it speaks what it speaks (TLS 1.2 too), with a certificate of the customer's
//! authority or of its own. Baton's own connections (`platform/src/tls.rs`) know none of this, and must not. It must never fall back
//! from a certificate that is refused to one that is not asked for.

use std::{
    fs, io,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
};

/// Where Debian, Ubuntu, SUSE and Alpine keep the authorities of the system; RHEL links it.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Shakes hands with the server of this name. `ca_file`: these authorities and no others; `verify: false` believes anybody.
pub async fn shake_hands(
    stream: TcpStream,
    host: &str,
    ca_file: Option<&str>,
    verify: bool,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::other(format!("{host:?} is no name that a certificate can have")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let believed = match (verify, ca_file) {
        (false, _) => None,
        (true, Some(path)) => Some(Arc::new(read(path)?)),
        (true, None) => Some(system()?),
    };
    let inner = match believed {
        None => None,
        Some(roots) => {
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            Some(builder.build().map_err(io::Error::other)?)
        }
    };
    let judge = Arc::new(Judge { inner, provider: provider.clone(), refused: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(judge.clone())
        .with_no_client_auth();
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    shaken.map_err(|error| {
        let refused = judge.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refused {
            Some(refused) => io::Error::new(error.kind(), format!("its certificate is not believed: {refused}")),
            None => io::Error::new(error.kind(), format!("no TLS: {error}")),
        }
    })
}

fn read(path: &str) -> io::Result<RootCertStore> {
    let failed = |why: String| io::Error::other(format!("cannot use the authorities in {path}: {why}"));
    let mut roots = RootCertStore::empty();
    let mut last = None;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        // A system's bundle may hold one that is odd; the others count.
        last = roots.add(certificate).err().or(last);
    }
    match (roots.is_empty(), last) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(failed(error.to_string())),
        (true, None) => Err(failed("there is no certificate in it".to_owned())),
    }
}

/// The system's authorities: more than a hundred, so they are read again only when the file has changed.
fn system() -> io::Result<Arc<RootCertStore>> {
    static KEPT: Mutex<Option<(SystemTime, Arc<RootCertStore>)>> = Mutex::new(None);
    let written = fs::metadata(SYSTEM_ROOTS).and_then(|file| file.modified()).map_err(|error| {
        io::Error::other(format!("cannot use the system's authorities in {SYSTEM_ROOTS}: {error}; give a ca_file"))
    })?;
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((then, roots)) = kept.as_ref()
        && *then == written
    {
        return Ok(roots.clone());
    }
    let roots = Arc::new(read(SYSTEM_ROOTS)?);
    *kept = Some((written, roots.clone()));
    Ok(roots)
}

/// Asks the authorities where there are some, and keeps what was wrong in words. Signatures are verified in any case.
#[derive(Debug)]
struct Judge {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<String>>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).inspect_err(|error| {
            let why = match error {
                Error::InvalidCertificate(why) => said(why),
                other => other.to_string(),
            };
            let words = format!("{why} (asked for {}; {})", server_name.to_str(), described(end_entity));
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn said(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Why;
    match why {
        Why::UnknownIssuer => "nobody known has signed it".to_owned(),
        Why::BadSignature => "an authority of that name is known, and has not signed it".to_owned(),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => "it is another's".to_owned(),
        Why::Expired | Why::ExpiredContext { .. } => "it has expired".to_owned(),
        Why::NotValidYet | Why::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        other => other.to_string(),
    }
}

/// What a certificate says: whose it is, who signed it, until when.
fn described(der: &[u8]) -> String {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
        return "it cannot be read".to_owned();
    };
    let names = names(&certificate);
    let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    format!(
        "it is for {names}, subject {}, signed by {}, good until {}",
        certificate.subject(),
        certificate.issuer(),
        certificate.validity().not_after
    )
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    /// As many as a message takes.
    const SHOWN_MAX: usize = 8;
    let alternatives = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let names = alternatives.flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    });
    names.take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests;
