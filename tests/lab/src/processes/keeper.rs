//! A small process that outlives the lab by one second: it sweeps the world when the lab dies without doing so.
//!
//! Why not the kernel's own parent-death signal: it fires when the *thread* that started a process ends, and a
//! tokio thread may end at any time; and it does not reach daemons, whose parent is not the lab.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
};

use super::{Error, Registry, registry};

/// The hidden subcommand of `baton-lab` that a keeper runs.
pub const SUBCOMMAND: &str = "world-keeper";

/// The lab's end of the line to its keeper. The keeper sweeps when this is dropped or the lab dies.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    line: Option<ChildStdin>,
}

impl Keeper {
    /// Starts the keeper of a registry. `helper` is the `baton-lab` program.
    pub fn start(helper: &Path, registry: &Registry) -> Result<Self, Error> {
        let mut child = Command::new(helper)
            .arg(SUBCOMMAND)
            .arg(registry.path())
            .arg(registry.mark())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's foreground group: Ctrl-C must not end it before it has swept.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Keeper { program: helper.to_owned(), source })?;
        let line = child.stdin.take();
        Ok(Self { child, line })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.line.take());
        drop(self.child.wait());
    }
}

/// What the hidden subcommand does: waits until the lab is gone, then sweeps its world.
pub fn main(path: &Path, mark: &str) -> ExitCode {
    let mut rest = Vec::new();
    drop(std::io::stdin().read_to_end(&mut rest));
    match registry::sweep_own(path, mark) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
