//! Encrypted connections between parties that know each other: TLS 1.3, a certificate on both sides, one authority.
//!
//! Apart because there is one way to connect in Baton, and no switch that weakens it. It must never offer TLS 1.2,
//! an anonymous client or a certificate store of the system.
//!
//! An identity directory ([`Material`]) becomes a [`ReloadableTls`]; servers put [`Incoming`] over any
//! [`crate::listen::Listen`], clients a [`Connector`] over any [`crate::dial::Dial`].

mod connector;
mod incoming;
mod material;
mod reloadable;

use std::path::PathBuf;

pub use connector::{ConnectOptions, Connector, Peer};
pub use incoming::{AcceptOptions, Incoming, PeerIo, TlsConnection};
pub use material::Material;
pub use reloadable::{RELOAD_PERIOD_DEFAULT, ReloadableTls, Reloaded};

/// Why an identity directory cannot be used, or a connection cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error(
        "BTN-0303 cannot read {}: {source}. An identity directory has ca.pem, cert.pem and key.pem; \"baton ca issue\" makes it",
        .path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file has something else in it.
    #[error("BTN-0304 {} is not usable: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls refuses the combination.
    #[error("BTN-0304 {} is not usable: {source}", .directory.display())]
    Refused {
        /// The identity directory.
        directory: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// HTTP/2 is all that is spoken; without this a gRPC client does not go on after the handshake.
const ALPN: &[u8] = b"h2";

/// Makes aws-lc-rs the provider for every library of the process that asks for a default. Call it first in every
/// `main`; calling it again changes nothing.
pub fn install_crypto_provider() {
    // An error says that a provider is installed already; only this one is linked.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
