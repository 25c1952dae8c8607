//! The world put together: Baton's shipped programs, each in its namespace, the group, the component, its clients.
//!
//! It must never wait for a time to pass, only for something to become true; and never call anything true because Baton says so where
//! the component's own record can tell.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::{
    cluster::{AgentSetting, Binaries, Cluster, Ground, OPERATOR, PORT},
    processes::{Process, Registry, signal},
};

use super::{
    clients::Clients,
    clocks::{Clocks, Leftovers},
    component, group,
    judge::{self, Tenancy, Verdict},
    network::{COORDINATORS, HOSTS, Network, OUTSIDE, address},
    watchdog::Watchdog,
};

/// What may take long on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Who has written this lately is active.
const LATELY: Duration = Duration::from_millis(100);

/// Times of the coordinators, where nothing else is wished for.
pub const TIMES: &str = "[raft]\nheartbeat_ms = 100\nelection_min_ms = 400\nelection_max_ms = 800\n\n\
                    [delivery]\nheartbeat_ms = 300\nunreachable_after_ms = 1000\n";

/// How a world is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub pace: group::Pace,
    /// The tables of the coordinators' configuration; [`TIMES`] without it.
    pub times: Option<String>,
    /// A library that every agent and coordinator is loaded with, so that its wall clock can be set ([`World::set_clock`]).
    pub clocks: Option<PathBuf>,
    /// Each host has a watchdog, which its agent must keep alive.
    pub watchdogs: bool,
}

/// See the module. Dropped, everything that it started is ended.
pub struct World {
    // Dropped in this order: who uses it, what runs in it, the network, the files.
    pub clients: Clients,
    pub cluster: Cluster,
    pub watchdogs: BTreeMap<&'static str, Watchdog>,
    pub registry: Registry,
    pub network: Network,
    clocks: Option<Clocks>,
    _leftovers: Leftovers,
    helper: PathBuf,
    root: PathBuf,
    _directory: tempfile::TempDir,
}

impl World {
    /// Built, and its component active on h1. `helper`: the program `baton-lab`.
    pub fn build(helper: PathBuf, binaries: Binaries, options: &Options) -> Result<Self> {
        baton_platform::tls::install_crypto_provider();
        let directory = tempfile::Builder::new().prefix("baton-lab-").tempdir()?;
        let root = directory.path().canonicalize()?;
        let (registry, _) = Registry::begin(&root)?;
        let network = Network::make()?;
        let files: BTreeMap<String, PathBuf> = COORDINATORS
            .iter()
            .chain(&HOSTS)
            .map(|place| ((*place).to_owned(), network.file(place)))
            .chain([(OPERATOR.to_owned(), network.file(OUTSIDE))])
            .collect();
        let clocks = options.clocks.clone().map(|library| Clocks::new(library, root.clone()));
        let of_places = clocks.clone();
        let enter = move |place: &str, program: &Path| {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", files[place].display())).arg("--").arg(program);
            if let Some(clocks) = of_places.as_ref().filter(|_| place != OPERATOR) {
                clocks.apply(place, &mut command);
            }
            command
        };
        if let Some(clocks) = &clocks {
            COORDINATORS.iter().chain(&HOSTS).try_for_each(|place| clocks.set(place, "+0"))?;
        }
        let coordinators = COORDINATORS.map(|place| SocketAddr::from((address(place), PORT)));
        let ground = Ground::at(coordinators, options.times.clone().unwrap_or_else(|| TIMES.to_owned()), enter);
        let cluster = Cluster::start_on(ground, &registry, &root.join("baton"), binaries)?;
        let clients = Clients::start(&network)?;
        let watchdogs = BTreeMap::new();
        let mut world = Self {
            clients,
            cluster,
            watchdogs,
            registry,
            network,
            clocks,
            _leftovers: Leftovers,
            helper,
            root,
            _directory: directory,
        };
        for host in HOSTS {
            let place = world.place(host);
            fs::create_dir_all(&place)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
            let policy = format!("programs = ['/bin/sh', '{}']\n", world.helper.display());
            let mut tables = String::from("[watchdog]\nmode = \"off\"\n");
            if options.watchdogs {
                let device = place.join("watchdog");
                let watchdog = Watchdog::start(&device, group::STOP_WITHIN, world.network.inhabitants(host))?;
                world.watchdogs.insert(host, watchdog);
                tables = format!("[watchdog]\ndevice = \"{}\"\nmode = \"required\"\n", device.display());
            }
            let setting = AgentSetting { policy, tables, ..AgentSetting::default() };
            world.cluster.add_agent(&world.registry, host, &setting)?;
        }
        world.cluster.wait_for_agents(&HOSTS, PATIENCE)?;
        let files = world.root.join("files");
        group::write(&files, &world.root, &world.helper, &options.pace)?;
        world.say(&["apply", &files.join("group.yaml").display().to_string(), "--reason", "the first day"])?;
        world.run("start", &[])?;
        world.until_active("h1")?;
        Ok(world)
    }

    /// The component's folder on a host.
    pub fn place(&self, host: &str) -> PathBuf {
        self.root.join(host)
    }

    /// Sets the wall clock of an agent or coordinator off from the machine's: `+3600`, `-3600`, `+0`.
    pub fn set_clock(&self, place: &str, offset: &str) -> Result<()> {
        self.clocks.as_ref().context("a world whose clocks can be set")?.set(place, offset)
    }

    /// Runs a runbook to its end; it must succeed.
    pub fn run(&self, runbook: &str, more: &[&str]) -> Result<()> {
        let mut words = vec!["run", group::GROUP, runbook, "--yes", "--reason", "a test"];
        words.extend(more);
        self.say(&words)
    }

    /// A `baton` command that must go well.
    pub fn say(&self, words: &[&str]) -> Result<()> {
        let said = self.cluster.baton(words)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(said.status.success(), "baton {}: {}{}", words.join(" "), text(&said.stdout), text(&said.stderr));
        Ok(())
    }

    /// What Baton says of the group: for messages, and for what only it can know.
    pub fn status(&self) -> Result<Value> {
        self.cluster.json(&["status", group::GROUP])
    }

    /// Each time that the component ran, by its own record.
    pub fn tenancies(&self) -> Vec<Tenancy> {
        HOSTS.iter().flat_map(|host| component::tenancies(&self.place(host), host)).collect()
    }

    /// Whoever is active now, by hand started or not.
    pub fn active(&self) -> Vec<Tenancy> {
        let mut tenancies = self.tenancies();
        let now = component::now_ns();
        tenancies.retain(|one| Duration::from_nanos(now.saturating_sub(one.last_ns)) < LATELY);
        tenancies
    }

    /// The highest epoch that the component has been started with.
    pub fn epoch(&self) -> u64 {
        self.tenancies().iter().map(|one| one.epoch).max().unwrap_or(0)
    }

    /// Waits until the component is active on this host, and nowhere else, in the newest epoch. Answers the epoch.
    pub fn until_active(&self, host: &str) -> Result<u64> {
        until(&format!("{host} active"), || match self.active().as_slice() {
            [one] if one.host == host && one.epoch == self.epoch() => Ok(one.epoch),
            other => bail!("active: {other:?}; {}", self.story()),
        })
    }

    /// Waits until the component is active on this host in a newer epoch than that.
    pub fn until_taken_over(&self, host: &str, epoch: u64) -> Result<u64> {
        until(&format!("{host} active in an epoch after {epoch}"), || {
            let found = self.active().into_iter().find(|one| one.host == host && one.epoch > epoch);
            found.map(|one| one.epoch).ok_or_else(|| anyhow!("active: {:?}; {}", self.active(), self.story()))
        })
    }

    /// Waits until this host has taken that many more writes in this epoch.
    pub fn until_taken(&self, host: &str, epoch: u64, more: usize) -> Result<()> {
        let begun = self.clients.taken(host, epoch);
        until(&format!("{more} more writes taken by {host} in epoch {epoch}"), || {
            let taken = self.clients.taken(host, epoch) - begun;
            ensure!(taken >= more, "{taken} taken; active: {:?}; {}", self.active(), self.story());
            Ok(())
        })
    }

    /// Waits until the clients have had writes taken by this host in this epoch for so long, by the times of the writes. Answers the
    /// longest time that nobody had one taken. Any other epoch or host meanwhile is wrong.
    pub fn until_served(&self, host: &str, epoch: u64, span: Duration) -> Result<Duration> {
        let begun_ns = component::now_ns();
        let acks = until(&format!("writes taken by {host} in epoch {epoch} for {span:?}"), || {
            let mut acks = self.clients.acks();
            acks.retain(|ack| ack.at_ns >= begun_ns);
            let last_ns = acks.last().map_or(begun_ns, |ack| ack.at_ns);
            let so_far = Duration::from_nanos(last_ns - begun_ns);
            ensure!(so_far >= span, "for {so_far:?}; active: {:?}; {}", self.active(), self.story());
            Ok(acks)
        })?;
        if let Some(foreign) = acks.iter().find(|ack| ack.host != host || ack.epoch != epoch) {
            bail!("a write was taken elsewhere: {foreign:?}; {}", self.story());
        }
        let mut at: Vec<u64> = acks.iter().map(|ack| ack.at_ns).collect();
        at.sort_unstable();
        let pauses = at.windows(2).map(|pair| pair[1] - pair[0]);
        Ok(Duration::from_nanos(pauses.max().unwrap_or(0).max(at[0] - begun_ns)))
    }

    /// The lines that the runbook `note` has written on a host.
    pub fn notes(&self, host: &str) -> usize {
        fs::read_to_string(self.place(host).join("notes")).unwrap_or_default().lines().count()
    }

    /// Waits until the coordinators that have a host's agent on the line are exactly these.
    pub fn until_reached_by(&self, host: &str, coordinators: &[&str]) -> Result<()> {
        until(&format!("{host} reached by {coordinators:?}"), || {
            let hosts = self.cluster.json(&["hosts"])?;
            let view = hosts.as_array().into_iter().flatten().find(|view| view["name"] == host);
            let mut by: Vec<&str> = view
                .iter()
                .flat_map(|view| view["reached_by"].as_array())
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            by.sort_unstable();
            ensure!(by == coordinators, "reached by {by:?}");
            Ok(())
        })
    }

    /// The name of the coordinator that leads.
    pub fn leader(&self) -> Result<&'static str> {
        Ok(COORDINATORS[self.cluster.wait_for_leader(PATIENCE)?])
    }

    /// Waits until agents are on the line, no run is open and each host is what the role makes of it.
    pub fn until_settled(&self) -> Result<Value> {
        self.cluster.wait_for_agents(&HOSTS, PATIENCE)?;
        until("a settled group", || {
            let status = self.status()?;
            ensure!(status["open_run"].is_null(), "a run is open: {status}");
            Ok(status)
        })
    }

    /// What a page says to who asks at this place: its status, and its body. Nothing where nobody answers.
    pub fn page(&self, place: &str, port: u16, path: &str) -> Option<(u16, Value)> {
        const ASK: &str = r#"exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET %s HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n' "$2" >&3 && cat <&3"#;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network.file(place).display())).args(["--", "bash", "-c", ASK, "page"]);
        let said = command.args([&port.to_string(), path]).output().ok().filter(|said| said.status.success())?;
        let text = String::from_utf8(said.stdout).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
    }

    /// A component started on this host by somebody who asks nobody.
    pub fn intrude(&self, host: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network.file(host).display())).arg("--").arg("/bin/sh");
        command.arg(self.root.join("files/start.sh")).arg(&self.helper).arg(self.place(host)).arg(host).arg("0");
        let started = command.status().context("start it by hand")?;
        ensure!(started.success(), "started by hand: {started}");
        Ok(())
    }

    /// SIGKILL to the component of a host. False: it does not run.
    pub fn kill_component(&self, host: &str) -> bool {
        let place = self.place(host).display().to_string();
        let runs = |process: &Process| process.command.iter().any(|word| *word == component::SUBCOMMAND);
        let here = |process: &Process| process.command.contains(&place);
        let program = |process: &Process| process.command.first().is_some_and(|program| program.ends_with("baton-lab"));
        let found = crate::processes::table::all().into_iter();
        let found = found.filter(|process| runs(process) && here(process) && program(process));
        found.filter(|process| signal(process.id, rustix::process::Signal::KILL)).count() > 0
    }

    /// Everything that was written down so far, judged.
    pub fn judge(&self) -> Result<Verdict> {
        // In this order: what a client knows, the record has.
        let acks = self.clients.acks();
        judge::judge(&self.tenancies(), &acks).map_err(|wrong| anyhow!("{wrong}\n{}", self.story()))
    }

    /// What is cut, and the last runs, for a failed test.
    pub fn story(&self) -> String {
        let status = self.status().map_or_else(|error| format!("{error:#}"), |status| status.to_string());
        format!("damage: {}; {status}", self.network.damage())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        // What the processes said last is worth more than what the test saw.
        for place in COORDINATORS.iter().chain(&HOSTS) {
            let text = fs::read_to_string(self.root.join("baton").join(place).join("log")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- {place}\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Asks again until it goes well.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(value) => return Ok(value),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(error.context(format!("not within {PATIENCE:?}: {what}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
