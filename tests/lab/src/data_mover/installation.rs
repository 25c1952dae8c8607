//! Baton installed in the Data Mover world: an agent on every machine, the group applied, a client that writes.
//!
//! What a customer would do by hand with the shipped files: put in names, addresses and timings, and nothing else.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Client, Side, World,
    repository::{DATABASE, USER},
    side::{COPIES, PROPERTIES},
};
use crate::{
    cluster::{Binaries, Cluster},
    horizon::Network,
    machine::Allowed,
    packages::Programs,
};

/// The shipped runbooks.
const SHIPPED: [(&str, &str); 3] = [
    ("configure.yaml", include_str!("../../../../deploy/runbooks/teradata-data-mover/configure.yaml")),
    ("failover.yaml", include_str!("../../../../deploy/runbooks/teradata-data-mover/failover.yaml")),
    ("switchback.yaml", include_str!("../../../../deploy/runbooks/teradata-data-mover/switchback.yaml")),
];
/// The shipped sample group.
const GROUP_FILE: &str = include_str!("../../../../deploy/runbooks/teradata-data-mover/group.yaml");

/// The group's name.
pub const NAME: &str = "dm";
const AGENTS_WITHIN: Duration = Duration::from_secs(60);

/// How the lab's group differs from the shipped one.
#[derive(Debug, Clone)]
pub struct Setting {
    /// `off`, `observe` or `on`.
    pub automatic: &'static str,
    /// The lease.
    pub lasts: &'static str,
}

impl Default for Setting {
    fn default() -> Self {
        Self { automatic: "on", lasts: "3s" }
    }
}

impl Setting {
    /// Nothing fails over by itself, and no lease ends as long as a test lasts.
    pub fn by_hand() -> Self {
        Self { automatic: "off", lasts: "10m" }
    }
}

/// The world, with Baton in it.
pub struct Installation {
    // Dropped first: what Baton started ends before the world under it.
    pub cluster: Cluster,
    pub world: World,
    programs: Programs,
    files: PathBuf,
}

impl Installation {
    /// Builds the world in `directory`, then Baton in it, and returns when everything is on the line.
    pub async fn build(
        directory: &Path,
        programs: Programs,
        helper: PathBuf,
        binaries: Binaries,
        setting: &Setting,
        mut say: impl FnMut(&str),
    ) -> Result<Self> {
        let network = Network::claim_any()?;
        let range = network.address(1).octets();
        say("two sides, each with a server, a real PostgreSQL as repository, and three agents");
        let world = World::build(directory, network, &programs, helper).await?;
        say("three coordinators, an agent of Baton on each of the eight machines");
        let registry = world.fleet.registry();
        let mut cluster = Cluster::start(registry, &directory.join("baton"), [range[1], range[2]], binaries)?;
        let machines = Side::BOTH.map(Side::machines).concat();
        for machine in &machines {
            cluster.add_agent(registry, machine, &world.fleet.agent(machine, &allowed(&world, &programs))?)?;
        }
        let installation = Self { cluster, world, programs, files: directory.join("files") };
        installation.cluster.wait_for_agents(&machines, AGENTS_WITHIN)?;
        say("the group, from the shipped sample files");
        installation.write_files(setting)?;
        installation.apply("the lab's first day")?;
        Ok(installation)
    }

    /// `baton apply`.
    pub fn apply(&self, reason: &str) -> Result<()> {
        let path = self.files.join("group.yaml");
        self.cluster.json(&["apply", &path.display().to_string(), "--reason", reason]).map(drop)
    }

    /// A client that writes to both sides; its record is also in a file beside the group's.
    pub fn start_client(&self) -> Result<Client> {
        let services = Side::BOTH.map(|side| self.world.rest(side));
        Client::start(&services, Duration::from_millis(25), &self.files.join("acknowledged.jsonl"))
    }

    /// The power of a whole side goes, with Baton's agents on it. Returns how many processes died.
    pub fn crash(&mut self, side: Side) -> Result<usize> {
        // The repository first: nothing may be acknowledged after the moment of the crash.
        let mut died = self.world.kill_repository(side)?;
        for machine in side.machines() {
            self.cluster.kill_agent(machine);
            died += 1 + self.world.fleet.crash(machine)?;
        }
        Ok(died)
    }

    /// The side's machines run again, with their repository and Baton's agents, and nothing else.
    pub async fn boot(&mut self, side: Side) -> Result<()> {
        self.world.start_repository(side).await?;
        for machine in side.machines() {
            self.cluster.start_agent(self.world.fleet.registry(), machine)?;
        }
        self.cluster.wait_for_agents(&side.machines(), AGENTS_WITHIN)
    }

    /// PostgreSQL's programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Writes group and runbooks.
    pub fn write_files(&self, setting: &Setting) -> Result<()> {
        fs::create_dir_all(&self.files)?;
        for (name, text) in SHIPPED {
            fs::write(self.files.join(name), text)?;
        }
        fs::write(self.files.join("group.yaml"), self.group_text(setting)?).context("write the group")
    }

    /// The shipped group with this world's names, addresses and timings.
    fn group_text(&self, setting: &Setting) -> Result<String> {
        let mut text = GROUP_FILE.to_owned();
        let mut put = |sample: &str, own: &str| -> Result<()> {
            ensure!(text.contains(sample), "the sample group has no {sample:?}");
            text = text.replace(sample, own);
            Ok(())
        };
        for side in Side::BOTH {
            for name in side.machines() {
                let machine = self.world.fleet.machine(name);
                let vars = format!(
                    ", vars: {{ daemon_properties: {:?}, copies: {:?}, process: \"machine-service {} \" }} }}",
                    machine.path(PROPERTIES),
                    machine.path(COPIES),
                    machine.root.display()
                );
                let sample = GROUP_FILE.lines().find(|line| line.starts_with(&format!("  {name}: {{ address: ")));
                let sample = sample.with_context(|| format!("the sample group has no {name}"))?;
                put(sample, &format!("  {name}: {{ address: {}{vars}", machine.address))?;
            }
        }
        let port = self.world.repository(Side::Primary).address.port();
        put("repository: 5432", &format!("repository: {port}"))?;
        put("port: 5432", &format!("port: {port}"))?;
        put("tls: verify, ca_file: /etc/baton/repository-ca.pem", "tls: off")?;
        put("sslmode: verify-ca", "sslmode: disable")?;
        for program in ["pg_dump", "pg_restore"] {
            put(&format!("/usr/bin/{program}"), &self.programs.of_postgres(program).display().to_string())?;
        }
        ensure!(GROUP_FILE.contains(&format!("database: {DATABASE}, user: {USER}")), "the sample group's repository");
        // A script asked five times a second on eight machines would be all that this one does: processes are looked for instead.
        let components = ["daemon", "agent", "dsa"].map(|service| (service, "components"));
        for (service, manager) in components.into_iter().chain([("sync", "sync")]) {
            put(
                &format!(
                    "probe: {{ service: {{ name: \"${{vars.services.{service}}}\", manager: \"${{vars.managers.{manager}}}\" }} }}\n"
                ),
                &format!(
                    "probe: {{ process: {{ program: baton-lab, arguments_contain: \"${{host.vars.process}}${{vars.services.{service}}}\" }} }}\n    \
                     stop: {{ service.stop: {{ name: \"${{vars.services.{service}}}\" }} }}\n"
                ),
            )?;
        }
        put("    exclusive: true\n", "    exclusive: true\n    every: 200ms\n    timeout: 2s\n")?;
        put(
            "  repository:\n    on: repository\n",
            "  repository:\n    on: repository\n    every: 200ms\n    timeout: 2s\n",
        )?;
        put("mode: on\n", &format!("mode: {}\n", setting.automatic))?;
        put("for: 30s", "for: 1s")?;
        put("grace: 1m", "grace: 1s")?;
        put("cooldown: 10m", "cooldown: 1s")?;
        put("lasts: 15s, stop_within: 15s", &format!("lasts: {}, stop_within: 2s", setting.lasts))?;
        Ok(text)
    }
}

/// What the machines' administrators allow: their services, their own files, the repositories, PostgreSQL's programs.
fn allowed(world: &World, programs: &Programs) -> Allowed {
    let repository = world.repository(Side::Primary);
    let mut allowed = vec!["/bin/mv".to_owned()];
    allowed.extend(["pg_dump", "pg_restore"].map(|program| programs.of_postgres(program).display().to_string()));
    Allowed {
        databases: vec![DATABASE.to_owned()],
        programs: allowed,
        paths: vec![format!("{}/**", world.fleet.directory().display())],
        secrets: BTreeMap::from([("data-mover-repository".to_owned(), repository.password.clone())]),
        ..Allowed::default()
    }
}
