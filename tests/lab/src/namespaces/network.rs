//! The namespaces of a world and the cable between them: a bridge in a namespace of its own, everybody else on it.
//!
//! Nothing of it is in the machine's own namespace, so that addresses mean nothing outside and no rule of the machine is touched.
//! A name says who owns it, so that what a crashed predecessor left is swept; it must never touch a namespace that somebody still
//! owns, or whose name it has not given.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::processes::{Process, ProcessId, kill_until_gone};

/// Every namespace of ours begins like this; the owner's number and start time follow.
const PREFIX: &str = "baton-t";
const NAMESPACES: &str = "/run/netns";
/// The place of the bridge. Nobody lives there.
const BRIDGE: &str = "bridge";
/// Who lives in a world: coordinators, hosts, and people and clients elsewhere.
pub const PLACES: [&str; 6] = ["c1", "c2", "c3", "h1", "h2", OUTSIDE];
pub const COORDINATORS: [&str; 3] = ["c1", "c2", "c3"];
pub const HOSTS: [&str; 2] = ["h1", "h2"];
pub const OUTSIDE: &str = "out";
static MADE: AtomicU32 = AtomicU32::new(0);

/// See the module. Dropped, it is gone, with whatever still runs in it.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    /// (from, to): what `from` sends to `to` goes nowhere.
    cuts: BTreeSet<(String, String)>,
    /// Whose cable is pulled.
    pulled: BTreeSet<String>,
}

impl Network {
    /// A new one, whole. What the dead have left is swept first.
    pub fn make() -> Result<Self> {
        sweep()?;
        let own = i32::try_from(std::process::id()).context("a process number")?;
        let started = ProcessId::of(own).context("this process runs")?.started;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            prefix: format!("{PREFIX}{own}-{started}-{number}-"),
            cuts: BTreeSet::new(),
            pulled: BTreeSet::new(),
        };
        let bridge = network.name(BRIDGE);
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "wire", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "wire", "up"])?;
        for place in PLACES {
            let name = network.name(place);
            let address = format!("{}/24", address(place));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &bridge, "link", "add", place, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
            ip(&["-n", &bridge, "link", "set", place, "master", "wire", "up"])?;
            ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        }
        Ok(network)
    }

    fn name(&self, place: &str) -> String {
        format!("{}{place}", self.prefix)
    }

    /// The file that is a place's namespace.
    pub fn file(&self, place: &str) -> PathBuf {
        Path::new(NAMESPACES).join(self.name(place))
    }

    /// Who lives at a place.
    pub fn inhabitants(&self, place: &str) -> Inhabitants {
        Inhabitants(self.name(place))
    }

    /// What `from` sends to `to` goes nowhere from now on; what `to` sends arrives.
    pub fn cut_one_way(&mut self, from: &str, to: &str) -> Result<()> {
        if self.cuts.insert((from.to_owned(), to.to_owned())) {
            ip(&["-n", &self.name(from), "route", "add", "blackhole", &format!("{}/32", address(to))])?;
        }
        Ok(())
    }

    /// Nothing gets from one to the other, either way.
    pub fn cut(&mut self, one: &str, other: &str) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// From everybody: its own processes still reach each other.
    pub fn isolate(&mut self, place: &str) -> Result<()> {
        PLACES.iter().filter(|other| **other != place).try_for_each(|other| self.cut(place, other))
    }

    /// The cable is out: the kernel knows, too.
    pub fn pull(&mut self, place: &str) -> Result<()> {
        if self.pulled.insert(place.to_owned()) {
            ip(&["-n", &self.name(place), "link", "set", "eth0", "down"])?;
        }
        Ok(())
    }

    /// Everybody reaches everybody again.
    pub fn heal(&mut self) -> Result<()> {
        for place in std::mem::take(&mut self.pulled) {
            ip(&["-n", &self.name(&place), "link", "set", "eth0", "up"])?;
        }
        for (from, to) in std::mem::take(&mut self.cuts) {
            ip(&["-n", &self.name(&from), "route", "del", "blackhole", &format!("{}/32", address(&to))])?;
        }
        Ok(())
    }

    /// What is cut and pulled now, in words.
    pub fn damage(&self) -> String {
        let cuts = self.cuts.iter().map(|(from, to)| format!("{from}→{to}"));
        let pulled = self.pulled.iter().map(|place| format!("{place} unplugged"));
        cuts.chain(pulled).collect::<Vec<_>>().join(" ")
    }
}

/// The processes of one place; by the kernel's own list.
#[derive(Debug, Clone)]
pub struct Inhabitants(String);

impl Inhabitants {
    pub fn all(&self) -> Vec<Process> {
        let pids = ip(&["netns", "pids", &self.0]).unwrap_or_default();
        let own = std::process::id().to_string();
        // A client of ours is a thread there, and not an inhabitant.
        let pids = pids.split_whitespace().filter(|pid| **pid != own);
        pids.filter_map(|pid| Process::read(pid.parse().ok()?)).collect()
    }

    /// A power cut.
    pub fn kill(&self) -> Result<usize> {
        Ok(kill_until_gone(|| self.all(), Duration::from_secs(10))?)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let places = PLACES.iter().chain([&BRIDGE]);
        for place in places {
            if let Err(error) = remove(&self.name(place)) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Where a place is, inside.
pub fn address(place: &str) -> Ipv4Addr {
    let number = PLACES.iter().position(|known| *known == place).expect("a place of PLACES");
    Ipv4Addr::new(10, 77, 0, u8::try_from(number + 1).expect("few places"))
}

/// Removes the namespaces of owners that are dead, and what still runs in them.
fn sweep() -> Result<()> {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|owner| !owner.alive()) {
            remove(&name)?;
        }
    }
    Ok(())
}

fn owner(name: &str) -> Option<ProcessId> {
    let mut words = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let (pid, started) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().map(|_| ProcessId { pid, started })
}

/// What lives in a namespace of ours is ours.
fn remove(name: &str) -> Result<()> {
    if !Path::new(NAMESPACES).join(name).exists() {
        return Ok(());
    }
    Inhabitants(name.to_owned()).kill()?;
    ip(&["netns", "del", name]).map(drop)
}

fn ip(words: &[&str]) -> Result<String> {
    let said = Command::new("ip").args(words).output().context("run ip")?;
    if !said.status.success() {
        bail!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&said.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_an_owner() {
        assert_eq!(owner("baton-t12-345-0-c1"), Some(ProcessId { pid: 12, started: 345 }));
        for foreign in ["baton-thing", "baton-t12", "baton-t12-345", "bato-t12-345-0-c1", "docker-1-2-3"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}
