//! VMware Horizon DaaS: pairs of appliances with real PostgreSQL and Slony-I; one is lost, its standby takes over, it returns.
//!
//! Counted by the appliances' own scripts, by what the databases hold, and by the files.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use baton_lab::{
    cluster::{Cluster, until},
    horizon::{
        Appliance, Database, Organization, Side,
        appliance::Service,
        power::Boot,
        verification::{self, node, primaries},
    },
    installation::{Installation, Size},
    packages,
    processes::{Registry, kill_until_gone, registry},
};

use super::{Procedure, Programs, Stage, standing, words};
use crate::{
    drive::{Place, complete},
    end_state::{EndState, Loose, Rule},
    limits::{SETTLED_WITHIN, SOON, UNDISTURBED_WITHIN},
    log::Task,
    party::Party,
};

const LOOSE: [Loose; 2] = [
    Loose {
        facts: "start of slon_",
        rule: Rule::AtLeast,
        because: "a slon dies with its database, and the appliance's own watchdog starts it again",
    },
    Loose {
        facts: "run-failed of av-setup",
        rule: Rule::AtLeast,
        because: "it fails where its database dies under it, and an operator has it run again",
    },
];

struct HorizonDaas {
    lab: Installation,
    runbook: &'static str,
    organization: Organization,
    /// Lines in the journals of both appliances before it began.
    journals: [usize; 2],
}

impl Place for HorizonDaas {
    fn cluster(&self) -> &Cluster {
        &self.lab.cluster
    }
}

impl Place for Installation {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

const SIDES: [Side; 2] = [Side::A, Side::B];

pub async fn build(runbook: &'static str, directory: &Path, programs: &Programs) -> Result<Box<Stage>> {
    let installed = packages::ensure(&packages::HORIZON, |line| eprintln!("{line}")).await?;
    let (helper, binaries) = (programs.helper.clone(), programs.binaries.clone());
    let tenant = runbook == "promote-tenant";
    let organization = if tenant { Organization::Tenant } else { Organization::Provider };
    let size = Size { tenant, thousands: 1 };
    let mut lab = Installation::build(directory, installed, helper, binaries, size, |_| {}).await?;
    let group = lab.group(organization);
    if runbook != "switchover" {
        let a = lab.world.appliance(organization, Side::A).clone();
        lab.world.crash(&a, &[])?;
        lab.cluster.kill_agent(&a.name);
        until(SOON, "silence of an appliance that is lost", || {
            let hosts = lab.cluster.json(&["hosts"])?;
            let host = hosts.as_array().into_iter().flatten().find(|host| host["name"] == a.name.as_str());
            ensure!(host.is_some_and(|host| host["connected"] != true), "{hosts}");
            Ok(())
        })?;
    }
    if matches!(runbook, "promote-provider" | "promote-tenant" | "rejoin") {
        complete(&mut lab, &["failover", group], UNDISTURBED_WITHIN).await?;
    }
    if runbook == "rejoin" {
        complete(&mut lab, &["run", group, "promote"], UNDISTURBED_WITHIN).await?;
        let a = lab.world.appliance(organization, Side::A).clone();
        lab.world.boot(&a, Boot::EVERYTHING).await?;
        lab.cluster.start_agent(lab.world.registry(), &a.name)?;
        lab.cluster.wait_for_agents(&[&a.name], SOON)?;
    }
    let mut horizon = HorizonDaas { lab, runbook, organization, journals: [0, 0] };
    for (number, side) in SIDES.into_iter().enumerate() {
        horizon.journals[number] = horizon.lab.world.effects(horizon.appliance(side))?.len();
    }
    Ok(Box::new(horizon))
}

impl HorizonDaas {
    fn appliance(&self, side: Side) -> &Appliance {
        self.lab.world.appliance(self.organization, side)
    }

    fn named(&self, machine: &str) -> Result<&Appliance> {
        let found = self.lab.world.appliances().iter().find(|appliance| appliance.name == machine);
        found.with_context(|| format!("there is no appliance {machine}"))
    }

    /// Appliances that are not lost; the primary at the end is the first.
    fn living(&self) -> &'static [Side] {
        match self.runbook {
            "rejoin" | "switchover" => &[Side::B, Side::A],
            _ => &[Side::B],
        }
    }

    /// What an appliance's services, slons, files and databases are.
    async fn of_appliance(&self, side: Side, state: &mut EndState) -> Result<()> {
        let world = &self.lab.world;
        let appliance = self.appliance(side);
        let name = &appliance.name;
        for service in Service::ALL {
            let page = world.ready(appliance, service, SETTLED_WITHIN).await?;
            let primary = page.contains(&self.appliance(Side::B).server().to_string());
            state.note(format!("{} of {name} writes to the primary", service.name()), primary);
        }
        let slons = world.running_on(appliance)?.into_iter().filter(|process| process.name == "slon").count();
        state.note(format!("slons run on {name}"), slons > 0);
        for database in appliance.databases() {
            let node = node(&world.superuser(appliance, *database)).await?;
            state.note(format!("{database} of {name} is"), format!("{:?}", verification::role(node.as_ref())));
        }
        Ok(())
    }

    async fn slon_is_connected(&self, appliance: &Appliance, database: Database) -> Result<bool> {
        let client = self.lab.world.superuser(appliance, database).connect().await?;
        let sessions: i64 = client
            .query_one(
                "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'slon.local%'",
                &[],
            )
            .await?
            .get(0);
        Ok(sessions > 0)
    }

    /// The files that the procedures edit, with the addresses by name.
    fn files(&self, state: &mut EndState) -> Result<()> {
        let (a, b) = (self.appliance(Side::A), self.appliance(Side::B));
        for (path, text) in self.lab.properties()? {
            let Some(appliance) = [a, b].into_iter().find(|appliance| path.starts_with(&appliance.root)) else {
                continue;
            };
            let text = String::from_utf8(text).context("a file of settings is text")?;
            let text = text.replace(&a.address.to_string(), "A").replace(&b.address.to_string(), "B");
            let text = text.replace(&a.database_port.to_string(), "PORT");
            let inside = path.strip_prefix(&appliance.root)?.display().to_string();
            state.note(format!("{inside} of {}", appliance.name), text);
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Procedure for HorizonDaas {
    fn group(&self) -> &str {
        self.lab.group(self.organization)
    }

    fn words(&self) -> Vec<String> {
        let group = self.group();
        match self.runbook {
            "enable-writes" => words(&["failover", group]),
            "promote-provider" => words(&["run", group, "promote"]),
            "promote-tenant" => {
                let provider = &self.lab.world.appliance(Organization::Provider, Side::A).name;
                words(&["run", group, "promote", "-i", &format!("provider={provider}")])
            }
            "rejoin" => words(&["run", group, "rejoin", "-i", "member=a"]),
            _ => words(&["switchover", group, "--to", "b"]),
        }
    }

    fn hands(&mut self) -> (&mut Cluster, &Registry) {
        (&mut self.lab.cluster, self.lab.world.registry())
    }

    /// The server of the appliance that the step is on.
    fn database(&self, task: &Task) -> Result<Option<String>> {
        self.named(&task.host).map(|appliance| Some(appliance.name.clone()))
    }

    async fn kill_database(&mut self, machine: &str) -> Result<bool> {
        let appliance = self.named(machine)?;
        let servers = || {
            let members = self.lab.world.running_on(appliance).unwrap_or_default();
            members.into_iter().filter(|process| process.name == "postgres").collect()
        };
        Ok(kill_until_gone(servers, SOON)? > 0)
    }

    async fn start_database(&mut self, machine: &str) -> Result<()> {
        let appliance = self.named(machine)?;
        if self.lab.world.superuser(appliance, Database::Fdb).connect().await.is_ok() {
            return Ok(());
        }
        registry::forget_dead_server(&appliance.data());
        Ok(self.lab.world.server(appliance).start().await?)
    }

    fn called(&self, machine: &str) -> Vec<String> {
        let address = self.named(machine).map(|appliance| appliance.address.to_string());
        address.into_iter().chain([machine.to_owned()]).collect()
    }

    /// It cannot be asked or the session broke, also of slonik; then av-setup fails, a service that asks it is not ready, and no row comes across.
    fn excuses(&self) -> &'static [&'static str] {
        &["BTN-0710", "BTN-0714", "BTN-0733", "BTN-0533", "BTN-0460", "BTN-0776"]
    }

    /// A slon that has lost its server tries again after ten seconds.
    async fn mended(&mut self) -> Result<()> {
        for side in self.living() {
            let appliance = self.appliance(*side);
            for database in appliance.databases() {
                let own = format!("slon_{database}.pid");
                let runs = || -> Result<bool> {
                    let running = self.lab.world.running_on(appliance)?;
                    Ok(running
                        .iter()
                        .any(|one| one.name == "slon" && one.command.iter().any(|word| word.ends_with(&own))))
                };
                let begun = Instant::now();
                while runs()? && !self.slon_is_connected(appliance, *database).await? {
                    ensure!(begun.elapsed() < SOON, "the slon of {database} on {} does not come back", appliance.name);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        Ok(())
    }

    async fn end_state(&mut self) -> Result<EndState> {
        let mut state = EndState::default();
        standing(&self.lab.cluster, self.group(), &mut state)?;
        for side in self.living() {
            self.of_appliance(*side, &mut state).await?;
        }
        self.files(&mut state)?;
        for (side, before) in SIDES.into_iter().zip(self.journals) {
            let appliance = self.appliance(side);
            let effects = self.lab.world.effects(appliance)?.split_off(before);
            let effects = effects.into_iter().filter(|effect| !effect.verb.ends_with("-again"));
            state.count(effects.map(|effect| format!("{} of {} on {}", effect.verb, effect.what, appliance.name)));
        }
        let b = self.appliance(Side::B);
        let client = self.lab.world.superuser(b, Database::Fdb).connect().await?;
        let setups: i64 = client.query_one("select count(*) from av_setup_run", &[]).await?.get(0);
        state.note("av-setups in the primary's database", setups);
        // The service provider's primary knows whose capabilities are the primary's.
        let provider = match self.organization {
            Organization::Provider => b,
            Organization::Tenant => self.lab.world.appliance(Organization::Provider, Side::A),
        };
        for (organization, holders) in primaries(&self.lab.world.superuser(provider, Database::Fdb)).await? {
            state.note(format!("capabilities of organisation {organization}"), holders.join(", "));
        }
        if self.living().len() == 2 {
            for database in b.databases() {
                let verified = self.lab.world.verify(b, self.appliance(Side::A), *database).await;
                let words = verified.map_or_else(|error| error.to_string(), |_| "replicates to the other".to_owned());
                state.note(format!("{database} of the primary"), words);
            }
        }
        Ok(state)
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let expected: &[(&'static str, &str)] = match self.runbook {
            "enable-writes" => &[
                ("fdb of sp-b is", "Standalone"),
                ("av-setups in the primary's database", "1"),
                ("start of dtService on sp-b", "1"),
                ("stop of diagnose on sp-b", "1"),
            ],
            "promote-provider" => &[("fdb of sp-b is", "Origin"), ("capabilities of organisation 1000", "sp-b")],
            "promote-tenant" => &[
                ("fdb of ta-b is", "Origin"),
                ("avdb of ta-b is", "Origin"),
                ("capabilities of organisation 1000", "sp-a"),
                ("capabilities of organisation 1001", "ta-b"),
            ],
            "rejoin" => &[("fdb of sp-b is", "Origin"), ("fdb of sp-a is", "Subscriber"), ("limits", "0")],
            _ => &[
                ("fdb of sp-b is", "Origin"),
                ("fdb of sp-a is", "Subscriber"),
                ("fdb of the primary", "replicates to the other"),
            ],
        };
        let mut expected: Vec<_> = expected.iter().map(|(fact, value)| (*fact, (*value).to_owned())).collect();
        expected.extend([("primary by Baton", "b".to_owned()), ("epoch", "2".to_owned())]);
        expected
    }

    fn loose(&self, party: Party) -> &'static [Loose] {
        if party == Party::Database { &LOOSE } else { &[] }
    }
}
