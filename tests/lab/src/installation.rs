//! Baton installed in the Horizon DaaS world: an agent on every appliance, its groups applied, clients that write.
//!
//! What a customer would do by hand with the shipped sample files: put in names and addresses, and nothing else.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    cluster::{AgentSetting, Binaries, Cluster},
    horizon::{Appliance, Database, Network, Options, Organization, Side, World, appliance::Service},
    ledger::{Ledger, Target, Writer, writer},
    packages::Programs,
};

/// The shipped runbooks and sample groups.
const SHIPPED: &[(&str, &str)] = &[
    ("enable-writes.yaml", include_str!("../../../deploy/runbooks/horizon-daas/enable-writes.yaml")),
    ("promote-provider.yaml", include_str!("../../../deploy/runbooks/horizon-daas/promote-provider.yaml")),
    ("promote-tenant.yaml", include_str!("../../../deploy/runbooks/horizon-daas/promote-tenant.yaml")),
    ("rejoin.yaml", include_str!("../../../deploy/runbooks/horizon-daas/rejoin.yaml")),
    ("switchover.yaml", include_str!("../../../deploy/runbooks/horizon-daas/switchover.yaml")),
];

/// How long the agents may take to come on the line.
const AGENTS_WITHIN: Duration = Duration::from_secs(60);

/// The world, with Baton in it.
pub struct Installation {
    // Dropped first: what Baton started ends before the world under it.
    pub cluster: Cluster,
    pub world: World,
    pub ledger: Ledger,
    files: PathBuf,
}

/// Which appliances there are, and so which groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// A tenant besides the provider.
    pub tenant: bool,
    /// Thousands of rows in the large tables.
    pub thousands: u32,
}

impl Installation {
    /// Builds the world in `directory`, then Baton in it, and returns when everything is on the line.
    pub async fn build(
        directory: &Path,
        programs: Programs,
        helper: PathBuf,
        binaries: Binaries,
        size: Size,
        mut say: impl FnMut(&str),
    ) -> Result<Self> {
        let network = Network::claim_any()?;
        let range = network.address(1).octets();
        let options = Options {
            tenant: size.tenant,
            thousands: size.thousands,
            ..Options::new(directory.join("world"), network, programs, helper)
        };
        say("building the appliances: PostgreSQL, Slony-I, services");
        let world = World::build(options).await?;
        say("starting three coordinators");
        let mut cluster = Cluster::start(world.registry(), &directory.join("baton"), [range[1], range[2]], binaries)?;
        say("starting an agent on each appliance");
        let appliances = world.appliances().to_vec();
        for appliance in &appliances {
            init_scripts(appliance)?;
            cluster.add_agent(world.registry(), &appliance.name, &setting(&world, appliance))?;
        }
        let ledger = Ledger::open(&directory.join("ledger.jsonl"))?;
        let installation = Self { cluster, world, ledger, files: directory.join("files") };
        installation.write_files()?;
        for appliance in &appliances {
            installation.set_primary(appliance.organization, Side::A)?;
        }
        let names: Vec<&str> = appliances.iter().map(|appliance| appliance.name.as_str()).collect();
        installation.cluster.wait_for_agents(&names, AGENTS_WITHIN)?;
        say("applying the groups");
        for organization in installation.organizations() {
            let path = installation.group_file(organization);
            installation.cluster.json(&["apply", &path.display().to_string(), "--reason", "the lab's first day"])?;
        }
        Ok(installation)
    }

    /// The organisations of this world.
    pub fn organizations(&self) -> Vec<Organization> {
        let mut organizations: Vec<Organization> =
            self.world.appliances().iter().map(|appliance| appliance.organization).collect();
        organizations.dedup();
        organizations
    }

    fn group_file(&self, organization: Organization) -> PathBuf {
        self.files.join(match organization {
            Organization::Provider => "group-provider.yaml",
            Organization::Tenant => "group-tenant.yaml",
        })
    }

    fn write_files(&self) -> Result<()> {
        fs::create_dir_all(&self.files)?;
        for (name, text) in SHIPPED {
            fs::write(self.files.join(name), text)?;
        }
        for organization in self.organizations() {
            fs::write(self.group_file(organization), self.group_text(organization))?;
        }
        Ok(())
    }

    /// The sample group with this world's names and addresses.
    fn group_text(&self, organization: Organization) -> String {
        let (group, databases, av, promote) = match organization {
            Organization::Provider => ("desktone-provider", "[fdb]", "fdb", "promote-provider.yaml"),
            Organization::Tenant => ("desktone-org1001", "[fdb, edb, avdb]", "avdb", "promote-tenant.yaml"),
        };
        let of = |side| self.world.appliance(organization, side);
        let (a, b) = (of(Side::A), of(Side::B));
        let mut hosts = String::new();
        for appliance in [a, b] {
            hosts += &format!(
                "  {}:\n    address: {}\n    vars:\n      root: {:?}\n      only: {:?}\n      slon_scripts:\n",
                appliance.name,
                appliance.address,
                appliance.root,
                appliance.root.display().to_string() + "/",
            );
            for database in appliance.databases() {
                hosts += &format!("        {}: {:?}\n", database.name(), appliance.slon_script(*database));
            }
        }
        let mut roles = String::new();
        if organization == Organization::Tenant {
            let provider = |side| self.world.appliance(Organization::Provider, side);
            let (one, two) = (provider(Side::A), provider(Side::B));
            roles = format!("roles:\n  provider: [{}, {}]\n", one.name, two.name);
            for appliance in [one, two] {
                hosts += &format!("  {}: {{ address: {} }}\n", appliance.name, appliance.address);
            }
        }
        let port = a.database_port;
        let ports: Vec<String> =
            Service::ALL.iter().map(|service| format!("{}: {}", service.name(), service.port())).collect();
        let connection = format!(
            "{{ host: \"${{host.address}}\", port: {port}, database: fdb, user: slony, password: \"${{secret('slony')}}\" }}"
        );
        format!(
            "group: {group}\ndescription: appliances of the lab\nproduct: horizon-daas\nprimary: a\nmembers:\n  \
             a: {{ site: dc1, hosts: {{ appliance: {} }} }}\n  b: {{ site: dc1, hosts: {{ appliance: {} }} }}\n{roles}hosts:\n{hosts}vars:\n  \
             databases: {databases}\n  av_database: {av}\n  port: {port}\n  watchdogs: [slon_watchdog]\n  \
             av_setup_done: /var/av-setup.runs\n  ports: {{ {} }}\nconnections:\n  fdb: {connection}\n  provider: {connection}\n\
             runbooks:\n  failover: enable-writes.yaml\n  promote: {promote}\n  rejoin: rejoin.yaml\n  switchover: switchover.yaml\n\
             automatic: {{ manual_only: \"the vendor's procedure is a person's decision\" }}\n",
            a.name,
            b.name,
            ports.join(", ")
        )
    }

    /// The group's name.
    pub fn group(&self, organization: Organization) -> &'static str {
        match organization {
            Organization::Provider => "desktone-provider",
            Organization::Tenant => "desktone-org1001",
        }
    }

    /// A client for each replicated database, which writes to whatever appliance is said to be primary.
    pub fn start_writers(&self) -> BTreeMap<String, Writer> {
        let mut writers = BTreeMap::new();
        for pair in self.world.pairs() {
            let place = place(pair.origin.organization, pair.database);
            let endpoint = self.world.application(pair.origin, pair.database);
            let target = Target {
                writer: place.replace('/', "-"),
                place: place.clone(),
                primary: writer::in_file(&self.primary_file(pair.origin.organization), endpoint),
                pause: Duration::from_millis(20),
            };
            writers.insert(place, Writer::start(&self.ledger, target));
        }
        writers
    }

    fn primary_file(&self, organization: Organization) -> PathBuf {
        self.files.join(format!("primary-{}", self.group(organization)))
    }

    /// Tells the clients where to write: as a load balancer would.
    pub fn set_primary(&self, organization: Organization, side: Side) -> Result<()> {
        let address = self.world.appliance(organization, side).server().to_string();
        fs::write(self.primary_file(organization), address).context("tell the clients where the primary is")
    }

    /// Nowhere for the moment.
    pub fn no_primary(&self, organization: Organization) -> Result<()> {
        fs::write(self.primary_file(organization), "").context("tell the clients that there is no primary")
    }

    /// The files that the procedures edit, as they are now.
    pub fn properties(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for appliance in self.world.appliances() {
            let paths = appliance.databases().iter().map(|database| appliance.properties(*database));
            for path in paths.chain([appliance.application_properties()]) {
                files.insert(path.clone(), fs::read(&path)?);
            }
        }
        Ok(files)
    }
}

/// A replicated database in the ledger's words.
pub fn place(organization: Organization, database: Database) -> String {
    let group = match organization {
        Organization::Provider => "sp",
        Organization::Tenant => "ta",
    };
    format!("{group}/{}", database.name())
}

/// `/etc/init.d` of an appliance: what `service NAME VERB` runs.
fn init_scripts(appliance: &Appliance) -> Result<()> {
    let folder = appliance.path("/etc/init.d");
    fs::create_dir_all(&folder)?;
    for service in Service::ALL {
        let path = folder.join(service.name());
        let command = appliance.service_command();
        fs::write(&path, format!("#!/bin/sh\nexec '{}' {} \"$@\"\n", command.display(), service.name()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// What an appliance's administrator allows: its own files, services, scripts and databases.
fn setting(world: &World, appliance: &Appliance) -> AgentSetting {
    let root = appliance.root.display();
    let policy = format!(
        "services = [\"dtService\", \"av-manager\", \"diagnose\"]\n\
         paths = [\"{root}/**\"]\n\
         programs = [\"{root}/usr/local/desktone/scripts/*\", \"{root}/usr/local/desktone/scripts/slon_watchdog\", \"{root}/etc/init.d/*\", \"/bin/grep\", \"/usr/bin/grep\", \"/usr/bin/slon\", \"/usr/bin/slonik\"]\n\
         databases = [\"fdb\", \"edb\", \"avdb\"]\n\
         secrets = [\"slony\", \"database\"]\n"
    );
    AgentSetting {
        policy,
        secrets: BTreeMap::from([
            ("slony".to_owned(), world.slony_password().to_owned()),
            ("database".to_owned(), world.database_password().to_owned()),
        ]),
        machine: Some(appliance.name.clone()),
        init_scripts: Some(appliance.path("/etc/init.d")),
        tables: String::new(),
    }
}
