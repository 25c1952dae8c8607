//! The private certificate authority of one installation: two files, and what they sign.
//!
//! Apart because it is the one place that writes a name into a certificate; [`crate::identity`] is the one that reads
//! it. It must never run inside a coordinator or an agent as a service of the network: whoever holds `ca-key.pem` can be
//! anybody.

mod authority;
mod issued;

use std::path::PathBuf;
use std::time::Duration;

use crate::identity::NameError;

pub use authority::{CertificateAuthority, CreateOptions, IssueOptions};
pub use issued::Issued;

/// The certificate of the authority, in the authority's own directory and in each identity directory.
pub const CA_CERTIFICATE_FILE: &str = "ca.pem";
/// The key of the authority, in the authority's own directory only.
pub const CA_KEY_FILE: &str = "ca-key.pem";
/// The certificate of an identity.
pub const CERTIFICATE_FILE: &str = "cert.pem";
/// The key of an identity.
pub const KEY_FILE: &str = "key.pem";

/// How long an authority lives unless said otherwise.
pub const CA_VALIDITY_DEFAULT: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a certificate lives unless said otherwise.
pub const CERTIFICATE_VALIDITY_DEFAULT: Duration = Duration::from_secs(365 * 86_400);
/// How far a certificate begins in the past: hosts whose clocks are behind must accept a new one.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(3_600);

/// Why the authority did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The name breaks the rule for names.
    #[error("BTN-0310 {0}")]
    Name(#[from] NameError),
    /// A name that is neither a DNS name nor an IP address.
    #[error("BTN-0311 `{0}` is neither a DNS name nor an IP address; a certificate can name only these")]
    AlternativeName(String),
    /// A coordinator that nobody could verify.
    #[error("BTN-0312 a coordinator needs at least one DNS name or IP address under which it is called")]
    NoAlternativeName,
    /// Something is there already.
    #[error("BTN-0313 {} exists already and is not overwritten. Choose another directory, or move it away first", .0.display())]
    Exists(PathBuf),
    /// The certificate would outlive its authority.
    #[error(
        "BTN-0314 the certificate would be valid until {wanted}, but its authority ends on {authority}. \
         Ask for a shorter validity, or make a new authority"
    )]
    OutlivesAuthority {
        /// When the certificate would end.
        wanted: String,
        /// When the authority ends.
        authority: String,
    },
    /// The validity is not a sensible one.
    #[error("BTN-0315 a validity of {0:?} is not possible: it is at least a minute and at most 100 years")]
    Validity(Duration),
    /// A file of the authority that is not what it should be.
    #[error("BTN-0316 {} is not usable: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate request that cannot be signed.
    #[error("BTN-0317 the certificate request cannot be signed: {0}")]
    Request(String),
    /// A file could not be read or written.
    #[error("BTN-0318 cannot {verb} {}: {source}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The cryptography failed, which no input explains.
    #[error("BTN-0319 the certificate could not be made: {0}")]
    Crypto(#[from] rcgen::Error),
}
