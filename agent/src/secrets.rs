//! Secrets: a name in an order becomes a value on this host, and nowhere else.
//!
//! Apart because the value must never be in the log, on the wire, in output, in a plan or in an error (DESIGN.md section 3,
//! rule 11). Nothing here may print, store or compare a value.

use std::fmt;

use async_trait::async_trait;
use baton_model::{
    outcome::Fault,
    text::{Piece, Text},
};
use zeroize::Zeroizing;

use crate::policy::Policy;

pub mod redaction;
pub mod store;

pub use redaction::Redactor;
pub use store::{SecretCommand, SecretStore, SecretStoreOptions};

/// A value that is wiped when it goes, and that no formatting shows.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }
    /// The value. Give it to what needs it, and keep no copy.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where this host's secrets come from.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The value, or why there is none: a fault that names the secret and the places that were looked at.
    async fn secret(&self, name: &str) -> Result<Secret, Fault>;
}

/// Fills in a text. The policy must name each secret; each value goes to the redactor before it goes anywhere else.
pub async fn resolve(
    text: &Text,
    secrets: &dyn Secrets,
    policy: &Policy,
    redactor: &Redactor,
) -> Result<Secret, Fault> {
    let pieces = match text {
        Text::Plain(text) => return Ok(Secret::new(text.clone())),
        Text::Pieces { pieces } => pieces,
    };
    let mut values: Vec<Secret> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => values.push(Secret::new(text.clone())),
            Piece::Secret(name) => {
                policy.check_secret(name)?;
                let value = secrets.secret(name).await?;
                redactor.remember(name, &value);
                values.push(value);
            }
        }
    }
    // Sized first: a string that grows leaves pieces of the value behind in freed memory.
    let mut whole = Zeroizing::new(String::with_capacity(values.iter().map(|value| value.expose().len()).sum()));
    values.iter().for_each(|value| whole.push_str(value.expose()));
    Ok(Secret(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_formatting_shows_the_value() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "[secret] [secret] Some(\n    [secret],\n)");
    }
}
