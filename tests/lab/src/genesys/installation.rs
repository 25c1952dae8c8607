//! Baton installed in the Genesys world: an agent on every machine, the group applied, a client that writes to each database.
//!
//! What a customer would do by hand with the shipped group file: put in names and addresses, and nothing else.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use super::{
    Pace, Site, World,
    site::{
        COMPONENTS, CONFIG, CONFIG_BACKUP, CONFIG_PORT, DATABASES, GROUP, MESSAGE, MESSAGE_PORT, PROXY, PROXY_PORT,
        SCS, SCS_PORT, SITE_SCS,
    },
    world::PASSWORD,
};
use crate::{
    cluster::{Binaries, Cluster},
    horizon::Network,
    machine::Allowed,
    sqlserver::{self, Writer, writer},
};

/// The shipped runbooks.
const SHIPPED: &[(&str, &str)] = &[
    ("start.yaml", include_str!("../../../../deploy/runbooks/genesys-framework/start.yaml")),
    ("failover.yaml", include_str!("../../../../deploy/runbooks/genesys-framework/failover.yaml")),
    ("switchback.yaml", include_str!("../../../../deploy/runbooks/genesys-framework/switchback.yaml")),
    ("reseed.yaml", include_str!("../../../../deploy/runbooks/genesys-framework/reseed.yaml")),
    ("add-database.yaml", include_str!("../../../../deploy/runbooks/genesys-framework/add-database.yaml")),
];

/// The group's name.
pub const NAME: &str = "framework";
const AGENTS_WITHIN: Duration = Duration::from_secs(60);

/// The world, with Baton in it.
pub struct Installation {
    // Dropped first: what Baton started ends before the world under it.
    pub cluster: Cluster,
    pub world: World,
    files: PathBuf,
}

impl Installation {
    /// Builds the world in `directory`, then Baton in it, and returns when everything is on the line.
    pub async fn build(
        directory: &Path,
        helper: PathBuf,
        binaries: Binaries,
        pace: Pace,
        mut say: impl FnMut(&str),
    ) -> Result<Self> {
        baton_platform::tls::install_crypto_provider();
        let network = Network::claim_any()?;
        let range = network.address(1).octets();
        say("building two sites: machines, SQL Server in an availability group");
        let world = World::build(directory, network, helper, pace).await?;
        say("starting three coordinators");
        let registry = world.fleet.registry();
        let mut cluster = Cluster::start(registry, &directory.join("baton"), [range[1], range[2]], binaries)?;
        say("starting an agent on each machine");
        let machines: Vec<String> = world.fleet.machines().map(|machine| machine.name.clone()).collect();
        for machine in &machines {
            cluster.add_agent(registry, machine, &world.fleet.agent(machine, &allowed())?)?;
        }
        let installation = Self { cluster, world, files: directory.join("files") };
        installation.write_files()?;
        let names: Vec<&str> = machines.iter().map(String::as_str).collect();
        installation.cluster.wait_for_agents(&names, AGENTS_WITHIN)?;
        say("applying the group");
        installation.apply("the lab's first day")?;
        Ok(installation)
    }

    /// `baton apply`.
    pub fn apply(&self, reason: &str) -> Result<()> {
        let path = self.files.join("group.yaml");
        self.cluster.json(&["apply", &path.display().to_string(), "--reason", reason]).map(drop)
    }

    fn write_files(&self) -> Result<()> {
        fs::create_dir_all(&self.files)?;
        for (name, text) in SHIPPED {
            fs::write(self.files.join(name), text)?;
        }
        self.write_group(&DATABASES)
    }

    /// The group, with these databases in it.
    pub fn write_group(&self, databases: &[&str]) -> Result<()> {
        Ok(fs::write(self.files.join("group.yaml"), self.group_text(databases))?)
    }

    /// The shipped group with this world's names and addresses.
    fn group_text(&self, databases: &[&str]) -> String {
        let (mut members, mut hosts, mut connections) = (String::new(), String::new(), String::new());
        for site in Site::BOTH {
            let (name, node, conf) = (site.name(), site.node(), site.conf());
            members += &format!(
                "  {name}: {{ site: {name}, hosts: {{ database: {node}, config: {conf}, config-backup: {}, scs: {conf}, message-server: {conf} }} }}\n",
                site.backup()
            );
            for machine in site.machines() {
                let machine = self.world.fleet.machine(&machine);
                let vars = match machine.name == node {
                    true => format!(
                        "connection: {node}, instance: {}, backups: \"{}/\"",
                        site.instance(),
                        machine.path("/var/backup").display()
                    ),
                    false => format!("proxy_connected: \"{}\"", machine.path("/bin/proxy-connected").display()),
                };
                hosts += &format!(
                    "  {}: {{ address: {}, site: {name}, vars: {{ {vars} }} }}\n",
                    machine.name, machine.address
                );
            }
            connections += &format!(
                "  {node}: {{ kind: sqlserver, host: {}, database: master, user: sa, password: \"${{secret('sql')}}\", tls: trust, server_name: {} }}\n",
                self.world.fleet.machine(&node).address,
                site.instance()
            );
        }
        let both = |machine: fn(Site) -> String| Site::BOTH.map(machine).join(", ");
        let components = COMPONENTS.map(|(name, _)| name).join(", ");
        format!(
            "group: {NAME}\ndescription: Framework of the lab\nproduct: genesys-framework\nprimary: site1\nmembers:\n{members}roles:\n  \
             site-scs: [{apps}]\n  config-proxy: [{apps}, {backups}]\n  components: [{apps}]\nhosts:\n{hosts}vars:\n  ag: {GROUP}\n  \
             databases: [{}]\n  share: \"{}/\"\n  services: {{ sql: {}, config: {CONFIG}, config-backup: {CONFIG_BACKUP}, scs: {SCS}, \
             message-server: {MESSAGE}, site-scs: {SITE_SCS}, config-proxy: {PROXY} }}\n  components: [{components}]\n  \
             managers: {{ sql: sysv, site: sysv, controlled: sysv }}\n  ports: {{ sql: {}, config: {CONFIG_PORT}, scs: {SCS_PORT}, \
             message-server: {MESSAGE_PORT}, config-proxy: {PROXY_PORT} }}\n  \
             proxy_connected: /usr/local/lib/baton/proxy-connected\nconnections:\n{connections}samples:\n  \
             ag: {{ on: database, every: 1s, action: {{ mssql.ag.sample: {{ group: \"${{vars.ag}}\", connection: \"${{host.vars.connection}}\" }} }} }}\n\
             runbooks: {{ start: start.yaml, failover: failover.yaml, switchback: switchback.yaml, reseed: reseed.yaml, add-database: add-database.yaml }}\n\
             automatic: {{ manual_only: \"the vendor's procedure is a person's decision\" }}\n",
            databases.join(", "),
            self.world.share.display(),
            sqlserver::SERVICE,
            sqlserver::PORT,
            apps = both(Site::apps),
            backups = both(Site::backup),
        )
    }

    /// A client for each database, which writes to whichever node has it open.
    pub async fn start_writers(&self, pause: Duration) -> Result<BTreeMap<String, Writer>> {
        let mut writers = BTreeMap::new();
        for database in DATABASES {
            writer::prepare(&self.world.database(Site::One, database)).await?;
            let endpoints = Site::BOTH.map(|site| self.world.database(site, database)).to_vec();
            writers.insert(database.to_owned(), Writer::start(endpoints, pause));
        }
        Ok(writers)
    }

    /// Ends a whole site: its machines with their agents, and the coordinator that stands there.
    pub fn crash(&mut self, site: Site) -> Result<usize> {
        let died = self.world.crash(site)?;
        for machine in site.machines() {
            self.cluster.kill_agent(&machine);
        }
        let coordinator = usize::from(site.number()) - 1;
        self.cluster.kill_coordinator(coordinator);
        Ok(died + 1)
    }

    /// The site's machines run again, with nothing on them but the agents; and its coordinator.
    pub fn boot(&mut self, site: Site) -> Result<()> {
        let registry = self.world.fleet.registry();
        self.cluster.start_coordinator(registry, usize::from(site.number()) - 1)?;
        let machines = site.machines();
        for machine in &machines {
            self.cluster.start_agent(registry, machine)?;
        }
        let names: Vec<&str> = machines.iter().map(String::as_str).collect();
        self.cluster.wait_for_agents(&names, AGENTS_WITHIN)
    }
}

/// What an administrator allows the agents of this world.
fn allowed() -> Allowed {
    Allowed {
        databases: vec!["*".to_owned()],
        secrets: BTreeMap::from([("sql".to_owned(), PASSWORD.to_owned())]),
        ..Allowed::default()
    }
}
