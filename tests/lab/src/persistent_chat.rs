//! Persistent Chat over two data centres, with Baton in it: two SQL Server instances between which mgc is shipped, chat servers,
//! a share, and a shell with the pool's topology.
//!
//! What a customer would do by hand with the shipped files: put in names and addresses, and nothing else. It counts effects by
//! what the instances' own records and the shell's own journal say, never by what Baton says of them.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    sqlserver::{self, Control, Endpoint, Instances, WorldBuilder, writer},
};

pub mod shelf;
pub mod topology;

pub use topology::Topology;

/// The group's name.
pub const GROUP: &str = "persistent-chat";
/// The pool's FQDN.
pub const POOL: &str = "atl-cs-001.litwareinc.com";
/// The database that moves, and the one that does not.
pub const DATABASE: &str = "mgc";
pub const COMPLIANCE: &str = "mgccomp";
/// Where chat servers listen.
pub const CHAT_PORT: u16 = 5041;
/// The chat servers' service.
pub const CHAT: &str = "rtcchat";
const USER: &str = "sa";
const PASSWORD: &str = "Secret-of-the-lab-1";

/// The shipped runbooks.
const SHIPPED: [(&str, &str); 2] = [
    ("failover.yaml", include_str!("../../../deploy/runbooks/persistent-chat/failover.yaml")),
    ("failback.yaml", include_str!("../../../deploy/runbooks/persistent-chat/failback.yaml")),
];

/// How long the agents may take to come on the line, and services to start.
const WITHIN: Duration = Duration::from_secs(60);

/// A data centre of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    Atlanta,
    Dallas,
}

impl Site {
    pub const BOTH: [Self; 2] = [Self::Atlanta, Self::Dallas];

    /// The member's name, and the site's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Atlanta => "atlanta",
            Self::Dallas => "dallas",
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Atlanta => "atl",
            Self::Dallas => "dal",
        }
    }

    /// `@@SERVERNAME`.
    pub fn instance(self) -> String {
        format!("{}-SQL-1", self.short().to_uppercase())
    }

    /// The machine with the instance.
    pub fn database(self) -> String {
        format!("{}-sql-1.litwareinc.com", self.short())
    }

    /// The instance's mirror: only its name is in this world.
    pub fn mirror(self) -> String {
        format!("{}-sql-2.litwareinc.com", self.short())
    }

    /// The chat servers; the first has the Management Shell.
    pub fn chat(self) -> [String; 2] {
        [1, 2].map(|number| format!("{}-chat-{number}.litwareinc.com", self.short()))
    }

    pub fn tools(self) -> String {
        let [first, _] = self.chat();
        first
    }

    /// Its machines that have an agent.
    pub fn agents(self) -> [String; 2] {
        [self.database(), self.tools()]
    }

    fn machines(self) -> [String; 3] {
        let [first, second] = self.chat();
        [self.database(), first, second]
    }
}

/// The world, with Baton in it.
pub struct Installation {
    // Dropped first: what Baton started ends before the world under it.
    pub cluster: Cluster,
    pub fleet: Fleet,
    pub instances: Instances,
    directory: PathBuf,
}

impl Installation {
    /// Builds the world in `directory`, then Baton in it, and returns when everything is on the line.
    pub async fn build(
        directory: &Path,
        helper: PathBuf,
        binaries: Binaries,
        standby: bool,
        mut say: impl FnMut(&str),
    ) -> Result<Self> {
        let network = Network::claim_any()?;
        let range = network.address(1).octets();
        say("building two data centres: SQL Server (simulated), chat servers, a share");
        let shell = binaries.agent.with_file_name("baton-pwsh");
        ensure!(
            shell.is_file(),
            "baton-pwsh is not beside {}: run \"cargo build --workspace --bins\" first",
            binaries.agent.display()
        );
        let mut fleet = Fleet::build(&directory.join("world"), network, helper)?;
        let directory = fleet.directory().to_owned();
        let instances = instances(&fleet, &directory, standby)?;
        add_machines(&mut fleet, &instances)?;
        Topology::create(&directory.join("tools"), &shell)?;
        for site in Site::BOTH {
            start(&fleet, site).await?;
        }
        let primary = endpoint(&fleet, Site::Atlanta, DATABASE);
        writer::prepare(&primary).await?;
        say("starting three coordinators, and an agent on each SQL Server and each server with the shell");
        let place = directory.parent().context("the world has a parent")?.join("baton");
        let mut cluster = Cluster::start(fleet.registry(), &place, [range[1], range[2]], binaries)?;
        for host in Site::BOTH.iter().flat_map(|site| site.agents()) {
            let setting = fleet.agent(&host, &allowed(&directory))?;
            cluster.add_agent(fleet.registry(), &host, &setting)?;
        }
        let installation = Self { cluster, fleet, instances, directory };
        installation.wait_for_agents(&Site::BOTH)?;
        say("applying the group");
        let group = installation.write_files()?;
        installation.cluster.json(&["apply", &group.display().to_string(), "--reason", "the lab's first day"])?;
        Ok(installation)
    }

    pub fn wait_for_agents(&self, sites: &[Site]) -> Result<()> {
        let hosts: Vec<String> = sites.iter().flat_map(|site| site.agents()).collect();
        self.cluster.wait_for_agents(&hosts.iter().map(String::as_str).collect::<Vec<_>>(), WITHIN)
    }

    /// The truth about the instances.
    pub fn control(&self) -> &Control {
        self.instances.control()
    }

    pub fn topology(&self) -> Topology {
        Topology::of(&self.directory.join("tools"))
    }

    /// mgc of a site, as the lab's own client reaches it.
    pub fn endpoint(&self, site: Site) -> Endpoint {
        endpoint(&self.fleet, site, DATABASE)
    }

    /// The share of the log backups.
    pub fn share(&self) -> PathBuf {
        self.directory.join("share")
    }

    /// Where a site's copy job puts them.
    pub fn received(&self, site: Site) -> PathBuf {
        received(&self.directory, site)
    }

    /// The power of a whole data centre, or of a part of it, is cut. Returns how many processes died.
    pub fn crash(&mut self, machines: &[String]) -> Result<usize> {
        let mut died = 0;
        for machine in machines {
            self.cluster.kill_agent(machine);
            died += self.fleet.crash(machine)?;
        }
        Ok(died)
    }

    /// A data centre comes back with everything that it ran before.
    pub async fn boot(&mut self, site: Site) -> Result<()> {
        start(&self.fleet, site).await?;
        for host in site.agents() {
            self.cluster.start_agent(self.fleet.registry(), &host)?;
        }
        self.wait_for_agents(&[site])
    }

    /// What a site's instance has hardened of the client's rows.
    pub fn rows(&self, site: Site) -> Result<BTreeSet<i64>> {
        writer::hardened(self.control(), &site.instance(), DATABASE)
    }

    /// A chat server's health page: 200 where it can write to mgc.
    pub async fn health(&self, machine: &str) -> Result<String> {
        self.fleet.healthy(machine, CHAT_PORT, WITHIN).await
    }

    fn write_files(&self) -> Result<PathBuf> {
        let files = self.directory.join("files");
        fs::create_dir_all(&files)?;
        for (name, text) in SHIPPED {
            fs::write(files.join(name), text)?;
        }
        let group = files.join("group.yaml");
        fs::write(&group, self.group_text())?;
        Ok(group)
    }

    /// The sample group with this world's names and addresses.
    fn group_text(&self) -> String {
        let mut text = format!(
            "group: {GROUP}\ndescription: the lab's pool\nproduct: persistent-chat\nprimary: atlanta\nmembers:\n"
        );
        for site in Site::BOTH {
            let [one, two] = site.chat();
            text += &format!(
                "  {0}: {{ site: {0}, hosts: {{ database: {1}, mirror: {2}, chat: [{one}, {two}], tools: {3} }} }}\n",
                site.name(),
                site.database(),
                site.mirror(),
                site.tools()
            );
        }
        text += "hosts:\n";
        for site in Site::BOTH {
            text += &format!(
                "  {}: {{ address: {}, vars: {{ instance: {}, received: {:?} }} }}\n  {}: {{ address: {} }}\n",
                site.database(),
                self.fleet.machine(&site.database()).address,
                site.instance(),
                self.received(site),
                site.mirror(),
                self.fleet.machine(&site.database()).address,
            );
            for chat in site.chat() {
                text += &format!("  {chat}: {{ address: {} }}\n", self.fleet.machine(&chat).address);
            }
        }
        text + &format!(
            "vars:\n  pool: {POOL}\n  share: {:?}\n  separator: /\n  every: 15m\n  retention: 72h\n  mirror_share: {:?}\n  shell: {:?}\n  \
             modules: [SkypeForBusiness]\n  chat_port: {CHAT_PORT}\nconnections:\n  sql: {{ kind: sqlserver, host: \"${{host.address}}\", database: master, \
             user: {USER}, password: \"${{secret('sql')}}\", tls: trust, server_name: \"${{host.vars.instance}}\" }}\nrunbooks:\n  failover: failover.yaml\n  \
             failback: failback.yaml\nautomatic: {{ manual_only: \"the vendor's failover is designed to be a manual process\" }}\n",
            self.share(),
            self.directory.join("mirroring"),
            self.topology().shell(),
        )
    }
}

fn received(directory: &Path, site: Site) -> PathBuf {
    directory.join(format!("received-{}", site.name()))
}

fn endpoint(fleet: &Fleet, site: Site, database: &str) -> Endpoint {
    let address = SocketAddr::from((fleet.machine(&site.database()).address, sqlserver::PORT));
    Endpoint { address, database: database.to_owned(), user: USER.to_owned(), password: PASSWORD.to_owned() }
}

/// Host numbers on the network, in the order of [`Site::machines`].
fn host_number(site: Site, machine: usize) -> u8 {
    let first = match site {
        Site::Atlanta => 11,
        Site::Dallas => 21,
    };
    first + machine as u8
}

fn instances(fleet: &Fleet, directory: &Path, standby: bool) -> Result<Instances> {
    let mut world = WorldBuilder::new().options(sqlserver::world::Options::quick());
    for site in Site::BOTH {
        let address = fleet.network().address(host_number(site, 0));
        world = world.instance(&site.instance(), &format!("{address}:{}", sqlserver::PORT), PASSWORD);
    }
    for instance in &mut world.instances {
        instance.databases.push(COMPLIANCE.to_owned());
    }
    let world = world.shipping(sqlserver::control::Shipping {
        primary: Site::Atlanta.instance(),
        secondary: Site::Dallas.instance(),
        database: DATABASE.to_owned(),
        share: directory.join("share").display().to_string(),
        destination: received(directory, Site::Dallas).display().to_string(),
        standby,
    });
    fs::create_dir_all(received(directory, Site::Atlanta))?;
    Instances::create(&directory.join("instances"), &world)
}

fn add_machines(fleet: &mut Fleet, instances: &Instances) -> Result<()> {
    let address =
        |fleet: &Fleet, site| SocketAddr::from((fleet.network().address(host_number(site, 0)), sqlserver::PORT));
    let any_of: Vec<SocketAddr> = Site::BOTH.iter().map(|site| address(fleet, *site)).collect();
    for site in Site::BOTH {
        for (number, machine) in site.machines().iter().enumerate() {
            let service = match number {
                0 => instances.service(&site.instance()),
                _ => Service::application(CHAT, CHAT_PORT).needs(Need::Writable {
                    any_of: any_of.clone(),
                    database: DATABASE.to_owned(),
                    user: USER.to_owned(),
                    password: PASSWORD.to_owned(),
                }),
            };
            fleet.add(machine, host_number(site, number), &[service])?;
        }
    }
    Ok(())
}

/// Its instance, then its chat servers.
async fn start(fleet: &Fleet, site: Site) -> Result<()> {
    fleet.service(&site.database(), sqlserver::SERVICE, "start").await?;
    for chat in site.chat() {
        fleet.service(&chat, CHAT, "start").await?;
    }
    Ok(())
}

/// What the administrators allow: the databases by name, the directories of log shipping, the shell and the pool's cmdlets.
fn allowed(directory: &Path) -> Allowed {
    let directories = [directory.join("share"), received(directory, Site::Atlanta), received(directory, Site::Dallas)];
    Allowed {
        databases: vec!["master".to_owned(), DATABASE.to_owned()],
        programs: vec![Topology::of(&directory.join("tools")).shell().display().to_string()],
        paths: directories
            .iter()
            .flat_map(|path| [path.display().to_string(), format!("{}/*", path.display())])
            .collect(),
        cmdlets: [
            "*-CsPersistentChatState",
            "Set-CsPersistentChatActiveServer",
            "Get-CsService",
            "*-CsMirrorDatabase",
            "Get-CsDatabaseMirrorState",
        ]
        .map(str::to_owned)
        .to_vec(),
        secrets: BTreeMap::from([("sql".to_owned(), PASSWORD.to_owned())]),
    }
}
