//! The file that names every process of a world, so that a successor can sweep what a crashed lab left.
//!
//! A process belongs to the world when the registry names its number and start time; or when it carries the
//! world's mark in its environment, which children inherit; or when it is a PostgreSQL process in one of the
//! world's data directories (PostgreSQL writes over its environment); or when it descends from one of these.
//! Scripts append to the file as well, so its lines are plain words:
//!
//! ```text
//! boot 4c0e…             the boot in which all this is true
//! mark 9f3a…             BATON_LAB_WORLD in the environment
//! data /…/sp-a/pgdata    a server's data directory
//! pid 4711 8123456 slon fdb of sp-a
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::RngExt;
use rustix::process::Signal;

use super::{Error, Process, ProcessId, kill_until_gone, signal, table};

/// The environment variable that marks a world's processes.
pub const WORLD_VARIABLE: &str = "BATON_LAB_WORLD";
/// The environment variable that says which machine of the world a process runs on.
pub const APPLIANCE_VARIABLE: &str = "BATON_LAB_APPLIANCE";

/// The registry of one world, held open and locked by the lab that runs it.
#[derive(Debug)]
pub struct Registry {
    path: PathBuf,
    mark: String,
    // Held for its lock: a second lab in the same directory is refused while this one lives.
    _lock: File,
}

/// What a registry file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    boot: String,
    mark: String,
    data: BTreeSet<PathBuf>,
    pids: BTreeMap<ProcessId, String>,
}

impl Registry {
    /// Takes the directory: sweeps what a crashed predecessor left there, and begins a new registry with a new mark.
    /// Returns how many processes were swept.
    pub fn begin(directory: &Path) -> Result<(Self, usize), Error> {
        let lock_path = directory.join("world.lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|source| Error::File { verb: "open", path: lock_path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(Error::File { verb: "lock", path: lock_path, source }),
        }
        let path = directory.join("processes");
        // A dead predecessor's keeper may be sweeping just now: one after the other.
        let _turn = take_turn(directory)?;
        let swept = sweep(&path)?;
        let mark: String = (0..4).map(|_| format!("{:08x}", rand::rng().random::<u32>())).collect();
        let text = format!("boot {}\nmark {mark}\n", boot());
        fs::write(&path, text).map_err(|source| Error::File { verb: "write", path: path.clone(), source })?;
        Ok((Self { path, mark, _lock: lock }, swept))
    }

    /// The file, for scripts that register what they start.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of [`WORLD_VARIABLE`] for every process of this world.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Names a process that was just started. A process that has ended already is nothing to remember.
    pub fn add(&self, pid: i32, what: &str) -> Result<(), Error> {
        match ProcessId::of(pid) {
            Some(id) => self.append(&format!("pid {} {} {what}\n", id.pid, id.started)),
            None => Ok(()),
        }
    }

    /// Names a PostgreSQL data directory, before the server in it is started.
    pub fn add_data(&self, directory: &Path) -> Result<(), Error> {
        self.append(&format!("data {}\n", directory.display()))
    }

    /// Every process of the world that runs now.
    pub fn members(&self) -> Result<Vec<Process>, Error> {
        Ok(Contents::read(&self.path)?.members(None))
    }

    /// The processes of one machine of the world: those marked with its name, and its database server's.
    pub fn members_on(&self, machine: &str, data: &Path) -> Result<Vec<Process>, Error> {
        let mut contents = Contents::read(&self.path)?;
        contents.data.retain(|directory| directory == data);
        contents.pids.clear();
        Ok(contents.members(Some(machine)))
    }

    /// Ends everything in the world.
    pub fn sweep(&self) -> Result<usize, Error> {
        sweep(&self.path)
    }

    fn append(&self, line: &str) -> Result<(), Error> {
        let file = OpenOptions::new().append(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|source| Error::File { verb: "append to", path: self.path.clone(), source })
    }
}

impl Contents {
    /// Reads a registry. One that is not there names nothing.
    pub fn read(path: &Path) -> Result<Self, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::File { verb: "read", path: path.to_owned(), source }),
        }
    }

    /// Lines that are cut short (a script was killed while it wrote) name nothing.
    pub fn parse(text: &str) -> Self {
        let mut contents = Self::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split_once(' ') {
                Some(("boot", id)) => contents.boot = id.to_owned(),
                Some(("mark", mark)) => contents.mark = mark.to_owned(),
                Some(("data", directory)) => drop(contents.data.insert(directory.into())),
                Some(("pid", rest)) => {
                    let mut words = rest.splitn(3, ' ');
                    let id =
                        words.next().and_then(|pid| pid.parse().ok()).zip(words.next().and_then(|at| at.parse().ok()));
                    if let Some((pid, started)) = id {
                        contents.pids.insert(ProcessId { pid, started }, words.next().unwrap_or_default().to_owned());
                    }
                }
                _ => {}
            }
        }
        contents
    }

    fn members(&self, machine: Option<&str>) -> Vec<Process> {
        // Numbers and start times mean something only within one boot of the machine.
        if self.boot != boot() || self.mark.is_empty() {
            return Vec::new();
        }
        let world = format!("{WORLD_VARIABLE}={}", self.mark);
        let machine = machine.map(|name| format!("{APPLIANCE_VARIABLE}={name}"));
        let marked = |process: &Process| {
            let environment = process.environment();
            environment.contains(&world) && machine.as_ref().is_none_or(|machine| environment.contains(machine))
        };
        let serves = |process: &Process| {
            process.name == "postgres" && process.directory.as_ref().is_some_and(|here| self.data.contains(here))
        };
        let own = table::ancestry();
        let all: Vec<Process> = table::all().into_iter().filter(|process| !own.contains(&process.id.pid)).collect();
        let named = |process: &&Process| self.pids.contains_key(&process.id) || serves(process) || marked(process);
        let mut members: BTreeMap<i32, Process> =
            all.iter().filter(named).map(|found| (found.id.pid, found.clone())).collect();
        // Descendants, until a round adds none.
        loop {
            let before = members.len();
            for process in &all {
                if members.contains_key(&process.parent) {
                    members.entry(process.id.pid).or_insert_with(|| process.clone());
                }
            }
            if members.len() == before {
                return members.into_values().collect();
            }
        }
    }
}

/// Every process that the registry at `path` names and that still runs; also of a world whose lab is dead.
pub fn survivors(path: &Path) -> Result<Vec<Process>, Error> {
    Ok(Contents::read(path)?.members(None))
}

/// Ends what the registry names, if it still is the registry of the world with this mark. A successor in the same
/// directory has swept already, and its servers are in the same places: they must not be touched.
pub fn sweep_own(path: &Path, mark: &str) -> Result<usize, Error> {
    let _turn = take_turn(path.parent().unwrap_or(Path::new(".")))?;
    if Contents::read(path)?.mark == mark { sweep(path) } else { Ok(0) }
}

/// Held while a world is swept or a registry begun, so that a keeper and a successor never do so at once.
fn take_turn(directory: &Path) -> Result<File, Error> {
    let path = directory.join("sweep.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| Error::File { verb: "lock", path, source })
}

/// Ends every process that the registry at `path` names, and frees the shared memory of its dead servers.
pub fn sweep(path: &Path) -> Result<usize, Error> {
    let contents = Contents::read(path)?;
    let mut swept = 0;
    let others = || contents.members(None).into_iter().filter(|process| process.name != "postgres").collect();
    swept += kill_until_gone(others, Duration::from_secs(15))?;
    // SIGQUIT is PostgreSQL's immediate shutdown: as abrupt, but its shared memory is given back.
    let servers: Vec<Process> = contents.members(None);
    for process in &servers {
        signal(process.id, Signal::CONT);
        signal(process.id, Signal::QUIT);
    }
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline && servers.iter().any(|process| process.id.alive()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    swept += servers.len();
    kill_until_gone(|| contents.members(None), Duration::from_secs(15))?;
    for directory in &contents.data {
        forget_dead_server(directory);
    }
    Ok(swept)
}

/// Clears what a killed server leaves outside its data: its shared memory, and its lock file.
/// Only for a server that is known to be dead.
///
/// The lock file would be harmless on a machine that rebooted. Here the dead server's number may still be taken by
/// its zombie (where process 1 is slow to collect them), and to PostgreSQL a zombie is a running server.
pub fn forget_dead_server(data: &Path) {
    free_shared_memory(data);
    drop(fs::remove_file(data.join("postmaster.pid")));
}

/// A server that was killed leaves a small System V segment, and the machine has only some thousands of them.
/// Removed only when its number and its key are those of the server's own lock file and nobody is attached.
fn free_shared_memory(data: &Path) {
    let Ok(lock) = fs::read_to_string(data.join("postmaster.pid")) else { return };
    let Some((key, id)) = lock.lines().nth(6).and_then(|line| {
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        Some((numbers.next()?, numbers.next()?))
    }) else {
        return;
    };
    let Ok(segments) = fs::read_to_string("/proc/sysvipc/shm") else { return };
    let ours = segments.lines().skip(1).any(|line| {
        let fields: Vec<u64> =
            line.split_whitespace().map(|word| word.parse::<i64>().unwrap_or(-1) as u32 as u64).collect();
        // key, shmid, perms, size, cpid, lpid, nattch
        fields.len() > 6 && fields[0] == u64::from(key as u32) && fields[1] == id && fields[6] == 0
    });
    if ours {
        drop(std::process::Command::new("ipcrm").args(["-m", &id.to_string()]).status());
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper(mark: Option<&str>) -> Child {
        let mut command = Command::new("sleep");
        command.arg("600");
        if let Some(mark) = mark {
            command.env(WORLD_VARIABLE, mark);
        }
        command.spawn().unwrap()
    }

    fn pid(child: &Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    #[test]
    fn a_successor_sweeps_what_the_registry_names_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (first, swept) = Registry::begin(directory.path()).unwrap();
        assert_eq!(swept, 0);
        let mut named = sleeper(None);
        first.add(pid(&named), "a named sleeper").unwrap();
        let mut marked = sleeper(Some(first.mark()));
        let mut stranger = sleeper(Some("another world"));
        // The number of a living process, but of another start: as if the number had been given away.
        let reused = ProcessId::of(pid(&stranger)).unwrap();
        first.append(&format!("pid {} {} somebody else now\n", reused.pid, reused.started - 1)).unwrap();
        assert_eq!(first.members().unwrap().len(), 2);

        assert!(matches!(Registry::begin(directory.path()), Err(Error::InUse { .. })));
        drop(first); // The predecessor is gone; its processes are not.
        let (second, swept) = Registry::begin(directory.path()).unwrap();
        assert_eq!(swept, 2);
        assert!(!named.wait().unwrap().success() && !marked.wait().unwrap().success());
        assert!(reused.alive());
        assert!(second.members().unwrap().is_empty());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_late_keeper_leaves_its_successors_world_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (first, _) = Registry::begin(directory.path()).unwrap();
        let earlier = first.mark().to_owned();
        drop(first);
        let (second, _) = Registry::begin(directory.path()).unwrap();
        let mut child = sleeper(Some(second.mark()));
        assert_eq!(sweep_own(second.path(), &earlier).unwrap(), 0);
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(sweep_own(second.path(), second.mark()).unwrap(), 1);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_line_cut_short_names_nothing() {
        let whole = Contents::parse("boot b\nmark m\npid 12 34 slon fdb of sp-a\n");
        assert_eq!(whole.pids.len(), 1);
        assert_eq!(Contents::parse("boot b\nmark m\npid 12 34 slon f").pids.len(), 0);
        assert_eq!(Contents::parse("pid 12\npid x y z\n").pids.len(), 0);
    }

    #[test]
    fn another_boot_names_nobody() {
        let child = sleeper(Some("m"));
        let mut child = child;
        let contents = Contents { boot: "an earlier boot".into(), mark: "m".into(), ..Contents::default() };
        assert!(contents.members(None).is_empty());
        assert_eq!(Contents { boot: boot(), ..contents }.members(None).len(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
