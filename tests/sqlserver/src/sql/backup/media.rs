//! Backup files: one or more backup sets, with a checksum before them.
//!
//! Apart because any instance of any world reads what another wrote. A file that is cut short or changed must never be taken.

use crate::world::SqlError;
use crate::world::log::{Fork, Tables};
use crate::world::lsn::Lsn;
use crate::world::msdb::BackupSet;
use serde::{Deserialize, Serialize};
use std::path::Path;

const MAGIC: &str = "BATON SQL SERVER SIMULATOR BACKUP 1";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Media {
    pub sets: Vec<Set>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Set {
    pub header: BackupSet,
    /// Of the database.
    pub created: i64,
    pub backup_name: Option<String>,
    pub user: String,
    /// The tables at `base_at`.
    pub base: Tables,
    pub base_at: Lsn,
    /// The recovery path, oldest fork first; of a log backup only the records that it holds.
    pub forks: Vec<Fork>,
}

/// FNV-1a: enough against a file that is still being copied.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn system_error(error: &std::io::Error) -> String {
    let (number, text) = match error.kind() {
        std::io::ErrorKind::NotFound => (2, "The system cannot find the file specified."),
        std::io::ErrorKind::PermissionDenied => (5, "Access is denied."),
        _ => (error.raw_os_error().unwrap_or(31), "A device attached to the system is not functioning."),
    };
    format!("{number}({text})")
}

impl Media {
    pub fn read(device: &str) -> Result<Media, SqlError> {
        let text = match std::fs::read(device) {
            Ok(bytes) => bytes,
            Err(error) => return Err(SqlError::new(3201, &[device, &system_error(&error)])),
        };
        let formed = || SqlError::new(3241, &[device]);
        let end = text.iter().position(|byte| *byte == b'\n').ok_or_else(formed)?;
        let (first, body) = (&text[..end], &text[end + 1..]);
        let wanted = format!("{MAGIC} {:016x}", checksum(body));
        if first != wanted.as_bytes() {
            return Err(formed());
        }
        serde_json::from_slice(body).map_err(|_| formed())
    }

    pub fn write(&self, device: &str) -> Result<(), SqlError> {
        let body = serde_json::to_vec(self).map_err(|error| SqlError::new(3202, &[device, &error.to_string()]))?;
        let mut whole = format!("{MAGIC} {:016x}\n", checksum(&body)).into_bytes();
        whole.extend(body);
        let fresh = format!("{device}.writing");
        std::fs::write(&fresh, whole)
            .and_then(|()| std::fs::rename(&fresh, Path::new(device)))
            .map_err(|error| SqlError::new(3201, &[device, &system_error(&error)]))
    }

    /// The set of `WITH FILE = n`, or the first.
    pub fn set(&self, file: Option<i64>, device: &str) -> Result<&Set, SqlError> {
        let file = file.unwrap_or(1);
        usize::try_from(file)
            .ok()
            .and_then(|file| self.sets.get(file.checked_sub(1)?))
            .ok_or_else(|| SqlError::new(3287, &[&file.to_string(), device]))
    }
}
