//! The machines of both sides with everything on them, the repositories, and their accidents.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Component, Repository, Side,
    side::{
        AGENT, BROKER, BROKER_PORT, COPIES, DAEMON, DAEMON_PORT, DSA, ON_SERVER, PROPERTIES, REST, REST_PORT, SYNC,
        services,
    },
};
use crate::{
    horizon::{
        Network,
        postgres::{Place, Server, User},
    },
    machine::{Fleet, Machine, Service, Work},
    packages::Programs,
    processes::{Process, kill_until_gone, registry},
};

/// What dies on a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Daemon,
    Rest,
    Repository,
    Broker,
    OneAgent,
    AllAgents,
}

impl Fault {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Daemon => "the daemon",
            Self::Rest => "the REST service",
            Self::Repository => "the repository",
            Self::Broker => "ActiveMQ",
            Self::OneAgent => "one agent of three",
            Self::AllAgents => "all three agents",
        }
    }
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub fleet: Fleet,
    servers: BTreeMap<Side, Server>,
    repositories: BTreeMap<Side, Repository>,
}

impl World {
    /// All machines; nothing runs but the repositories.
    pub async fn build(directory: &Path, network: Network, programs: &Programs, helper: PathBuf) -> Result<Self> {
        let mut fleet = Fleet::build(&directory.join("world"), network, helper)?;
        let user = User::needed()?;
        if let Some(user) = user {
            user.can_enter(fleet.directory())?;
        }
        let (owner, superuser) = (password(), password());
        let address = |fleet: &Fleet, side: Side, port| SocketAddr::from((fleet.network().address(side.host(0)), port));
        let port = fleet.network().database_port();
        let repositories: BTreeMap<Side, Repository> = Side::BOTH
            .map(|side| (side, Repository { address: address(&fleet, side, port), password: owner.clone() }))
            .into();
        let mut servers = BTreeMap::new();
        for side in Side::BOTH {
            let service = |name: &str, component| Service { name: name.to_owned(), work: Work::DataMover(component) };
            let properties = fleet.directory().join(side.server()).join(PROPERTIES.trim_start_matches('/'));
            let daemon = Component::Daemon {
                host: side.server().to_owned(),
                properties: properties.clone(),
                broker: address(&fleet, side, BROKER_PORT),
                repository: repositories[&side].clone(),
            };
            let sync = Component::Sync { from: repositories[&side].clone(), to: repositories[&side.other()].clone() };
            let on_server = [
                service(DAEMON, daemon),
                service(REST, Component::Rest { daemon: address(&fleet, side, DAEMON_PORT) }),
                service(BROKER, Component::Broker),
                service(DSA, Component::Dsa),
                service(SYNC, sync),
            ];
            let machine = fleet.add(side.server(), side.host(0), &on_server)?;
            for (number, name) in (1..).zip(side.agents()) {
                let agent = Component::Agent { broker: address(&fleet, side, BROKER_PORT) };
                fleet.add(name, side.host(number), &[service(AGENT, agent)])?;
            }
            fs::create_dir_all(machine.path(COPIES))?;
            fs::create_dir_all(properties.parent().context("settings lie in a folder")?)?;
            fs::write(&properties, include_str!("files/daemon.properties"))?;
            let server = Server::new(place(&machine, repositories[&side].address), programs, user);
            server.initialize(&superuser).await?;
            fleet.registry().add_data(&data(&machine))?;
            server.start().await?;
            repositories[&side].create(&superuser).await?;
            servers.insert(side, server);
        }
        Ok(Self { fleet, servers, repositories })
    }

    pub fn repository(&self, side: Side) -> &Repository {
        &self.repositories[&side]
    }

    /// A side's REST service.
    pub fn rest(&self, side: Side) -> SocketAddr {
        self.fleet.machine(side.server()).at(REST_PORT)
    }

    /// The daemon's settings as they are now.
    pub fn properties(&self, side: Side) -> Result<String> {
        let path = self.fleet.machine(side.server()).path(PROPERTIES);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Starts everything of a side by hand.
    pub async fn start(&self, side: Side) -> Result<()> {
        for machine in side.agents() {
            self.start_service(machine, AGENT).await?;
        }
        for service in ON_SERVER {
            self.start_service(side.server(), service).await?;
        }
        Ok(())
    }

    /// Starts a service by hand. Somebody may stop it before its own script has seen that it runs: its journal says that it did.
    pub async fn start_service(&self, machine: &str, service: &str) -> Result<()> {
        let started = || -> Result<usize> {
            let effects = self.effects()?;
            Ok(effects.iter().filter(|one| one.0 == machine && one.1 == service && one.2 == "start").count())
        };
        let before = started()?;
        match self.fleet.service(machine, service, "start").await {
            Err(error) if started()? == before => Err(error),
            _ => Ok(()),
        }
    }

    /// What of Data Mover runs, as `MACHINE/SERVICE`. Repositories are not asked for.
    pub fn running(&self) -> Vec<String> {
        let runs = |(machine, service): &(&str, &str)| self.fleet.runs(machine, service);
        services().into_iter().filter(runs).map(|(machine, service)| format!("{machine}/{service}")).collect()
    }

    /// What of a side runs.
    pub fn running_on(&self, side: Side) -> Vec<String> {
        let here = |name: &String| name.split('/').next().is_some_and(|machine| side.machines().contains(&machine));
        self.running().into_iter().filter(here).collect()
    }

    /// SIGKILL to what the fault names.
    pub fn strike(&self, side: Side, fault: Fault) -> Result<()> {
        let server = |service| self.fleet.kill(side.server(), service);
        let agents = |count| -> Result<bool> {
            side.agents()
                .into_iter()
                .take(count)
                .try_fold(true, |all, machine| Ok(all & self.fleet.kill(machine, AGENT)?))
        };
        let ran = match fault {
            Fault::Daemon => server(DAEMON)?,
            Fault::Rest => server(REST)?,
            Fault::Broker => server(BROKER)?,
            Fault::Repository => self.kill_repository(side)? > 0,
            Fault::OneAgent => agents(1)?,
            Fault::AllAgents => agents(3)?,
        };
        ensure!(ran, "{} did not run on the {} servers", fault.words(), side.name());
        Ok(())
    }

    /// SIGKILL to a side's database server, every process of it. Returns how many died.
    pub fn kill_repository(&self, side: Side) -> Result<usize> {
        let machine = self.fleet.machine(side.server());
        let data = data(machine);
        let servers = || -> Vec<Process> {
            let members = self.fleet.registry().members_on(side.server(), &data).unwrap_or_default();
            members.into_iter().filter(|process| process.name == "postgres").collect()
        };
        Ok(kill_until_gone(servers, Duration::from_secs(10))?)
    }

    /// Starts a side's database server again; it recovers.
    pub async fn start_repository(&self, side: Side) -> Result<()> {
        registry::forget_dead_server(&data(self.fleet.machine(side.server())));
        Ok(self.servers[&side].start().await?)
    }

    /// The starts and stops of everything, in order of time: (machine, service, verb).
    pub fn effects(&self) -> Result<Vec<(String, String, String)>> {
        let mut effects = Vec::new();
        for machine in self.fleet.machines().filter(|machine| machine.effects().exists()) {
            let noted = self.fleet.effects(&machine.name)?;
            effects.extend(noted.into_iter().map(|one| (one.at, machine.name.clone(), one.what, one.verb)));
        }
        effects.sort();
        Ok(effects.into_iter().map(|(_, machine, what, verb)| (machine, what, verb)).collect())
    }
}

fn data(machine: &Machine) -> PathBuf {
    machine.path("/var/repository")
}

fn place(machine: &Machine, address: SocketAddr) -> Place {
    Place { data: data(machine), log: machine.log("repository"), address }
}

fn password() -> String {
    use rand::RngExt as _;
    (0..4).map(|_| format!("{:08x}", rand::rng().random::<u32>())).collect()
}
