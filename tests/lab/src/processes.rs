//! The real processes of a world: who belongs to it, how they are ended, and how what a crashed lab left is swept.
//!
//! Apart, because killing is the most dangerous thing the lab does. It never signals a process by name or pattern:
//! a process is touched only when the world's own registry names it and it still is that process.

pub mod daemon;
pub mod keeper;
pub mod registry;
pub mod table;

pub use daemon::Daemon;
pub use keeper::Keeper;
pub use registry::{APPLIANCE_VARIABLE, Registry, WORLD_VARIABLE};
pub use table::{Process, ProcessId};

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Why processes could not be listed, registered or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry's file.
    #[error("{verb} {}: {source}", path.display())]
    File { verb: &'static str, path: std::path::PathBuf, source: io::Error },
    /// Another lab holds this world.
    #[error("the world in {} is in use by another lab that still runs", directory.display())]
    InUse { directory: std::path::PathBuf },
    /// Killed, and still there.
    #[error("{count} processes of the world survived {seconds} s of SIGKILL: {names}")]
    Survivors { count: usize, seconds: u64, names: String },
    /// A process of the lab's own did not start.
    #[error("start {name}: {source}")]
    Start { name: String, source: io::Error },
    /// The helper did not start.
    #[error("start the keeper {}: {source}", program.display())]
    Keeper { program: std::path::PathBuf, source: io::Error },
}

/// Sends a signal to exactly this process. `false`: it is gone (also when its number was given to another process).
///
/// The handle is taken first and the start time compared afterwards, so that a reused number is never hit.
pub fn signal(id: ProcessId, signal: Signal) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(id.pid) else { return false };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    if !id.alive() {
        return false;
    }
    pidfd_send_signal(handle, signal).is_ok()
}

/// Sends SIGKILL to everything `find` returns, again and again until it finds nothing.
///
/// Again, because a supervisor may start one more between the look and the kill.
pub fn kill_until_gone(find: impl Fn() -> Vec<Process>, within: Duration) -> Result<usize, Error> {
    let deadline = Instant::now() + within;
    let mut killed = std::collections::BTreeSet::new();
    loop {
        let found = find();
        if found.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() > deadline {
            let names = found.iter().map(Process::to_string).collect::<Vec<_>>().join("; ");
            return Err(Error::Survivors { count: found.len(), seconds: within.as_secs(), names });
        }
        for process in &found {
            signal(process.id, Signal::KILL);
            killed.insert(process.id);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
