//! All machines of a world, with what belongs to it: addresses, the registry of its processes, the keeper that sweeps it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use super::{Effect, Machine, Service, effects, layout};
use crate::{
    cluster::AgentSetting,
    horizon::Network,
    processes::{Keeper, Process, ProcessId, Registry, kill_until_gone, signal},
};

/// How long a script of a machine may take.
const SCRIPT_WITHIN: Duration = Duration::from_secs(60);

/// The machines. Dropped, everything that runs on them is ended.
#[derive(Debug)]
pub struct Fleet {
    directory: PathBuf,
    helper: PathBuf,
    machines: BTreeMap<String, Machine>,
    network: Network,
    registry: Registry,
    _keeper: Keeper,
}

/// What a machine's administrator allows its agent besides the machine's own services.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Databases, as a policy file names them: `master`, `10.0.0.1:1433/master`.
    pub databases: Vec<String>,
    /// Programs besides the service scripts.
    pub programs: Vec<String>,
    /// Paths.
    pub paths: Vec<String>,
    /// Cmdlets of PowerShell.
    pub cmdlets: Vec<String>,
    pub secrets: BTreeMap<String, String>,
}

impl Fleet {
    /// No machine yet. What a crashed predecessor left in the directory is swept first.
    /// `helper` is the `baton-lab` program: services and keeper are its hidden subcommands.
    pub fn build(directory: &Path, network: Network, helper: PathBuf) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let directory = fs::canonicalize(directory)?;
        let (registry, swept) = Registry::begin(&directory)?;
        if swept > 0 {
            tracing::warn!(swept, directory = %directory.display(), "ended what a crashed lab had left");
        }
        let keeper = Keeper::start(&helper, &registry)?;
        Ok(Self { directory, helper, machines: BTreeMap::new(), network, registry, _keeper: keeper })
    }

    /// A machine more, at host number `host` of the network. Nothing runs on it yet.
    pub fn add(&mut self, name: &str, host: u8, services: &[Service]) -> Result<Machine> {
        ensure!(!self.machines.contains_key(name), "there are two machines {name}");
        let root = self.directory.join(name);
        let machine = Machine { name: name.to_owned(), address: self.network.address(host), root };
        layout::write(&machine, &self.helper, &self.registry)?;
        services.iter().try_for_each(|service| layout::add(&machine, service))?;
        self.machines.insert(name.to_owned(), machine.clone());
        Ok(machine)
    }

    /// # Panics
    /// When the world has no such machine.
    pub fn machine(&self, name: &str) -> &Machine {
        self.machines.get(name).unwrap_or_else(|| panic!("there is no machine {name}"))
    }

    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// For whoever starts more processes of this world.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `service NAME VERB` on a machine. An error holds the exit code and what it said.
    pub async fn service(&self, machine: &str, service: &str, verb: &str) -> Result<String> {
        let what = format!("service {service} {verb} on {machine}");
        let mut command = tokio::process::Command::new(self.machine(machine).service_command());
        command.args([service, verb]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::time::timeout(SCRIPT_WITHIN, command.kill_on_drop(true).output());
        let output = output.await.with_context(|| format!("{what}: no end"))?.with_context(|| what.clone())?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{what}: {}: {}", output.status, said.trim());
        Ok(said.trim().to_owned())
    }

    /// The process of a service, if it runs.
    pub fn process(&self, machine: &str, service: &str) -> Option<ProcessId> {
        let text = fs::read_to_string(self.machine(machine).pid_file(service)).ok()?;
        let process = Process::read(text.trim().parse().ok()?)?;
        let mine = fs::read(format!("/proc/{}/cmdline", process.id.pid)).ok()?;
        let mut words = mine.split(|byte| *byte == 0);
        (words.any(|word| word == service.as_bytes()) && process.id.alive()).then_some(process.id)
    }

    pub fn runs(&self, machine: &str, service: &str) -> bool {
        self.process(machine, service).is_some()
    }

    /// SIGKILL to a service, as a crash of it. `false`: it did not run.
    pub fn kill(&self, machine: &str, service: &str) -> Result<bool> {
        let Some(id) = self.process(machine, service) else { return Ok(false) };
        let left = || Process::read(id.pid).filter(|process| process.id == id && id.alive()).into_iter().collect();
        kill_until_gone(left, Duration::from_secs(10))?;
        Ok(true)
    }

    /// Stops or continues the clock of a service. `false`: it does not run.
    pub fn freeze(&self, machine: &str, service: &str, frozen: bool) -> bool {
        let what = if frozen { Signal::STOP } else { Signal::CONT };
        self.process(machine, service).is_some_and(|id| signal(id, what))
    }

    /// Cuts a machine's power: everything that was started on it, its agent too, gets SIGKILL. Returns how many died.
    pub fn crash(&self, machine: &str) -> Result<usize> {
        let nowhere = self.directory.join("no-postgres-here");
        let left = || self.registry.members_on(machine, &nowhere).unwrap_or_default();
        let died = kill_until_gone(left, Duration::from_secs(10))?;
        // As in a fresh /run.
        for entry in fs::read_dir(self.machine(machine).path("/run"))?.flatten() {
            fs::remove_file(entry.path())?;
        }
        Ok(died)
    }

    /// What was done to a machine's services, by their own word.
    pub fn effects(&self, machine: &str) -> Result<Vec<Effect>> {
        let path = self.machine(machine).effects();
        effects(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Asks a health page until it answers 200; returns what it says.
    pub async fn healthy(&self, machine: &str, port: u16, within: Duration) -> Result<String> {
        let begun = Instant::now();
        loop {
            let seen = match self.health(machine, port, "").await {
                Ok((200, body)) => return Ok(body),
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => error.to_string(),
            };
            if begun.elapsed() > within {
                bail!("port {port} of {machine} is not healthy after {within:?}: {seen}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks a health page once. An error: nobody listens, or no answer in time.
    pub async fn health(&self, machine: &str, port: u16, path: &str) -> std::io::Result<(u16, String)> {
        super::program::ask(self.machine(machine).at(port), path).await
    }

    /// What the machine's agent may touch: its own services, and what is allowed besides.
    pub fn agent(&self, machine: &str, allowed: &Allowed) -> Result<AgentSetting> {
        let machine = self.machine(machine);
        let mut services = Vec::new();
        for entry in fs::read_dir(machine.init_scripts())?.flatten() {
            services.push(entry.file_name().to_string_lossy().into_owned());
        }
        services.sort();
        let root = machine.root.display();
        let mut programs = vec![format!("{root}/etc/init.d/*"), format!("{root}/bin/*")];
        programs.extend(allowed.programs.iter().cloned());
        let secrets: Vec<&String> = allowed.secrets.keys().collect();
        let list = |name: &str, entries: &[String]| {
            let entries: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
            format!("{name} = [{}]\n", entries.join(", "))
        };
        let policy = list("services", &services)
            + &list("programs", &programs)
            + &list("paths", &allowed.paths)
            + &list("databases", &allowed.databases)
            + &list("cmdlets", &allowed.cmdlets)
            + &list("secrets", &secrets.into_iter().cloned().collect::<Vec<_>>());
        Ok(AgentSetting {
            policy,
            secrets: allowed.secrets.clone(),
            machine: Some(machine.name.clone()),
            init_scripts: Some(machine.init_scripts()),
            tables: String::new(),
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The keeper would do it too, but only after this process has let go of everything.
        if let Err(error) = self.registry.sweep() {
            tracing::error!(%error, "could not sweep the world");
        }
    }
}
