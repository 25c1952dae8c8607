//! A disk of the test's own that can be full or take no writes: memory, mounted over one folder of one process.
//!
//! Apart because it needs root. The mounts are in a namespace of the test's thread and of what that starts: nobody else sees them, and
//! with the last of these processes they are gone, also those of a predecessor that crashed.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    ptr,
};

/// What is left on a full disk: fewer bytes than a page.
const PIECES: [usize; 4] = [1 << 20, 1 << 16, 1 << 12, 1];

/// See the module. Dropped, it is taken away with all that is on it.
pub struct SmallDisk {
    place: PathBuf,
}

/// Whether this thread may mount. Where it may, from now on it does so unseen. To be called before anything is started.
///
/// Where root is missing nobody may think that this was tried.
pub fn can_mount() -> bool {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "a disk of one's own needs root");
        eprintln!("NOT TRIED: a disk of one's own needs root");
        return false;
    }
    // SAFETY: a plain system call, about this thread alone.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(unshared, 0, "a namespace of mounts: {}", io::Error::last_os_error());
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE, None).expect("mounts that nobody else sees");
    true
}

impl SmallDisk {
    /// Over this folder; what is in it is on the disk too. Nobody may have a file of it open.
    pub fn over(place: &Path, mebibytes: u32) -> Self {
        let kept = tempfile::tempdir().expect("a directory");
        let files: Vec<_> = fs::read_dir(place).expect("a folder").flatten().map(|entry| entry.path()).collect();
        let names: Vec<_> = files.iter().filter(|path| path.is_file()).collect();
        for path in &names {
            fs::copy(path, kept.path().join(path.file_name().expect("a name"))).expect("copied");
        }
        let size = CString::new(format!("size={mebibytes}m,mode=700")).expect("no zero in it");
        mount(Some(c"tmpfs"), place, Some(c"tmpfs"), 0, Some(&size)).expect("mounted");
        let disk = Self { place: place.to_owned() };
        for path in &names {
            let name = path.file_name().expect("a name");
            fs::copy(kept.path().join(name), place.join(name)).expect("copied");
        }
        disk
    }

    /// Not a byte is free any more.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("room for a name");
        for piece in PIECES {
            let bytes = vec![b'x'; piece];
            while io::Write::write(&mut file, &bytes).is_ok_and(|written| written > 0) {}
        }
    }

    /// As much is free as before it was filled.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> PathBuf {
        self.place.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.place);
    }
}

/// What is found by this path takes no writes any more; files that are open do. Dropped, it is as before.
pub struct ReadOnly {
    place: PathBuf,
}

impl ReadOnly {
    pub fn over(place: &Path) -> Self {
        let source = CString::new(place.as_os_str().as_bytes()).expect("no zero in it");
        mount(Some(&source), place, None, libc::MS_BIND, None).expect("bound");
        let read_only = Self { place: place.to_owned() };
        mount(None, place, None, libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY, None).expect("read only");
        read_only
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        unmount(&self.place);
    }
}

fn mount(
    source: Option<&CStr>,
    place: &Path,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let target = CString::new(place.as_os_str().as_bytes())?;
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or of a text that lives through the call.
    let done = unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(data).cast()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Also while somebody has a file of it open: it goes with the last of them.
fn unmount(place: &Path) {
    let target = CString::new(place.as_os_str().as_bytes()).expect("it was mounted by this name");
    // SAFETY: the text lives through the call.
    let done = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    if done != 0 && !std::thread::panicking() {
        panic!("unmount {}: {}", place.display(), io::Error::last_os_error());
    }
}
