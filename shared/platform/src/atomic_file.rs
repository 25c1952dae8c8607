//! A file that is either the old one or the new one, whatever happens in between.
//!
//! Apart because the order of the six system calls is the whole point, and it is easy to leave one out. It must never
//! write into a file that others may be reading.
//!
//! Write beside, fsync, rename, fsync the directory. Extended attributes and ACLs are not carried over.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replace {
    /// It is replaced.
    #[default]
    Allowed,
    /// It stays, and the write is an error of kind `AlreadyExists`.
    Refused,
}

/// Owner and mode of the new file.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// The mode; when absent that of the old file, and 0644 when there is none.
    pub mode: Option<u32>,
    /// User and group; when absent those of the old file where this process may set them, else its own.
    pub owner: Option<(u32, u32)>,
    /// What becomes of an old file.
    pub replace: Replace,
}

/// Which step failed. The old file is then still the old file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {source}", .path.display())]
pub struct AtomicFileError {
    /// What was tried.
    pub verb: &'static str,
    /// With which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The mode of a file that had no predecessor and no mode asked for.
const MODE_DEFAULT: u32 = 0o644;

/// Writes a file as a whole. A symbolic link is followed, and its target replaced: links are how packages and
/// administrators place configuration.
pub fn write(path: &Path, bytes: &[u8], options: &WriteOptions) -> Result<(), AtomicFileError> {
    let fail = |verb, path: &Path| {
        let path = path.to_path_buf();
        move |source| AtomicFileError { verb, path, source }
    };
    let target = resolve(path).map_err(fail("resolve", path))?;
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let old = match target.metadata() {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail("look at", &target)(error)),
    };
    let mode = options.mode.or(old.as_ref().map(|old| old.mode() & 0o7777)).unwrap_or(MODE_DEFAULT);

    let (mut file, beside) = create_beside(&target).map_err(fail("create a file beside", &target))?;
    let beside = Beside(Some(beside));
    file.write_all(bytes).map_err(fail("write", beside.path()))?;
    match (options.owner, &old) {
        (Some((user, group)), _) => {
            fchown(&file, Some(user), Some(group)).map_err(fail("set the owner of", beside.path()))?;
        }
        (None, Some(old)) => {
            // Only root may give a file away. Anybody else who may replace it becomes its owner, as with an editor.
            if let Err(error) = fchown(&file, Some(old.uid()), Some(old.gid()))
                && error.kind() != io::ErrorKind::PermissionDenied
            {
                return Err(fail("set the owner of", beside.path())(error));
            }
        }
        (None, None) => {}
    }
    // After the owner, because a change of owner clears set-user-id bits; exact, because the umask does not apply here.
    file.set_permissions(PermissionsExt::from_mode(mode)).map_err(fail("set the mode of", beside.path()))?;
    file.sync_all().map_err(fail("sync", beside.path()))?;
    drop(file);

    match options.replace {
        Replace::Allowed => {
            std::fs::rename(beside.path(), &target).map_err(fail("replace", &target))?;
            beside.renamed();
        }
        // A link fails when the name is taken, where a rename would replace it, and a check beforehand could be late.
        Replace::Refused => std::fs::hard_link(beside.path(), &target).map_err(fail("create", &target))?,
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("sync", directory))
}

fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => path.canonicalize(),
        _ => Ok(path.to_path_buf()),
    }
}

/// A new, empty file that only this process can read, in the directory of `target`: a rename does not cross file systems.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    loop {
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}-{}.new", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let beside = target.with_file_name(beside);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside) {
            Ok(file) => return Ok((file, beside)),
            // Left behind by a process that was killed and had this process's number: take the next name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// The file beside; removed unless it took the place of the target.
struct Beside(Option<PathBuf>);

impl Beside {
    fn path(&self) -> &Path {
        self.0.as_deref().expect("only `renamed` takes the path, and it takes self")
    }

    fn renamed(mut self) {
        self.0 = None;
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nothing better can be done with an error here; the file is in nobody's way.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn the_mode_is_kept_unless_another_is_asked_for_and_nothing_is_left_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        write(&path, b"one", &WriteOptions::default()).unwrap();
        assert_eq!(mode(&path), 0o644);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        write(&path, b"two", &WriteOptions::default()).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o640));
        write(&path, b"three", &WriteOptions { mode: Some(0o600), ..Default::default() }).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"three".to_vec(), 0o600));
        assert_eq!(names(directory.path()), ["a.conf"]);
    }

    #[test]
    fn a_reader_that_has_the_old_file_open_goes_on_reading_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        std::fs::write(&path, "old").unwrap();
        let mut reader = File::open(&path).unwrap();
        write(&path, b"new", &WriteOptions::default()).unwrap();
        let mut seen = String::new();
        io::Read::read_to_string(&mut reader, &mut seen).unwrap();
        assert_eq!(seen, "old");
    }

    #[test]
    fn a_file_that_is_there_is_not_replaced_when_that_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let options = WriteOptions { mode: Some(0o600), replace: Replace::Refused, ..Default::default() };
        write(&path, b"first", &options).unwrap();
        let error = write(&path, b"second", &options).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!((mode(&path), names(directory.path())), (0o600, vec!["key.pem".to_owned()]));
    }

    #[test]
    fn a_symbolic_link_stays_a_link_and_its_target_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("real.conf"), directory.path().join("link.conf"));
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("real.conf", &link).unwrap();
        write(&link, b"new", &WriteOptions::default()).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_failure_names_the_step_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), "x").unwrap();
        let error = write(&path, b"new", &WriteOptions::default()).unwrap_err();
        assert_eq!(error.verb, "replace");
        assert_eq!(names(directory.path()), ["taken"]);
    }
}
