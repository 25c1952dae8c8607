//! From a certificate to the identity in it.
//!
//! Apart because this is the only reading of X.509 in the product. It must never look at the common name: only the
//! URI counts, and there is exactly one.

use x509_parser::extensions::GeneralName;

use super::{Identity, ParseError};

/// A certificate that says nobody's name, or more than one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("this is not an X.509 certificate: {0}")]
    Malformed(String),
    /// No `baton://` URI among the alternative names.
    #[error("the certificate of `{subject}` has no baton:// name")]
    Missing {
        /// The subject, to find the certificate again.
        subject: String,
    },
    /// More than one: which of them acts could be chosen by the caller.
    #[error("the certificate has {} baton:// names, and must have one: {}", .found.len(), .found.join(", "))]
    Several {
        /// All of them.
        found: Vec<String>,
    },
    /// One, but not of a known form.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
}

/// The identity in a certificate (DER).
pub fn of_certificate(der: &[u8]) -> Result<Identity, IdentityError> {
    let (rest, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|error| IdentityError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed(format!("{} bytes follow it", rest.len())));
    }
    let alternatives = certificate
        .subject_alternative_name()
        .map_err(|error| IdentityError::Malformed(error.to_string()))?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let mut found: Vec<String> = alternatives
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) if uri.to_ascii_lowercase().starts_with("baton:") => Some((*uri).to_owned()),
            _ => None,
        })
        .collect();
    match found.len() {
        0 => Err(IdentityError::Missing { subject: certificate.subject().to_string() }),
        1 => Ok(found.remove(0).parse()?),
        _ => Err(IdentityError::Several { found }),
    }
}

/// When a certificate (DER) begins and ends to be valid, in seconds since 1970.
pub(crate) fn validity(der: &[u8]) -> Result<(i64, i64), IdentityError> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|error| IdentityError::Malformed(error.to_string()))?;
    let validity = certificate.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}
