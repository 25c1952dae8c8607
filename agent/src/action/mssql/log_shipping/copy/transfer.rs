//! Bytes from the share into the destination: under another name until they are all there and proven equal.
//!
//! Apart because a half-copied file under a final name would be taken for a backup. Every file is asked for at the policy by its
//! real path, since a name in a listing may be a link.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use baton_model::outcome::Fault;
use sha2::{Digest, Sha256};

use super::super::directory::OURS;
use crate::action::{Context, Failure};

pub struct Paths {
    /// Real paths, as the policy found them.
    pub source: PathBuf,
    pub destination: PathBuf,
}

impl Paths {
    /// Copies a file to `NAME.baton-copy`, on the disk when this returns; its SHA-256.
    pub async fn copy(&self, file: &str, context: &Context) -> Result<String, Failure> {
        let from = checked(&self.source.join(file), context)?;
        let to = checked(&self.ours(file), context)?;
        let (told_from, told_to) = (from.clone(), to.clone());
        let cancel = context.cancel_token().clone();
        let done = tokio::task::spawn_blocking(move || copy(&from, &to, || cancel.is_cancelled())).await;
        match done.map_err(io::Error::other).flatten() {
            Ok(hash) => Ok(hash),
            Err(error) => {
                let _ = fs::remove_file(&told_to);
                let message = format!("cannot copy {} to {}: {error}", told_from.display(), told_to.display());
                let remedy = "See the share and the room on the disk, then retry: nothing half-copied was left.";
                Err(Fault::new("BTN-0677", message, remedy).into())
            }
        }
    }

    /// The same file on both sides, byte by byte.
    pub async fn same_bytes(&self, file: &str, context: &Context) -> Result<bool, Fault> {
        let (a, b) = (checked(&self.source.join(file), context)?, checked(&self.destination.join(file), context)?);
        let unreadable = |error: io::Error| {
            Fault::new("BTN-0677", format!("cannot read {file}: {error}"), "See the share, then retry.")
        };
        let both = tokio::task::spawn_blocking(move || Ok((hash(&a)?, hash(&b)?))).await;
        let (a, b) = both.map_err(io::Error::other).flatten().map_err(unreadable)?;
        Ok(a == b)
    }

    /// Gives a copy its name; how many bytes it has.
    pub fn name(&self, file: &str, name: &str) -> Result<u64, Fault> {
        let path = self.destination.join(name);
        let named = (|| {
            let bytes = fs::metadata(self.ours(file))?.len();
            fs::rename(self.ours(file), &path)?;
            File::open(&self.destination)?.sync_all()?;
            Ok(bytes)
        })();
        named.map_err(|error: io::Error| {
            Fault::new("BTN-0677", format!("cannot name {}: {error}", path.display()), "See the directory, then retry.")
        })
    }

    pub fn forget(&self, file: &str) -> Result<(), Fault> {
        remove(&self.ours(file))
    }

    /// Removes what an earlier attempt left half-copied.
    pub fn sweep(&self) -> Result<(), Fault> {
        let Ok(entries) = fs::read_dir(&self.destination) else { return Ok(()) };
        let ours = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(OURS));
        ours.map(|entry| entry.path()).try_for_each(|path| remove(&path))
    }

    fn ours(&self, file: &str) -> PathBuf {
        self.destination.join(format!("{file}{OURS}"))
    }
}

fn checked(path: &Path, context: &Context) -> Result<PathBuf, Fault> {
    context.policy().check_path(&path.to_string_lossy())
}

fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Fault::new("BTN-0677", format!("cannot remove {}: {error}", path.display()), "Remove it, then retry."))
        }
        _ => Ok(()),
    }
}

/// The copy is read again from the disk: what counts is what is there. A source that changes meanwhile is still being written.
fn copy(from: &Path, to: &Path, cancelled: impl Fn() -> bool) -> io::Result<String> {
    let mut source = File::open(from)?;
    let before = source.metadata()?;
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        if cancelled() {
            return Err(io::Error::other("the task was ended"));
        }
        match source.read(&mut buffer)? {
            0 => break,
            n => {
                sum.update(&buffer[..n]);
                target.write_all(&buffer[..n])?;
            }
        }
    }
    target.sync_all()?;
    let after = fs::metadata(from)?;
    if (before.len(), before.modified().ok()) != (after.len(), after.modified().ok()) {
        return Err(io::Error::other("it changed while it was copied: it is still being written"));
    }
    let (read, written) = (hexadecimal(&sum.finalize()), hash(to)?);
    if read != written {
        return Err(io::Error::other(format!("the copy differs: sha256 {written} and not {read}")));
    }
    Ok(written)
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&sum.finalize())),
            n => sum.update(&buffer[..n]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_cut_short_is_swept_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = Paths { source: directory.path().to_owned(), destination: directory.path().to_owned() };
        for name in ["a.trn", "b.trn.baton-copy", "baton-copy.trn"] {
            fs::write(directory.path().join(name), name).expect("written");
        }
        paths.sweep().expect("swept");
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).expect("listed").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["a.trn", "baton-copy.trn"]);
    }

    #[test]
    fn a_copy_has_the_sources_bytes_and_a_cancelled_one_has_no_hash() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&from, vec![7; 3 << 20]).expect("written");
        assert_eq!(copy(&from, &to, || false).expect("copied"), hash(&from).expect("read"));
        assert_eq!(fs::read(&to).expect("read").len(), 3 << 20);
        assert!(copy(&from, &to, || true).is_err());
    }
}
