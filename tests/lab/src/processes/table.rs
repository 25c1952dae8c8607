//! Reads the kernel's table of processes. Never signals anything.

use std::{collections::BTreeSet, fmt, fs, path::PathBuf};

/// A process number that cannot be mistaken for a later process of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The number.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine booted (field 22 of `/proc/PID/stat`).
    pub started: u64,
}

impl ProcessId {
    /// The identity of the process that has this number now. `None`: there is none, or only its zombie.
    pub fn of(pid: i32) -> Option<Self> {
        Process::read(pid).map(|process| process.id)
    }

    /// Whether this very process still runs.
    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// One running process. Zombies are not processes here: they hold nothing but their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Number and start.
    pub id: ProcessId,
    /// The parent's number.
    pub parent: i32,
    /// The name the kernel knows, at most 15 bytes.
    pub name: String,
    /// Whether it is stopped by a signal (frozen).
    pub stopped: bool,
    /// The command line.
    pub command: Vec<String>,
    /// Its current directory, where readable.
    pub directory: Option<PathBuf>,
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.id.pid, self.command.join(" "))
    }
}

impl Process {
    /// Reads one process.
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything, parentheses too: the last one ends it.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let state = *fields.first()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        let parent = fields.get(1)?.parse().ok()?;
        let started = fields.get(19)?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Some(Self {
            id: ProcessId { pid, started },
            parent,
            name,
            stopped: matches!(state, "T" | "t"),
            command: split(&command),
            directory: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
        })
    }

    /// The environment it was started with, as `NAME=value`. Empty where it may not be read, and for programs that
    /// write over it (PostgreSQL does, for its title).
    pub fn environment(&self) -> Vec<String> {
        split(&fs::read(format!("/proc/{}/environ", self.id.pid)).unwrap_or_default())
    }
}

/// Every process of the machine, in order of number.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids: BTreeSet<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    pids.into_iter().filter_map(Process::read).collect()
}

/// This process and those it descends from: what must never be swept.
pub fn ancestry() -> BTreeSet<i32> {
    let mut line = BTreeSet::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or_default();
    while pid > 0 && line.insert(pid) {
        pid = Process::read(pid).map_or(0, |process| process.parent);
    }
    line
}

fn split(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}
