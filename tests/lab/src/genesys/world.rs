//! The machines of both sites with everything on them, and the accidents of a site.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Component, Site,
    component::{Databases, peer_file},
    site::{
        COMPONENTS, CONFIG, CONFIG_BACKUP, CONFIG_PORT, DATABASES, GROUP, MESSAGE, MESSAGE_PORT, PROXY, PROXY_PORT,
        SCS, SCS_PORT, SITE_SCS, SITE_SCS_PORT,
    },
};
use crate::{
    horizon::Network,
    machine::{Fleet, Machine, Service, Work},
    sqlserver::{
        self, Endpoint, GroupPlan, Instances, ReplicaPlan, WorldBuilder,
        world::{Options, group::ClusterType},
    },
};

/// The one password of the simulated instances.
pub const PASSWORD: &str = "a Password 1";

/// How far the asynchronous copy lags behind, and how long SQL Server takes for things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As in a story that somebody watches.
    Story,
    /// As fast as can be.
    Quick,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub fleet: Fleet,
    pub instances: Instances,
    /// A directory that both instances see.
    pub share: PathBuf,
}

impl World {
    /// All machines; nothing runs but SQL Server at both sites.
    pub async fn build(directory: &Path, network: Network, helper: PathBuf, pace: Pace) -> Result<Self> {
        let mut fleet = Fleet::build(&directory.join("world"), network, helper)?;
        let share = directory.join("share");
        fs::create_dir_all(&share)?;
        let instances = Instances::create(&directory.join("sqlserver"), &plan(fleet.network(), pace))?;
        for site in Site::BOTH {
            let services = [
                vec![instances.service(&site.instance())],
                on_conf(&fleet, site),
                on_backup(&fleet, site),
                on_apps(&fleet, site),
            ];
            for ((number, machine), services) in (1..).zip(site.machines()).zip(services) {
                let machine = fleet.add(&machine, site.host(number), &services)?;
                fs::create_dir_all(machine.path("/var/backup"))?;
                copy_script(&machine)?;
            }
        }
        let world = Self { fleet, instances, share };
        for site in Site::BOTH {
            world.fleet.service(&site.node(), sqlserver::SERVICE, "start").await?;
        }
        Ok(world)
    }

    /// A database of an instance, as the administrator.
    pub fn database(&self, site: Site, database: &str) -> Endpoint {
        Endpoint {
            address: sqlserver::at(self.fleet.machine(&site.node())),
            database: database.to_owned(),
            user: "sa".to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// The power of a whole site goes. Returns how many processes died.
    pub fn crash(&self, site: Site) -> Result<usize> {
        site.machines().iter().map(|machine| self.fleet.crash(machine)).sum()
    }

    /// Whom a component is connected to, by its own word.
    pub fn peer(&self, machine: &str, service: &str) -> Option<SocketAddr> {
        self.fleet.process(machine, service)?;
        fs::read_to_string(peer_file(&self.fleet.machine(machine).root, service)).ok()?.parse().ok()
    }

    /// The starts and stops of everything, machine by machine: (machine, service, verb).
    pub fn effects(&self) -> Result<Vec<(String, String, String)>> {
        let mut effects: Vec<(String, String, String, String)> = Vec::new();
        for machine in self.fleet.machines() {
            let path = machine.effects();
            if path.exists() {
                let noted = self.fleet.effects(&machine.name)?;
                effects.extend(noted.into_iter().map(|one| (one.at, machine.name.clone(), one.what, one.verb)));
            }
        }
        effects.sort();
        Ok(effects.into_iter().map(|(_, machine, what, verb)| (machine, what, verb)).collect())
    }

    /// Every machine's services that run.
    pub fn running(&self) -> BTreeMap<String, Vec<String>> {
        let services = |machine: &Machine| {
            let entries = fs::read_dir(machine.path("/etc/init.d")).into_iter().flatten().flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.retain(|name| self.fleet.runs(&machine.name, name));
            names.sort();
            names
        };
        self.fleet.machines().map(|machine| (machine.name.clone(), services(machine))).collect()
    }

    /// Where a Configuration Server listens.
    pub fn config(&self, site: Site) -> SocketAddr {
        self.fleet.machine(&site.conf()).at(CONFIG_PORT)
    }
}

fn plan(network: &Network, pace: Pace) -> WorldBuilder {
    let address = |site: Site| SocketAddr::from((network.address(site.host(1)), sqlserver::PORT)).to_string();
    let options = match pace {
        Pace::Story => Options { asynchronous_lag_ms: 1500, ..Options::default() },
        Pace::Quick => Options { asynchronous_lag_ms: 400, ..Options::quick() },
    };
    let [one, two] = Site::BOTH;
    WorldBuilder::new()
        .options(options)
        .instance(&one.instance(), &address(one), PASSWORD)
        .instance(&two.instance(), &address(two), PASSWORD)
        .group(GroupPlan {
            name: GROUP.to_owned(),
            cluster: ClusterType::Wsfc,
            databases: DATABASES.map(str::to_owned).to_vec(),
            replicas: vec![ReplicaPlan::asynchronous(&one.instance()), ReplicaPlan::asynchronous(&two.instance())],
            listener: None,
            required_synchronized: 0,
        })
}

fn service(name: &str, component: Component) -> Service {
    Service { name: name.to_owned(), work: Work::Genesys(component) }
}

fn at(fleet: &Fleet, site: Site, machine: u8, port: u16) -> SocketAddr {
    SocketAddr::from((fleet.network().address(site.host(machine)), port))
}

/// The Configuration Servers in the order in which a site's own are tried first.
fn configs(fleet: &Fleet, site: Site) -> Vec<SocketAddr> {
    let of = |site| [at(fleet, site, 2, CONFIG_PORT), at(fleet, site, 3, CONFIG_PORT)];
    of(site).into_iter().chain(of(site.other())).collect()
}

fn databases(fleet: &Fleet, site: Site) -> Databases {
    Databases {
        instance: at(fleet, site, 1, sqlserver::PORT),
        names: vec![DATABASES[0].to_owned()],
        user: "sa".to_owned(),
        password: PASSWORD.to_owned(),
    }
}

fn on_conf(fleet: &Fleet, site: Site) -> Vec<Service> {
    let own = configs(fleet, site)[..2].to_vec();
    vec![
        service(
            CONFIG,
            Component { port: CONFIG_PORT, databases: Some(databases(fleet, site)), ..Component::default() },
        ),
        service(SCS, Component { port: SCS_PORT, follows: own.clone(), ..Component::default() }),
        service(MESSAGE, Component { port: MESSAGE_PORT, follows: own, ..Component::default() }),
    ]
}

fn on_backup(fleet: &Fleet, site: Site) -> Vec<Service> {
    let config = Component {
        port: CONFIG_PORT,
        databases: Some(databases(fleet, site)),
        backup_of: Some(at(fleet, site, 2, CONFIG_PORT)),
        ..Component::default()
    };
    vec![service(CONFIG_BACKUP, config), proxy(fleet, site)]
}

fn proxy(fleet: &Fleet, site: Site) -> Service {
    service(PROXY, Component { port: PROXY_PORT, follows: configs(fleet, site), ..Component::default() })
}

fn on_apps(fleet: &Fleet, site: Site) -> Vec<Service> {
    let messages = Site::BOTH.map(|site| at(fleet, site, 2, MESSAGE_PORT)).to_vec();
    let proxies = vec![at(fleet, site, 4, PROXY_PORT), at(fleet, site, 3, PROXY_PORT)];
    let mut services = vec![
        service(SITE_SCS, Component { port: SITE_SCS_PORT, follows: messages, ..Component::default() }),
        proxy(fleet, site),
    ];
    for (name, port) in COMPONENTS {
        services.push(service(name, Component { port, follows: proxies.clone(), ..Component::default() }));
    }
    services
}

/// The shipped question of the proxies' hosts.
fn copy_script(machine: &Machine) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = machine.path("/bin/proxy-connected");
    fs::write(&path, include_str!("../../../../deploy/runbooks/genesys-framework/proxy-connected"))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("write {}", path.display()))
}
