//! The processes of this host, read from /proc, and signals that cannot hit the wrong one.
//!
//! Apart because a pid is not a name: between looking and signalling it may have been given to another process. What is
//! signalled is held by a pidfd whose start time was compared first. It must never signal the agent, its ancestors or pid 1.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use baton_model::action::process::Selector;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::users;

/// A process as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    /// Clock ticks since boot: with the pid, the identity of a process.
    pub started_ticks: u64,
    /// The executable; absent for kernel threads and where the agent may not look.
    pub executable: Option<PathBuf>,
    pub arguments: Vec<String>,
    pub uid: u32,
}

/// For a person: `slon[4711]`.
impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.script().or(self.arguments.first().map(String::as_str)).unwrap_or("?");
        write!(f, "{}[{}]", name.rsplit('/').next().unwrap_or(name), self.pid)
    }
}

impl Seen {
    /// The whole command line.
    pub fn command_line(&self) -> String {
        self.arguments.join(" ")
    }

    /// Still the same process, and not a zombie.
    pub fn alive(&self) -> bool {
        matches!(stat(self.pid), Some(stat) if stat.started_ticks == self.started_ticks && !stat.ended())
    }

    /// The path that an interpreter was started with: `bash /opt/app/watchdog.sh` is the script, for a person.
    fn script(&self) -> Option<&str> {
        const INTERPRETERS: [&str; 12] =
            ["sh", "bash", "dash", "ash", "ksh", "zsh", "python", "perl", "ruby", "tclsh", "node", "php"];
        let name = self.executable.as_deref().and_then(Path::file_name)?.to_str()?;
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        if !INTERPRETERS.contains(&name) {
            return None;
        }
        // `-c` takes a text, not a script.
        let mut rest = self.arguments.iter().skip(1);
        let first = rest.find(|argument| !argument.starts_with('-') || argument.as_str() == "-c")?;
        (first != "-c").then_some(first.as_str())
    }

    /// What it really runs, whatever it calls itself: its executable, and the script where that is an interpreter.
    pub fn runs(&self) -> Vec<PathBuf> {
        let executable = self.executable().map(PathBuf::from);
        // A relative one is meant from where it was started; joined to an absolute one, that does not count.
        let here = || std::fs::read_link(format!("/proc/{}/cwd", self.pid)).unwrap_or_default();
        let script = self.script().and_then(|script| here().join(script).canonicalize().ok());
        executable.into_iter().chain(script).collect()
    }

    fn executable(&self) -> Option<&str> {
        let executable = self.executable.as_deref().and_then(Path::to_str)?;
        // A replaced executable (an upgrade while it ran) is shown with this ending.
        Some(executable.strip_suffix(" (deleted)").unwrap_or(executable))
    }

    fn is_program(&self, program: &str) -> bool {
        let executable = self.executable();
        let named = [executable, self.arguments.first().map(String::as_str), self.script()];
        let by_path = program.contains('/');
        let resolved = by_path.then(|| std::fs::canonicalize(program).ok()).flatten();
        named.into_iter().flatten().any(|name| match by_path {
            true => name == program || resolved.as_deref() == Some(Path::new(name)),
            // `postgres: checkpointer` has rewritten its arguments, a login shell is called `-bash`.
            false => name.rsplit('/').next() == Some(program),
        })
    }
}

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("it names no program, no arguments and no user, so it would mean every process")]
    Empty,
    #[error("there is no user {0:?} on this host")]
    NoSuchUser(String),
}

/// A selector that can be asked.
#[derive(Debug, Clone)]
pub struct Matcher {
    program: Option<String>,
    arguments_contain: Option<String>,
    uid: Option<u32>,
}

impl Matcher {
    /// Checks that at least one condition is given, and resolves the user.
    pub fn new(selector: &Selector) -> Result<Self, SelectorError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (program, arguments_contain) = (given(&selector.program), given(&selector.arguments_contain));
        let uid = match given(&selector.user) {
            None => None,
            Some(name) => Some(users::by_name(&name).ok_or(SelectorError::NoSuchUser(name))?.uid),
        };
        if program.is_none() && arguments_contain.is_none() && uid.is_none() {
            return Err(SelectorError::Empty);
        }
        Ok(Self { program, arguments_contain, uid })
    }

    pub fn matches(&self, process: &Seen) -> bool {
        self.program.as_deref().is_none_or(|program| process.is_program(program))
            && self.arguments_contain.as_deref().is_none_or(|text| process.command_line().contains(text))
            && self.uid.is_none_or(|uid| process.uid == uid)
    }
}

/// The processes that match, never the agent, its ancestors, pid 1, kernel threads or zombies; by pid.
pub fn find(matcher: &Matcher) -> Vec<Seen> {
    let untouchable = own_line();
    all().into_iter().filter(|process| !untouchable.contains(&process.pid) && matcher.matches(process)).collect()
}

/// Every process that could be meant by somebody.
pub fn all() -> Vec<Seen> {
    let mut processes: Vec<Seen> = pids().into_iter().filter_map(look).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

/// One process; `None` when it is gone, a zombie or a kernel thread.
pub fn look(pid: i32) -> Option<Seen> {
    let stat = stat(pid).filter(|stat| !stat.ended())?;
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let raw = std::fs::read(directory.join("cmdline")).ok()?;
    let mut arguments: Vec<String> =
        raw.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    if arguments.last().is_some_and(String::is_empty) {
        arguments.pop();
    }
    let executable = std::fs::read_link(directory.join("exe")).ok();
    if arguments.is_empty() && executable.is_none() {
        return None;
    }
    let status = std::fs::read_to_string(directory.join("status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = uids.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let (parent, group, started_ticks) = (stat.parent, stat.group, stat.started_ticks);
    Some(Seen { pid, parent, group, started_ticks, executable, arguments, uid })
}

/// Clock ticks since boot, comparable with [`Seen::started_ticks`].
pub fn now_ticks() -> u64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    boot.tv_sec as u64 * per_second + boot.tv_nsec as u64 * per_second / 1_000_000_000
}

/// Who started a process, for a person: its parent, or the unit where that is systemd.
pub fn origin_of(process: &Seen) -> String {
    let unit = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).ok().and_then(|text| {
        let unit = text.lines().filter_map(|line| line.rsplit('/').next()).find(|name| name.ends_with(".service"))?;
        Some(unit.to_owned())
    });
    match (process.parent, unit, look(process.parent)) {
        (0 | 1, Some(unit), _) => format!("the unit {unit}"),
        (0 | 1, None, _) => "a process that has ended since, or init".to_owned(),
        (_, _, Some(parent)) => format!("{parent} ({})", parent.command_line()),
        (pid, _, None) => format!("process {pid}, which is gone"),
    }
}

/// A process that can be signalled, because nobody else can get its identity.
#[derive(Debug)]
pub struct Held {
    pub seen: Seen,
    pidfd: OwnedFd,
}

impl Held {
    /// `None` when it has gone in the meantime.
    pub fn hold(seen: &Seen) -> io::Result<Option<Self>> {
        if own_line().contains(&seen.pid) {
            return Err(io::Error::other("it is this agent or one of its ancestors"));
        }
        let pid = Pid::from_raw(seen.pid).ok_or_else(|| io::Error::other("not a pid"))?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) if seen.alive() => Ok(Some(Self { seen: seen.clone(), pidfd })),
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A process that is gone already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Becomes readable when the process has ended; as a zombie already.
    pub fn exit(&self) -> io::Result<AsyncFd<OwnedFd>> {
        watch(self.pidfd.try_clone()?)
    }
}

/// Readable once the process of this pidfd has ended, whether or not anybody has waited for it.
pub fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open, and the same one, until it is dropped.
    unsafe { AsyncFd::register(pidfd) }.map_err(io::Error::from)
}

/// The agent, its ancestors and pid 1.
fn own_line() -> BTreeSet<i32> {
    let mut line = BTreeSet::from([1]);
    let mut pid = std::process::id() as i32;
    while pid > 1 && line.insert(pid) {
        pid = stat(pid).map_or(0, |stat| stat.parent);
    }
    line
}

fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

struct Stat {
    state: char,
    parent: i32,
    group: i32,
    started_ticks: u64,
}

impl Stat {
    fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let raw = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&raw);
    // The name in brackets may hold anything, brackets and spaces included.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let started_ticks = fields.nth(16)?.parse().ok()?;
    Some(Stat { state, parent, group, started_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(program: &str) -> Selector {
        Selector { program: Some(program.to_owned()), ..Selector::default() }
    }

    #[test]
    fn a_selector_without_a_condition_is_refused() {
        assert_eq!(Matcher::new(&Selector::default()).unwrap_err(), SelectorError::Empty);
        assert_eq!(Matcher::new(&selector("")).unwrap_err(), SelectorError::Empty);
        let user = Selector { user: Some("nobody-such".into()), ..selector("slon") };
        assert_eq!(Matcher::new(&user).unwrap_err(), SelectorError::NoSuchUser("nobody-such".into()));
    }

    #[test]
    fn the_agent_and_its_ancestors_are_never_found() {
        let own = look(std::process::id() as i32).unwrap();
        let matcher = Matcher::new(&selector(own.executable.as_ref().unwrap().to_str().unwrap())).unwrap();
        assert!(matcher.matches(&own), "the selector does mean this process");
        assert!(find(&matcher).iter().all(|found| found.pid != own.pid));
        let mut pid = own.pid;
        while pid > 0 {
            assert!(own_line().contains(&pid));
            pid = stat(pid).map_or(0, |stat| stat.parent);
        }
        assert!(Held::hold(&own).is_err());
    }

    #[test]
    fn a_program_is_known_by_path_by_name_and_as_a_script() {
        let seen = |executable: &str, arguments: &[&str]| Seen {
            pid: 9,
            parent: 1,
            group: 9,
            started_ticks: 0,
            executable: Some(executable.into()),
            arguments: arguments.iter().map(|text| text.to_string()).collect(),
            uid: 0,
        };
        let slon = seen("/usr/lib/slon (deleted)", &["slon", "-f", "/etc/slon.conf"]);
        assert!(slon.is_program("slon") && slon.is_program("/usr/lib/slon"));
        assert!(!slon.is_program("slo") && !slon.is_program("/usr/bin/slon"));
        let script = seen("/usr/bin/bash", &["/bin/bash", "-e", "/opt/app/watchdog.sh", "slon"]);
        assert!(script.is_program("watchdog.sh") && script.is_program("/opt/app/watchdog.sh"));
        assert!(!script.is_program("slon"), "an argument is not the program");
        assert!(!seen("/usr/bin/vim", &["vim", "/opt/app/watchdog.sh"]).is_program("watchdog.sh"));
        assert!(!seen("/bin/sh", &["sh", "-c", "slon"]).is_program("slon"));
    }
}
