//! What the authority hands out, and how it becomes an identity directory.

use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{CA_CERTIFICATE_FILE, CERTIFICATE_FILE, CaError, KEY_FILE};
use crate::atomic_file::{self, Replace, WriteOptions};
use crate::identity::Identity;

/// A new certificate with what belongs to it. The key is wiped from memory when this is dropped.
pub struct Issued {
    identity: Identity,
    ca_pem: String,
    certificate_pem: String,
    key_pem: Option<Zeroizing<String>>,
}

impl Issued {
    pub(super) fn new(identity: Identity, ca_pem: String, certificate_pem: String, key_pem: Option<String>) -> Self {
        Self { identity, ca_pem, certificate_pem, key_pem: key_pem.map(Zeroizing::new) }
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate of the authority (PEM).
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The certificate (PEM).
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key (PEM); none when the certificate was made for a request.
    pub fn key_pem(&self) -> Option<&str> {
        self.key_pem.as_ref().map(|key| key.as_str())
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem` into a directory, which is created (0700) if need be. Refuses when
    /// any of them exists.
    pub fn write(&self, directory: &Path) -> Result<(), CaError> {
        for file in [CA_CERTIFICATE_FILE, CERTIFICATE_FILE, KEY_FILE] {
            let path = directory.join(file);
            if path.symlink_metadata().is_ok() {
                return Err(CaError::Exists(path));
            }
        }
        create_directory(directory)?;
        for (file, text, mode) in self.files() {
            write_new(&directory.join(file), text.as_bytes(), mode)?;
        }
        Ok(())
    }

    /// Renews an identity directory in place, each file at once as a whole. Between the first and the last rename the
    /// files do not belong together; a process that reloads just then keeps what it has and tries again.
    pub fn replace(&self, directory: &Path) -> Result<(), CaError> {
        create_directory(directory)?;
        for (file, text, mode) in self.files() {
            write(&directory.join(file), text.as_bytes(), mode, Replace::Allowed)?;
        }
        Ok(())
    }

    /// The key first, so that a certificate is never there without its key.
    fn files(&self) -> Vec<(&'static str, &str, u32)> {
        let key = self.key_pem().map(|key| (KEY_FILE, key, 0o600));
        let certificates =
            [(CA_CERTIFICATE_FILE, self.ca_pem(), 0o644), (CERTIFICATE_FILE, self.certificate_pem(), 0o644)];
        key.into_iter().chain(certificates).collect()
    }
}

/// Without the key: this lands in logs.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("identity", &self.identity).finish_non_exhaustive()
    }
}

pub(super) fn create_directory(directory: &Path) -> Result<(), CaError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| CaError::File {
        verb: "create",
        path: directory.into(),
        source,
    })
}

pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    write(path, bytes, mode, Replace::Refused)
}

fn write(path: &Path, bytes: &[u8], mode: u32, replace: Replace) -> Result<(), CaError> {
    let options = WriteOptions { mode: Some(mode), replace, ..WriteOptions::default() };
    atomic_file::write(path, bytes, &options).map_err(|error| match error.source.kind() {
        ErrorKind::AlreadyExists => CaError::Exists(path.into()),
        _ => CaError::File { verb: error.verb, path: error.path, source: error.source },
    })
}
