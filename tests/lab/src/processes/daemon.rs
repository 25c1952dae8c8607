//! A process that the lab itself starts and later ends or kills: a coordinator, an agent, anything that is not
//! started by a machine's own scripts.

use std::{
    fs::OpenOptions,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{APPLIANCE_VARIABLE, Error, ProcessId, Registry, WORLD_VARIABLE, signal};

/// A running child of the lab, in a process group of its own. Dropped, it is killed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    id: ProcessId,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts it: output to the end of the file `log`, named in the registry, marked as the world's, and as
    /// `machine`'s, so that a crash of that machine takes it along with whatever it has started.
    pub fn start(
        registry: &Registry,
        name: &str,
        machine: Option<&str>,
        mut command: Command,
        log: &Path,
    ) -> Result<Self, Error> {
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.and_then(|file| Ok((file.try_clone()?, file)));
        let (one, two) = output.map_err(|source| Error::File { verb: "open", path: log.to_owned(), source })?;
        command.stdin(Stdio::null()).stdout(one).stderr(two).process_group(0).env(WORLD_VARIABLE, registry.mark());
        if let Some(machine) = machine {
            command.env(APPLIANCE_VARIABLE, machine);
        }
        let child = command.spawn().map_err(|source| Error::Start { name: name.to_owned(), source })?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        // One that has ended at once has no identity any more; asking for it later says how it ended.
        let id = ProcessId::of(pid).unwrap_or(ProcessId { pid, started: 0 });
        registry.add(pid, name)?;
        Ok(Self { name: name.to_owned(), id, child, ended: None })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// How it ended; `None` while it runs. Asking also frees the number of one that has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Sends a signal to it alone. `false`: it is gone.
    pub fn signal(&self, what: Signal) -> bool {
        signal(self.id, what)
    }

    /// SIGKILL, to it alone: what it has started goes on, as after a real crash of one process.
    pub fn kill(&mut self) -> ExitStatus {
        signal(self.id, Signal::KILL);
        self.reap()
    }

    /// SIGTERM, and SIGKILL when it has not ended in time. Returns how it ended; a killed one shows by its signal.
    pub async fn stop(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        signal(self.id, Signal::TERM);
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill()
    }

    fn reap(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        // Somebody else in this process may have waited for all children; then its end is known, not how.
        let status = self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(Signal::KILL.as_raw()));
        self.ended = Some(status);
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_is_the_worlds_until_it_ends_and_its_end_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, _) = Registry::begin(directory.path()).unwrap();
        let log = directory.path().join("log");
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Daemon::start(&registry, "a script", Some("sp-a"), command, &log).unwrap()
        };
        let mut polite = start("echo $BATON_LAB_APPLIANCE; exec sleep 600");
        // It traps the signal before it says so; one that says nothing may not have come that far.
        let mut stubborn = start("trap '' TERM; echo deaf; while :; do sleep 0.05; done");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let said = std::fs::read_to_string(&log).unwrap();
            if said.contains("sp-a") && said.contains("deaf") {
                break;
            }
            assert!(Instant::now() < deadline, "they said {said:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(registry.members().unwrap().len() >= 2);
        assert!(registry.members_on("sp-b", directory.path()).unwrap().is_empty());
        assert!(polite.ended().is_none());
        assert_eq!(polite.stop(Duration::from_secs(5)).await.signal(), Some(15));
        assert_eq!(stubborn.stop(Duration::from_millis(100)).await.signal(), Some(9));
        let mut short = start("exit 7");
        while short.ended().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(short.kill().code(), Some(7));
        drop(start("exec sleep 600"));
        // The sleep that the stubborn one was in ends by itself.
        while !registry.members().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "left: {:?}", registry.members());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
