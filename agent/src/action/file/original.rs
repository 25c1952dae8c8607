//! A file as it stands: bytes, mode, owner, and what else a replacement must carry over.
//!
//! Apart because both editing and restoring begin here. It only reads, but for extended attributes and litter of a
//! process that was killed.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use baton_model::outcome::Fault;
use rustix::fs::XattrFlags;
use sha2::{Digest, Sha256};

/// Larger files are not configuration; they are refused rather than read into memory.
pub const BYTES_MAX: u64 = 64 << 20;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// None where there is no file.
    pub bytes: Option<Vec<u8>>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Original {
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let cannot = |why: String, remedy: &str| {
            Fault::new("BTN-0521", format!("cannot read {}: {why}.", path.display()), remedy)
        };
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { bytes: None, mode: 0o644, uid: 0, gid: 0 });
            }
            Err(error) => return Err(cannot(error.to_string(), "See that the agent's user may read it.")),
        };
        if !metadata.is_file() {
            return Err(cannot("it is not a file".to_owned(), "Correct the step's path."));
        }
        if metadata.len() > BYTES_MAX {
            let message = format!("{} has {} bytes; at most {BYTES_MAX} are edited.", path.display(), metadata.len());
            return Err(Fault::new("BTN-0523", message, "Use exec.run with a program made for such files."));
        }
        let bytes =
            std::fs::read(path).map_err(|error| cannot(error.to_string(), "See that the agent's user may read it."))?;
        Ok(Self { bytes: Some(bytes), mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() })
    }

    pub fn exists(&self) -> bool {
        self.bytes.is_some()
    }

    /// The bytes of a file that must be there.
    pub fn required(&self, path: &str) -> Result<&[u8], Fault> {
        self.bytes.as_deref().ok_or_else(|| {
            Fault::new("BTN-0528", format!("there is no file {path}."), "Correct the step's path, or create the file.")
        })
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Extended attributes (labels, ACLs), which a new file does not have by itself.
pub fn attributes(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut names = Vec::with_capacity(64 * 1024);
    if rustix::fs::listxattr(path, rustix::buffer::spare_capacity(&mut names)).is_err() {
        return Vec::new();
    }
    let read = |name: &[u8]| {
        let name = OsString::from_vec(name.to_vec());
        let mut value = Vec::with_capacity(64 * 1024);
        rustix::fs::getxattr(path, &name, rustix::buffer::spare_capacity(&mut value)).ok()?;
        Some((name, value))
    };
    names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).filter_map(read).collect()
}

pub fn put_attributes(path: &Path, attributes: &[(OsString, Vec<u8>)]) {
    for (name, value) in attributes {
        if let Err(error) = rustix::fs::setxattr(path, name, value, XattrFlags::empty()) {
            tracing::warn!(path = %path.display(), attribute = ?name, %error, "an extended attribute was not carried over");
        }
    }
}

/// Takes away what an agent that was killed in the middle of a write left beside the file.
pub fn sweep(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let prefix = format!(".{name}.");
    for entry in entries.flatten() {
        let beside = entry.file_name();
        let number = beside.to_str().and_then(|beside| {
            let middle = beside.strip_prefix(&prefix)?.strip_suffix(".new")?;
            let (process, count) = middle.split_once('-')?;
            count.parse::<u64>().ok()?;
            process.parse::<u32>().ok()
        });
        // One that is alive may be writing; its own earlier self may have had this process's number, which is rare.
        if number.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
