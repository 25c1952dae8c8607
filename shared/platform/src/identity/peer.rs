//! Who sent a request.
//!
//! Apart because it is the one place where "who are you" becomes an answer on the wire. It must never trust anything
//! in the request but the certificate of its connection.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use super::{Identity, IdentityError, Name, Role, of_certificate};

/// Why a request is refused before anybody looks at what it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The connection has no client certificate.
    #[error(
        "BTN-0301 no client certificate came with this connection. Set one up: \"baton ca issue\" makes it, \
         ca.pem, cert.pem and key.pem belong in the identity directory."
    )]
    NoCertificate,
    /// The certificate cannot be read as an identity.
    #[error("BTN-0302 the client certificate is of no use here: {reason}. Ask for one that \"baton ca issue\" made.")]
    Unusable {
        /// What is wrong with it.
        reason: IdentityError,
    },
    /// An identity, but of a kind that may not call this.
    #[error(
        "BTN-0302 this call is for {wanted}, and the client certificate says {seen}. Call with the certificate of \
         {wanted}, made by \"baton ca issue {verb}\"."
    )]
    WrongKind {
        /// Who called.
        seen: Identity,
        /// Who may: "an agent".
        wanted: &'static str,
        /// The word for `baton ca issue`.
        verb: &'static str,
    },
}

impl PeerError {
    /// The code under which docs/errors explains it.
    pub fn code(&self) -> &'static str {
        match self {
            PeerError::NoCertificate => "BTN-0301",
            PeerError::Unusable { .. } | PeerError::WrongKind { .. } => "BTN-0302",
        }
    }
}

/// The one place where a refused peer becomes a status: nobody known is `unauthenticated`, somebody known who may not
/// is `permission_denied`.
impl From<PeerError> for tonic::Status {
    fn from(error: PeerError) -> Self {
        let text = error.to_string();
        match error {
            PeerError::NoCertificate => tonic::Status::unauthenticated(text),
            PeerError::Unusable { .. } | PeerError::WrongKind { .. } => tonic::Status::permission_denied(text),
        }
    }
}

/// Who sent this request.
pub fn of_request<T>(request: &tonic::Request<T>) -> Result<Identity, PeerError> {
    of_certificates(request.peer_certs())
}

/// The same for a layer, which sees the HTTP request.
pub fn of_extensions(extensions: &http::Extensions) -> Result<Identity, PeerError> {
    of_certificates(extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs))
}

/// The host that sent this request, or a refusal when it was no agent.
pub fn require_agent<T>(request: &tonic::Request<T>) -> Result<Name, PeerError> {
    match of_request(request)? {
        Identity::Agent { host } => Ok(host),
        seen => Err(PeerError::WrongKind { seen, wanted: "an agent", verb: "agent" }),
    }
}

/// The coordinator that sent this request, or a refusal when it was none.
pub fn require_coordinator<T>(request: &tonic::Request<T>) -> Result<Name, PeerError> {
    match of_request(request)? {
        Identity::Coordinator { name } => Ok(name),
        seen => Err(PeerError::WrongKind { seen, wanted: "a coordinator", verb: "coordinator" }),
    }
}

/// The operator that sent this request and the role, or a refusal when it was none.
pub fn require_operator<T>(request: &tonic::Request<T>) -> Result<(Name, Role), PeerError> {
    match of_request(request)? {
        Identity::Operator { name, role } => Ok((name, role)),
        seen => Err(PeerError::WrongKind { seen, wanted: "an operator", verb: "operator" }),
    }
}

fn of_certificates(certificates: Option<Arc<Vec<CertificateDer<'static>>>>) -> Result<Identity, PeerError> {
    let certificates = certificates.ok_or(PeerError::NoCertificate)?;
    // The first is the caller's own; any others are those of its issuers.
    let own = certificates.first().ok_or(PeerError::NoCertificate)?;
    of_certificate(own).map_err(|reason| PeerError::Unusable { reason })
}
