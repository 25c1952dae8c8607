//! Avaya POM in one data centre, with Baton installed in it: three SQL Server replicas (one of them elsewhere), a primary POM
//! server and two auxiliary ones.
//!
//! What a customer would do by hand with the shipped sample files: put in names, addresses and a window, and nothing else.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cluster::{Binaries, Cluster},
    horizon::Network,
    machine::{Allowed, Fleet, Need, Service},
    sqlserver::{
        self, Endpoint, GroupPlan, Instances, ReplicaPlan, WorldBuilder,
        control::Right,
        world::{Doubts, Options, group::ClusterType, server::Account},
    },
};

/// The shipped runbooks.
const SHIPPED: &[(&str, &str)] = &[
    ("switchover.yaml", include_str!("../../../deploy/runbooks/avaya-pom/switchover.yaml")),
    ("resume-data-movement.yaml", include_str!("../../../deploy/runbooks/avaya-pom/resume-data-movement.yaml")),
    ("stop.yaml", include_str!("../../../deploy/runbooks/avaya-pom/stop.yaml")),
    ("start.yaml", include_str!("../../../deploy/runbooks/avaya-pom/start.yaml")),
];
/// The shipped sample group.
const GROUP_FILE: &str = include_str!("../../../deploy/runbooks/avaya-pom/group.yaml");

/// Baton's group.
pub const GROUP: &str = "pom";
/// The availability group, and the database in it.
pub const AVAILABILITY_GROUP: &str = "POM";
pub const DATABASE: &str = "pom";
/// The service that brings up POM's own services, and where its health is.
pub const SERVICE: &str = "POM";
pub const PORT: u16 = 8080;
/// Database servers: machine, instance, number in the network. The third is in another data centre.
pub const SERVERS: [(&str, &str, u8); 3] = [("pomdb1", "POMDB1", 1), ("pomdb2", "POMDB2", 2), ("pomdb3", "POMDB3", 3)];
/// POM servers: machine, number in the network. The first is the primary one.
pub const POM_SERVERS: [(&str, u8); 3] = [("pom1", 4), ("pom2", 5), ("pom3", 6)];
/// As the sample group names them.
const PRIMARY_SERVICES: [&str; 3] = ["pom-campaign-director", "pom-campaign-manager", "pom-agent-manager"];
const AUX_SERVICES: [&str; 2] = ["pom-campaign-manager", "pom-agent-manager"];

const AGENTS_WITHIN: Duration = Duration::from_secs(60);
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// How a world differs from the usual one.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Whether a planned failover leaves the old primary's data movement paused, as Avaya's page says.
    pub suspends: bool,
    /// How long things take inside SQL Server.
    pub timing: Options,
    /// How long each of POM's services takes to come up.
    pub warm_up_ms: u64,
    /// Lines in place of the maintenance window of the sample file; one that opens in three hours without it.
    pub window: Option<String>,
}

impl Default for Setting {
    fn default() -> Self {
        Self { suspends: true, timing: Options::default(), warm_up_ms: 400, window: None }
    }
}

/// The world, with Baton in it.
pub struct Pom {
    // Dropped first: what Baton started ends before the world under it.
    pub cluster: Cluster,
    pub fleet: Fleet,
    pub instances: Instances,
    files: PathBuf,
    password: String,
}

impl Pom {
    /// Builds it in `directory`, and returns when POM runs and Baton is on the line.
    pub async fn build(
        directory: &Path,
        helper: PathBuf,
        binaries: Binaries,
        setting: &Setting,
        mut say: impl FnMut(&str),
    ) -> Result<Self> {
        baton_platform::tls::install_crypto_provider();
        let network = Network::claim_any()?;
        let range = network.address(1).octets();
        let mut fleet = Fleet::build(&directory.join("world"), network, helper)?;
        let password = password();
        say("three SQL Server instances in an availability group, three POM servers");
        let instances = Instances::create(&directory.join("sqlserver"), &world(&fleet, setting, &password))?;
        for (machine, instance, host) in SERVERS {
            fleet.add(machine, host, &[instances.service(instance)])?;
        }
        for (machine, host) in POM_SERVERS {
            let service = pom(&fleet, machine, setting, &password);
            fleet.add(machine, host, &[service])?;
        }
        say("three coordinators, an agent on each of the six hosts");
        let mut cluster = Cluster::start(fleet.registry(), &directory.join("baton"), [range[1], range[2]], binaries)?;
        for (machine, _, _) in SERVERS {
            let allowed = Allowed {
                databases: addresses(&fleet).iter().map(|address| format!("{address}/master")).collect(),
                secrets: BTreeMap::from([("pom-sql".to_owned(), password.clone())]),
                ..Allowed::default()
            };
            cluster.add_agent(fleet.registry(), machine, &fleet.agent(machine, &allowed)?)?;
        }
        for (machine, _) in POM_SERVERS {
            cluster.add_agent(fleet.registry(), machine, &fleet.agent(machine, &Allowed::default())?)?;
        }
        for (machine, _, _) in SERVERS {
            fleet.service(machine, sqlserver::SERVICE, "start").await?;
        }
        for (machine, _) in POM_SERVERS {
            fleet.service(machine, SERVICE, "start").await?;
        }
        let pom = Self { cluster, fleet, instances, files: directory.join("files"), password };
        sqlserver::writer::prepare(&pom.database(0)).await?;
        for (machine, _) in POM_SERVERS {
            pom.fleet.healthy(machine, PORT, HEALTHY_WITHIN).await?;
        }
        pom.cluster.wait_for_agents(&machines(), AGENTS_WITHIN)?;
        pom.write_files(setting)?;
        say("the group, from the shipped sample files");
        let group = pom.files.join("group.yaml").display().to_string();
        pom.cluster.json(&["apply", &group, "--reason", "the lab's first day"])?;
        Ok(pom)
    }

    /// POM's database on a server, as POM logs in.
    pub fn database(&self, server: usize) -> Endpoint {
        Endpoint {
            address: addresses(&self.fleet)[server],
            database: DATABASE.to_owned(),
            user: "pom".to_owned(),
            password: self.password.clone(),
        }
    }

    /// A client that writes wherever the primary is.
    pub fn start_writer(&self) -> sqlserver::Writer {
        sqlserver::Writer::start(
            (0..SERVERS.len()).map(|server| self.database(server)).collect(),
            Duration::from_millis(25),
        )
    }

    fn write_files(&self, setting: &Setting) -> Result<()> {
        fs::create_dir_all(&self.files)?;
        for (name, text) in SHIPPED {
            fs::write(self.files.join(name), text)?;
        }
        let mut text = GROUP_FILE.to_owned();
        // The longer address first: one is the beginning of another.
        let addresses = [("10.1.0.11", "pomdb3"), ("10.0.0.11", "pomdb1"), ("10.0.0.12", "pomdb2")];
        let servers = [("10.0.0.21", "pom1"), ("10.0.0.22", "pom2"), ("10.0.0.23", "pom3")];
        for (sample, machine) in addresses.into_iter().chain(servers) {
            ensure!(text.contains(sample), "the sample group has no {sample}");
            text = text.replace(sample, &self.fleet.machine(machine).address.to_string());
        }
        // An instance of the lab makes its own certificate.
        text = text.replace("tls: verify", "tls: trust");
        let window = text.lines().find(|line| line.trim_start().starts_with("maintenance:")).context("a window")?;
        let own = setting.window.clone().unwrap_or_else(later);
        text = text.replace(&window.to_owned(), &own);
        fs::write(self.files.join("group.yaml"), text).context("write the group")
    }
}

/// A window that opens in three hours.
fn later() -> String {
    let at =
        |hours: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).strftime("%H:%M").to_string();
    format!("  maintenance: {{ from: \"{}\", to: \"{}\", time_zone: Etc/UTC }}", at(3), at(5))
}

/// Every machine's name.
pub fn machines() -> Vec<&'static str> {
    SERVERS.iter().map(|server| server.0).chain(POM_SERVERS.iter().map(|server| server.0)).collect()
}

fn addresses(fleet: &Fleet) -> Vec<SocketAddr> {
    SERVERS.iter().map(|(_, _, host)| SocketAddr::from((fleet.network().address(*host), sqlserver::PORT))).collect()
}

fn world(fleet: &Fleet, setting: &Setting, password: &str) -> WorldBuilder {
    let doubts = Doubts { planned_failover_suspends_old_primary: setting.suspends, ..Doubts::default() };
    let mut world = WorldBuilder::new().seed(7).options(setting.timing.clone()).doubts(doubts);
    for ((_, instance, _), address) in SERVERS.iter().zip(addresses(fleet)) {
        world = world.instance(instance, &address.to_string(), password);
    }
    // No more than the actions' page asks for.
    let rights =
        [Right::ViewServerState, Right::ViewAnyDefinition, Right::AlterAnyAvailabilityGroup, Right::AlterAnyDatabase];
    world
        .login(&Account::with_rights("baton", password, &rights))
        .login(&Account::with_rights("pom", password, &[]))
        .group(GroupPlan {
            name: AVAILABILITY_GROUP.to_owned(),
            cluster: ClusterType::Wsfc,
            databases: vec![DATABASE.to_owned()],
            replicas: vec![
                ReplicaPlan::synchronous(SERVERS[0].1),
                ReplicaPlan::synchronous(SERVERS[1].1),
                ReplicaPlan::asynchronous(SERVERS[2].1),
            ],
            listener: None,
            required_synchronized: 0,
        })
}

/// POM on one of its servers. The auxiliary ones need the primary one's director: that is why it is started first.
fn pom(fleet: &Fleet, machine: &str, setting: &Setting, password: &str) -> Service {
    let writable = Need::Writable {
        any_of: addresses(fleet),
        database: DATABASE.to_owned(),
        user: "pom".to_owned(),
        password: password.to_owned(),
    };
    let service = Service::application(SERVICE, PORT).needs(writable);
    if machine == POM_SERVERS[0].0 {
        return service.with_parts(&PRIMARY_SERVICES, setting.warm_up_ms);
    }
    let address = SocketAddr::from((fleet.network().address(POM_SERVERS[0].1), PORT));
    let director = Need::Http { address, path: PRIMARY_SERVICES[0].to_owned() };
    service.needs(director).with_parts(&AUX_SERVICES, setting.warm_up_ms)
}

fn password() -> String {
    use rand::RngExt as _;
    (0..4).map(|_| format!("{:08x}", rand::rng().random::<u32>())).collect()
}
