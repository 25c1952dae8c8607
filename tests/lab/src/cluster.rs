//! A Baton installation made of the shipped programs: three coordinators, an agent a host, and the `baton` command.
//!
//! Real processes with real certificates, started as a user's units would start them, so that killing one is killing one.
//! It must never reach into a program other than through what a user has: files, signals and the command.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use baton_platform::{
    ca::{CertificateAuthority, CreateOptions, IssueOptions},
    clock::SystemClock,
    identity::{Name, Role},
};
use serde_json::Value;

use crate::processes::{Daemon, Registry};

mod ground;
mod misfortune;

pub use ground::Ground;

/// Where coordinators listen.
pub const PORT: u16 = 7400;
/// The operator's place on a [`Ground`].
pub const OPERATOR: &str = "operator";

/// The shipped programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    pub coordinator: PathBuf,
    pub agent: PathBuf,
    pub baton: PathBuf,
}

impl Binaries {
    /// Builds what worlds run, in the profile in which `this` program was built, by the cargo that has started it. Started otherwise,
    /// the programs are what they are.
    ///
    /// Only these: the workspace's other programs double the time that somebody waits who sees Baton for the first time.
    pub fn build(this: &Path) -> Result<()> {
        let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
        // As cargo names the folder of a profile.
        let profile = this.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str());
        let profile = profile.filter(|name| *name != "debug").unwrap_or("dev");
        let programs =
            ["baton-coordinator", "baton-agent", "baton", "baton-lab", "baton-pwsh"].map(|name| ["--bin", name]);
        let built =
            Command::new(cargo).args(["build", "--quiet", "--profile", profile]).args(programs.concat()).status();
        ensure!(built.context("run cargo build")?.success(), "cargo build --profile {profile} failed");
        Ok(())
    }

    /// Those built beside the running program (or beside the folder of a test's program).
    pub fn beside_this() -> Result<Self> {
        let this = std::env::current_exe().context("find this program")?;
        let mut folders = this.ancestors().skip(1).take(2);
        folders.find_map(Self::in_folder).with_context(|| {
            format!(
                "baton-coordinator, baton-agent and baton are not beside {}: run \"cargo build --workspace --bins\" first",
                this.display()
            )
        })
    }

    /// Those in this folder, where all of them are there.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        let found = Self {
            coordinator: folder.join("baton-coordinator"),
            agent: folder.join("baton-agent"),
            baton: folder.join("baton"),
        };
        [&found.coordinator, &found.agent, &found.baton].iter().all(|path| path.is_file()).then_some(found)
    }
}

/// What an agent's host lets it touch: the text of its policy file, and its secrets.
#[derive(Debug, Clone, Default)]
pub struct AgentSetting {
    pub policy: String,
    pub secrets: BTreeMap<String, String>,
    /// The machine it lives on, for power cuts; its own name without it.
    pub machine: Option<String>,
    /// Its SysV scripts, where they are not the machine's own.
    pub init_scripts: Option<PathBuf>,
    /// More tables of its configuration.
    pub tables: String,
}

/// An installation. Dropped, its processes are killed.
pub struct Cluster {
    directory: PathBuf,
    binaries: Binaries,
    ground: Ground,
    authority: CertificateAuthority,
    coordinators: Vec<Node>,
    agents: BTreeMap<String, Node>,
}

struct Node {
    name: String,
    /// What it is started with the next time.
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    machine: Option<String>,
    daemon: Option<Daemon>,
}

impl Cluster {
    /// Three coordinators at `127.X.Y.201` to `203`, running, with a leader.
    pub fn start(registry: &Registry, directory: &Path, network: [u8; 2], binaries: Binaries) -> Result<Self> {
        Self::start_on(Ground::loopback(network), registry, directory, binaries)
    }

    /// Three coordinators on this ground, running, with a leader.
    pub fn start_on(ground: Ground, registry: &Registry, directory: &Path, binaries: Binaries) -> Result<Self> {
        make_directory(directory)?;
        let clock = SystemClock::new();
        let authority =
            CertificateAuthority::create(&directory.join("ca"), &CreateOptions::named(name("baton-lab")?), &clock)?;
        let mut cluster = Self {
            directory: directory.to_owned(),
            binaries,
            ground,
            authority,
            coordinators: Vec::new(),
            agents: BTreeMap::new(),
        };
        cluster.operator("operator", Role::Admin)?;
        for number in 0..3 {
            cluster.prepare_coordinator(number)?;
        }
        for number in 0..3 {
            cluster.start_coordinator(registry, number)?;
        }
        cluster.wait_for_leader(Duration::from_secs(30))?;
        Ok(cluster)
    }

    fn address(&self, number: u8) -> SocketAddr {
        self.ground.coordinators[usize::from(number)]
    }

    fn prepare_coordinator(&mut self, number: u8) -> Result<()> {
        let node_name = format!("c{}", number + 1);
        let directory = self.directory.join(&node_name);
        make_directory(&directory)?;
        let address = self.address(number).ip().to_string();
        self.authority
            .issue_coordinator(&name(&node_name)?, &[address], &IssueOptions::default(), &SystemClock::new())?
            .write(&directory.join("identity"))?;
        let mut text = format!(
            "id = {}\nlisten = \"{}\"\nidentity = \"{}\"\ndata = \"{}\"\n\n{}",
            number + 1,
            self.address(number),
            directory.join("identity").display(),
            directory.join("data").display(),
            self.ground.pace,
        );
        for member in 0..3 {
            text.push_str(&format!(
                "\n[members.{}]\nname = \"c{}\"\naddress = \"{}\"\n",
                member + 1,
                member + 1,
                self.address(member)
            ));
        }
        let config = directory.join("coordinator.toml");
        fs::write(&config, text)?;
        self.coordinators.push(Node {
            name: node_name,
            program: self.binaries.coordinator.clone(),
            config,
            log: directory.join("log"),
            machine: None,
            daemon: None,
        });
        Ok(())
    }

    /// Starts coordinator `number` (from 0); the first makes the cluster when there is none yet.
    pub fn start_coordinator(&mut self, registry: &Registry, number: usize) -> Result<()> {
        let node = &mut self.coordinators[number];
        let mut command = self.ground.command(&node.name, &node.program);
        command.arg("--config").arg(&node.config);
        if number == 0 {
            command.arg("--bootstrap");
        }
        node.daemon = Some(Daemon::start(registry, &node.name, None, command, &node.log)?);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill_coordinator(&mut self, number: usize) {
        if let Some(mut daemon) = self.coordinators[number].daemon.take() {
            daemon.kill();
        }
    }

    /// SIGTERM, and waits: a coordinator hands its leadership over first.
    pub async fn stop_coordinator(&mut self, number: usize) -> Option<std::process::ExitStatus> {
        let mut daemon = self.coordinators[number].daemon.take()?;
        Some(daemon.stop(Duration::from_secs(20)).await)
    }

    /// What coordinator `number` has logged since it was made.
    pub fn coordinator_log(&self, number: usize) -> &Path {
        &self.coordinators[number].log
    }

    /// How many coordinators there are.
    pub fn coordinators(&self) -> usize {
        self.coordinators.len()
    }

    /// Which coordinator leads.
    pub fn leader(&self) -> Result<usize> {
        let view = self.json(&["cluster", "members"])?;
        let leader = view["leader"].as_str().context("there is no leader")?;
        self.coordinators.iter().position(|node| node.name == leader).context("the leader is not one of ours")
    }

    /// Waits until a coordinator answers as leader.
    pub fn wait_for_leader(&self, within: Duration) -> Result<usize> {
        until(within, "a leader", || self.leader())
    }

    /// Makes and starts the agent of a host.
    pub fn add_agent(&mut self, registry: &Registry, host: &str, setting: &AgentSetting) -> Result<()> {
        let directory = self.directory.join(host);
        make_directory(&directory)?;
        self.authority
            .issue_agent(&name(host)?, &IssueOptions::default(), &SystemClock::new())?
            .write(&directory.join("identity"))?;
        let secrets = directory.join("secrets");
        make_directory(&secrets)?;
        for (secret, value) in &setting.secrets {
            let path = secrets.join(secret);
            fs::write(&path, value)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        }
        fs::write(directory.join("policy.toml"), &setting.policy)?;
        let coordinators: Vec<String> = (0..3).map(|number| format!("\"{}\"", self.address(number))).collect();
        let config = directory.join("agent.toml");
        fs::write(
            &config,
            format!(
                "coordinators = [{}]\n{}identity = \"{}\"\nstate = \"{}\"\npolicy = \"{}\"\n\n[secrets]\ndirectory = \"{}\"\n\n{}",
                coordinators.join(", "),
                setting
                    .init_scripts
                    .as_ref()
                    .map_or(String::new(), |path| format!("init_scripts = \"{}\"\n", path.display())),
                directory.join("identity").display(),
                directory.join("state").display(),
                directory.join("policy.toml").display(),
                secrets.display(),
                setting.tables,
            ),
        )?;
        let machine = setting.machine.clone().or_else(|| Some(host.to_owned()));
        let (program, log) = (self.binaries.agent.clone(), directory.join("log"));
        let node = Node { name: host.to_owned(), program, config, log, machine, daemon: None };
        self.agents.insert(host.to_owned(), node);
        self.start_agent(registry, host)
    }

    pub fn start_agent(&mut self, registry: &Registry, host: &str) -> Result<()> {
        let node = self.agents.get_mut(host).with_context(|| format!("there is no agent {host}"))?;
        let mut command = self.ground.command(&node.name, &node.program);
        command.arg("--config").arg(&node.config);
        node.daemon = Some(Daemon::start(registry, &node.name, node.machine.as_deref(), command, &node.log)?);
        Ok(())
    }

    /// SIGKILL to the agent alone: what it had started goes on.
    pub fn kill_agent(&mut self, host: &str) {
        if let Some(mut daemon) = self.agents.get_mut(host).and_then(|node| node.daemon.take()) {
            daemon.kill();
        }
    }

    /// SIGTERM, and waits.
    pub async fn stop_agent(&mut self, host: &str) -> Option<std::process::ExitStatus> {
        let mut daemon = self.agents.get_mut(host)?.daemon.take()?;
        Some(daemon.stop(Duration::from_secs(20)).await)
    }

    pub fn agents(&self) -> Vec<String> {
        self.agents.keys().cloned().collect()
    }

    /// The end of an agent's log: why it is not on the line.
    fn last_words(&self, host: &str) -> String {
        let log = self.agents.get(host).and_then(|node| fs::read_to_string(&node.log).ok()).unwrap_or_default();
        log.lines().last().unwrap_or("its log is empty").to_owned()
    }

    /// Waits until every agent of `hosts` is on the line with every coordinator that runs.
    pub fn wait_for_agents(&self, hosts: &[&str], within: Duration) -> Result<()> {
        let running = self.coordinators.iter().filter(|node| node.daemon.is_some()).count();
        until(within, "the agents on the line", || {
            let view = self.json(&["hosts"])?;
            for host in hosts {
                let reached = view
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|view| view["name"] == *host)
                    .and_then(|view| view["reached_by"].as_array())
                    .map_or(0, Vec::len);
                ensure!(
                    reached >= running,
                    "{host} is reached by {reached} of {running} coordinators; its last word: {}",
                    self.last_words(host)
                );
            }
            Ok(())
        })
    }

    /// An identity for an operator, and its folder.
    pub fn operator(&self, operator: &str, role: Role) -> Result<PathBuf> {
        let directory = self.directory.join("operators").join(operator);
        if !directory.exists() {
            make_directory(&self.directory.join("operators"))?;
            self.authority
                .issue_operator(&name(operator)?, role, &IssueOptions::default(), &SystemClock::new())?
                .write(&directory)?;
        }
        Ok(directory)
    }

    /// The folder of an agent's identity, for tests that misuse it.
    pub fn agent_identity(&self, host: &str) -> PathBuf {
        self.directory.join(host).join("identity")
    }

    /// What to set so that `baton` in another shell talks to this installation.
    pub fn environment(&self) -> Vec<(String, String)> {
        let coordinators: Vec<String> =
            (0..self.coordinators.len() as u8).map(|number| self.address(number).to_string()).collect();
        vec![
            ("BATON_COORDINATORS".to_owned(), coordinators.join(",")),
            ("BATON_IDENTITY".to_owned(), self.directory.join("operators/operator").display().to_string()),
        ]
    }

    /// The `baton` command, as the operator.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.ground.command(OPERATOR, &self.binaries.baton);
        command.args(arguments).envs(self.environment()).stdin(Stdio::null());
        command
    }

    /// Runs `baton`, whatever it says.
    pub fn baton(&self, arguments: &[&str]) -> io::Result<Output> {
        self.command(arguments).output()
    }

    /// Runs `baton … -o json`; its exit code must be 0.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let output = self.baton(&all)?;
        if !output.status.success() {
            bail!(
                "baton {} ended with {}: {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("the output of baton {}", arguments.join(" ")))
    }

    /// The folder that everything of this installation is in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn name(text: &str) -> Result<Name> {
    text.parse().map_err(|error| anyhow::anyhow!("{error}"))
}

/// A folder for its owner alone: keys and secrets live below it.
fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make the folder {}", path.display()))
}

/// Asks again until it goes well.
pub fn until<T>(within: Duration, what: &str, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(value) => return Ok(value),
            Err(error) if begun.elapsed() > within => {
                return Err(error.context(format!("no {what} within {within:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
