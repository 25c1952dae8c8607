//! The slon processes of this host, as the kernel shows them.
//!
//! Apart because a slon's pid file lies (a second start removes the live one's), one slon is two processes of one name, and the
//! worker ignores every signal but KILL. So processes are found by what they are, and ended through a descriptor that cannot
//! come to mean another process.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd, path::PathBuf, time::Duration};

use baton_model::outcome::Fault;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::Instant;

use crate::action::Context;

/// Between two looks at the process table.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Clock ticks since the machine started: with the pid, it names a process.
    started: u64,
    pub program: String,
    pub arguments: Vec<String>,
    directory: String,
}

impl Process {
    /// Whether this is the program, by its executable's file name or, for a script, by what its interpreter was given.
    pub fn is(&self, program: &str) -> bool {
        let named =
            |text: &str| text == program || (!program.contains('/') && text.rsplit('/').next() == Some(program));
        named(&self.program) || self.arguments.iter().take(3).any(|argument| named(argument))
    }

    /// Whether its arguments, its directory or its executable's path mention the text.
    pub fn mentions(&self, text: &str) -> bool {
        self.arguments.join(" ").contains(text) || self.directory.contains(text) || self.program.contains(text)
    }

    /// The conninfo it was started with: an argument, or a line of the file that `-f` names.
    pub fn conninfo(&self) -> Option<BTreeMap<String, String>> {
        let of_file = || {
            let at = self.arguments.iter().position(|argument| argument == "-f")?;
            let path = PathBuf::from(&self.directory).join(self.arguments.get(at + 1)?);
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().find(|line| line.trim_start().starts_with("conn_info"))?;
            Some(line.split_once('=')?.1.trim().trim_matches(['\'', '"']).to_owned())
        };
        let argument = self.arguments.iter().skip(1).find(|argument| argument.contains("dbname=")).cloned();
        let pairs = argument.or_else(of_file)?;
        let pairs = pairs.split_whitespace().filter_map(|pair| pair.split_once('='));
        Some(pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect())
    }

    /// Whether this slon works for a database of a server. A conninfo without a host is this machine's own server, which
    /// may be the one; without any conninfo nobody can tell.
    pub fn serves(&self, host: &str, port: u16, database: &str) -> Option<bool> {
        let conninfo = self.conninfo()?;
        let field = |key: &str| conninfo.get(key).map(String::as_str);
        let host_is = match field("hostaddr").or(field("host")) {
            Some(given) => given == host || given == "localhost" || given.starts_with('/'),
            None => true,
        };
        let port_is = field("port").is_none_or(|given| given == port.to_string());
        Some(host_is && port_is && field("dbname") == Some(database))
    }

    /// For messages.
    pub fn describe(&self) -> String {
        format!("pid {} ({})", self.pid, self.arguments.join(" "))
    }

    fn open(&self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // The descriptor now names whatever has the pid; only if that is still our process is it used.
        (read(self.pid)?.started == self.started).then_some(descriptor)
    }

    /// Sends a signal; false where the process is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        self.open().is_some_and(|descriptor| pidfd_send_signal(descriptor, signal).is_ok())
    }
}

/// Every process that can be seen, without the dead.
pub(super) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}

/// The slons, watchdogs and workers.
pub(super) fn slons() -> Vec<Process> {
    all().into_iter().filter(|process| process.is_slon()).collect()
}

impl Process {
    fn is_slon(&self) -> bool {
        self.program.rsplit('/').next() == Some("slon")
            || self.arguments.first().and_then(|name| name.rsplit('/').next()) == Some("slon")
    }
}

fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, brackets and spaces too: the fields are counted from its end.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<String> = arguments
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    let link = |name: &str| {
        fs::read_link(format!("/proc/{pid}/{name}")).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let program = link("exe").trim_end_matches(" (deleted)").to_owned();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        program,
        arguments,
        directory: link("cwd"),
    })
}

/// Ends all that `chosen` finds, newcomers too, and waits until none has been there for `settle`: TERM to those whose parent
/// is not one of them (a slon's worker ignores it), KILL to what is left after the grace. Returns whom it ended.
pub(super) async fn end(
    chosen: impl Fn() -> Vec<Process>,
    grace: Duration,
    settle: Duration,
    context: &Context,
) -> Result<Vec<Process>, Fault> {
    let mut ended: Vec<Process> = Vec::new();
    let started = Instant::now();
    let mut gone_since: Option<Instant> = None;
    loop {
        let now = chosen();
        for process in &now {
            if !ended.contains(process) {
                if !now.iter().any(|other| other.pid == process.parent) {
                    process.signal(Signal::TERM);
                    context.output().line(format!("TERM to {}", process.describe()));
                }
                ended.push(process.clone());
            }
        }
        // An orphaned worker does not hear TERM: nothing is gained by waiting for it.
        let orphans_only = !now.is_empty()
            && started.elapsed() > Duration::from_secs(2)
            && now.iter().all(|one| one.parent == 1 && one.is_slon());
        if !now.is_empty() && (started.elapsed() > grace || orphans_only) {
            for process in &now {
                context.output().line(format!("KILL to {}", process.describe()));
                process.signal(Signal::KILL);
            }
        }
        if now.is_empty() {
            let since = *gone_since.get_or_insert_with(Instant::now);
            if ended.is_empty() || since.elapsed() >= settle {
                return Ok(ended);
            }
        } else {
            gone_since = None;
        }
        tokio::select! {
            () = context.cancelled() => {
                let left: Vec<String> = chosen().iter().map(Process::describe).collect();
                return Err(Fault::new("BTN-0751", format!("not all processes ended in time; left: {}", left.join(", ")), "Something may be restarting them: name it under watchdogs."));
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slon(arguments: &[&str]) -> Process {
        Process {
            pid: 1,
            parent: 0,
            started: 0,
            program: "/usr/bin/slon".into(),
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            directory: "/srv/a".into(),
        }
    }

    #[test]
    fn a_slon_is_told_from_the_other_appliances() {
        let process = slon(&["slon", "-p", "/run/x.pid", "slony", "host=127.0.21.1 port=5432 dbname=fdb user=slony"]);
        assert_eq!(process.serves("127.0.21.1", 5432, "fdb"), Some(true));
        assert_eq!(process.serves("127.0.21.2", 5432, "fdb"), Some(false), "another appliance");
        assert_eq!(process.serves("127.0.21.1", 5432, "edb"), Some(false), "another database");
        assert_eq!(process.serves("127.0.21.1", 5433, "fdb"), Some(false), "another server");
        assert_eq!(
            slon(&["slon", "slony", "dbname=fdb"]).serves("127.0.21.1", 5432, "fdb"),
            Some(true),
            "this machine's own"
        );
        assert_eq!(slon(&["slon", "-f", "/nowhere"]).serves("127.0.21.1", 5432, "fdb"), None);
        assert!(process.mentions("127.0.21.1") && process.mentions("/srv/a") && !process.mentions("127.0.21.2"));
    }

    #[test]
    fn this_process_is_seen() {
        let me = read(std::process::id().cast_signed()).expect("it runs");
        assert!(me.arguments[0].contains("baton"), "{me:?}");
        assert!(all().iter().any(|one| one.pid == me.pid));
    }
}
