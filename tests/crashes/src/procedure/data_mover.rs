//! Teradata Data Mover: primary and secondary servers, of which one side at a time may be active, with real PostgreSQL repositories.
//!
//! Counted by the services' own journals, by what clients were answered, and by the jobs that the repositories hold.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use baton_lab::{
    cluster::{Cluster, until},
    data_mover::{
        Client, Installation, Side,
        installation::{NAME, Setting},
        judge,
        side::{AGENT, BROKER, DAEMON, DSA, REST, SYNC, services},
    },
    horizon::properties,
    packages,
    processes::Registry,
    story::command,
};
use serde_json::Value;

use super::{Procedure, Programs, Stage, standing, words};
use crate::{
    agent_log::Said,
    drive::{Place, complete},
    end_state::{EndState, Loose, Rule},
    limits::{SETTLED_WITHIN, SOON, UNDISTURBED_WITHIN},
    log::Task,
    party::Party,
};

const fn more(facts: &'static str, leases: &'static str) -> Loose {
    let because = "an agent that is started again and hears no coordinator for a second stops what is exclusive; it is started again";
    Loose { facts, rule: Rule::MoreBy(leases), because }
}

const LEASES: Loose =
    Loose { facts: "lease ended for ", rule: Rule::Noted, because: "it says how many more the others may be" };

/// Of the side that is active at the end; the other's are exact.
const ON_PRIMARY: [Loose; 13] = [
    LEASES,
    more("start of activemq on dm1", "lease ended for activemq on dm1"),
    more("start of dsc on dm1", "lease ended for dsc on dm1"),
    more("start of dmdaemon on dm1", "lease ended for dmdaemon on dm1"),
    more("start of dmrest on dm1", "lease ended for dmrest on dm1"),
    more("start of dmsync on dm1", "lease ended for dmsync on dm1"),
    more("start of dmagent on dma", "lease ended for dmagent"),
    more("stop of activemq on dm1", "lease ended for activemq on dm1"),
    more("stop of dsc on dm1", "lease ended for dsc on dm1"),
    more("stop of dmdaemon on dm1", "lease ended for dmdaemon on dm1"),
    more("stop of dmrest on dm1", "lease ended for dmrest on dm1"),
    more("stop of dmsync on dm1", "lease ended for dmsync on dm1"),
    more("stop of dmagent on dma", "lease ended for dmagent"),
];
const ON_SECONDARY: [Loose; 13] = [
    LEASES,
    more("start of activemq on dm2", "lease ended for activemq on dm2"),
    more("start of dsc on dm2", "lease ended for dsc on dm2"),
    more("start of dmdaemon on dm2", "lease ended for dmdaemon on dm2"),
    more("start of dmrest on dm2", "lease ended for dmrest on dm2"),
    more("start of dmsync on dm2", "lease ended for dmsync on dm2"),
    more("start of dmagent on dmb", "lease ended for dmagent"),
    more("stop of activemq on dm2", "lease ended for activemq on dm2"),
    more("stop of dsc on dm2", "lease ended for dsc on dm2"),
    more("stop of dmdaemon on dm2", "lease ended for dmdaemon on dm2"),
    more("stop of dmrest on dm2", "lease ended for dmrest on dm2"),
    more("stop of dmsync on dm2", "lease ended for dmsync on dm2"),
    more("stop of dmagent on dmb", "lease ended for dmagent"),
];

/// Services, what the group calls them, and the beginning of the name of the runbooks' last step about each.
const LAST_LOOKS: [(&str, &str, &str); 6] = [
    (BROKER, "activemq", "ActiveMQ still runs"),
    (DSA, "dsa", "The bundled DSA still runs"),
    (AGENT, "agents", "The agents still run"),
    (DAEMON, "daemon", "The Data Mover daemon still runs"),
    (REST, "rest", "The REST service still answers"),
    (SYNC, "sync", "Synchronization still runs"),
];

struct DataMover {
    // Dropped first: it writes to the world below.
    client: Client,
    lab: Installation,
    runbook: &'static str,
    /// Lines in journals before it began.
    journal: usize,
    /// How long each agent's log was before it began.
    logs: BTreeMap<&'static str, usize>,
}

impl Place for DataMover {
    fn cluster(&self) -> &Cluster {
        &self.lab.cluster
    }
}

impl Place for Installation {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

pub async fn build(runbook: &'static str, directory: &Path, programs: &Programs) -> Result<Box<Stage>> {
    let installed = packages::ensure(&packages::DATA_MOVER, |line| eprintln!("{line}")).await?;
    let (helper, binaries) = (programs.helper.clone(), programs.binaries.clone());
    // Nothing happens by itself here, and no lease ends while coordinators come back; but an agent that comes back holds none.
    let setting = Setting::by_hand();
    let mut lab = Installation::build(directory, installed, helper, binaries, &setting, |_| {}).await?;
    for side in Side::BOTH {
        lab.world.start(side).await?;
    }
    let client = lab.start_client()?;
    if runbook != "configure" {
        complete(&mut lab, &["run", NAME, "configure"], UNDISTURBED_WITHIN).await?;
        client.has_written(Side::Primary.server(), 5, SOON).await?;
    }
    if runbook == "switchback" {
        complete(&mut lab, &["failover", NAME], UNDISTURBED_WITHIN).await?;
        client.has_written(Side::Secondary.server(), 5, SOON).await?;
    }
    // What is started by hand on the side that is not active is stopped by its agent or by `configure`, whoever comes first: for that
    // runbook all counts from the beginning.
    let journal = if runbook == "configure" { 0 } else { lab.world.effects()?.len() };
    let mut mover = DataMover { client, lab, runbook, journal, logs: BTreeMap::new() };
    for machine in Side::BOTH.map(Side::machines).concat() {
        let length = mover.said(machine)?.length();
        mover.logs.insert(machine, length);
    }
    Ok(Box::new(mover))
}

impl DataMover {
    /// Which side is active at the end.
    fn active(&self) -> Side {
        if self.runbook == "failover" { Side::Secondary } else { Side::Primary }
    }

    /// What the agent of Baton on a machine has said since the run began.
    fn said(&self, machine: &str) -> Result<Said> {
        let from = self.logs.get(machine).copied().unwrap_or_default();
        Said::read(&self.lab.cluster.agent_directory(machine).join("log"), from)
    }

    fn side(host: &str) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| side.machines().contains(&host))
    }
}

#[async_trait(?Send)]
impl Procedure for DataMover {
    fn group(&self) -> &str {
        NAME
    }

    fn words(&self) -> Vec<String> {
        match self.runbook {
            "failover" => words(&["failover", NAME]),
            other => words(&["run", NAME, other]),
        }
    }

    fn hands(&mut self) -> (&mut Cluster, &Registry) {
        (&mut self.lab.cluster, self.lab.world.fleet.registry())
    }

    /// The repository of the side that the step is on.
    fn database(&self, task: &Task) -> Result<Option<String>> {
        Ok(Self::side(&task.host).map(|side| side.server().to_owned()))
    }

    async fn kill_database(&mut self, machine: &str) -> Result<bool> {
        let side = Self::side(machine).context("a server of Data Mover")?;
        Ok(self.lab.world.kill_repository(side)? > 0)
    }

    async fn start_database(&mut self, machine: &str) -> Result<()> {
        let side = Self::side(machine).context("a server of Data Mover")?;
        if self.lab.world.repository(side).endpoint().connect().await.is_ok() {
            return Ok(());
        }
        self.lab.world.start_repository(side).await
    }

    fn called(&self, machine: &str) -> Vec<String> {
        let side = Self::side(machine).map(|side| self.lab.world.repository(side).address.ip().to_string());
        side.into_iter().chain([machine.to_owned()]).collect()
    }

    /// It cannot be asked, the session broke, or pg_dump failed.
    fn excuses(&self) -> &'static [&'static str] {
        &["BTN-0710", "BTN-0714", "BTN-0533"]
    }

    async fn start_what_agents_stopped(&mut self, run: &str, view: &Value) -> Result<()> {
        // Where every host of the primary holds the lease again, no agent begins to stop anything any more; and what it had begun is over.
        let active = until(SOON, "lease", || {
            let view = command::group(&self.lab.cluster, NAME)?;
            let holders = view["lease"]["holders"].as_object().context("a lease")?;
            ensure!(
                !holders.is_empty() && holders.values().all(|left| !left.is_null()),
                "the lease: {}",
                view["lease"]
            );
            let primary = view["primary"].as_str().context("a primary")?;
            let active = Side::BOTH.into_iter().find(|side| side.name() == primary).context("a side")?;
            for machine in active.machines() {
                let said = self.said(machine)?;
                let open = said.being_stopped(NAME);
                ensure!(open.is_empty(), "{machine} is still stopping {open:?}");
            }
            Ok(active)
        })?;
        for machine in active.machines() {
            let said = self.said(machine)?;
            for (_, service) in services().into_iter().filter(|(of, _)| *of == machine) {
                let (_, component, name) =
                    LAST_LOOKS.into_iter().find(|(of, ..)| *of == service).context("a service")?;
                // What the run still has before it, or has not got, is not done for it.
                let steps = view["steps"].as_array().into_iter().flatten();
                let step = steps.filter(|step| step["name"].as_str().is_some_and(|one| one.starts_with(name)));
                let Some(step) = step.filter_map(|step| step["id"].as_str()).next_back() else { continue };
                let stopped = said.was_stopped_after(NAME, component, run, step);
                if stopped && !self.lab.world.fleet.runs(machine, service) {
                    self.lab.world.start_service(machine, service).await?;
                }
            }
        }
        Ok(())
    }

    fn loose(&self, party: Party) -> &'static [Loose] {
        match self.active() {
            _ if !party.leaves_agents_alone() => &[],
            Side::Primary => &ON_PRIMARY,
            Side::Secondary => &ON_SECONDARY,
        }
    }

    async fn end_state(&mut self) -> Result<EndState> {
        let mut state = EndState::default();
        standing(&self.lab.cluster, NAME, &mut state)?;
        let active = self.active();
        let fresh = self.client.has_written(active.server(), 5, SETTLED_WITHIN).await?;
        state.note("clients are served in epoch", fresh.epoch);
        for side in Side::BOTH {
            state.note(format!("runs on the {} side", side.name()), self.lab.world.running_on(side).join(", "));
            let text = self.lab.world.properties(side)?;
            for name in ["cluster.mode", "cluster.epoch", "jobs.max.concurrent"] {
                let value = properties::value(&text, name).unwrap_or_else(|| "not set".to_owned());
                state.note(format!("{name} on {}", side.server()), value);
            }
        }
        let effects = self.lab.world.effects()?.split_off(self.journal);
        // Asking for what is so already has no effect.
        let effects = effects.into_iter().filter(|(_, _, verb)| verb == "start" || verb == "stop");
        state.count(effects.map(|(machine, what, verb)| format!("{verb} of {what} on {machine}")));
        for (service, component, _) in LAST_LOOKS {
            let mut of_agents = 0;
            for (machine, _) in services().into_iter().filter(|(_, of)| *of == service) {
                let leases = self.said(machine)?.lease_stops(NAME, component);
                if service == AGENT {
                    of_agents += leases;
                } else {
                    state.note(format!("lease ended for {service} on {machine}"), leases);
                }
            }
            if service == AGENT {
                state.note(format!("lease ended for {service}"), of_agents);
            }
        }
        let record = self.client.record();
        let verdict = judge::judge(&record.acknowledged);
        state.note("two actives, by the clients' record", verdict.faults.join("; "));
        if self.runbook == "switchback" {
            // What the side that is left had acknowledged is at home afterwards, as it was acknowledged.
            let of_secondary = record.acknowledged.iter().filter(|one| one.epoch == 2);
            let kept = judge::kept(of_secondary, &self.lab.world.repository(Side::Primary).jobs().await?);
            state.note("jobs that are lost or altered", kept.missing.len() + kept.altered.len());
            state.note("jobs that were brought home", kept.present > 0);
        }
        Ok(state)
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let expected: &[(&'static str, &str)] = match self.runbook {
            "configure" => &[
                ("primary by Baton", "primary"),
                ("epoch", "1"),
                ("stop of dmdaemon on dm1", "1"),
                ("runs on the secondary side", ""),
            ],
            "failover" => &[
                ("primary by Baton", "secondary"),
                ("epoch", "2"),
                ("start of dmdaemon on dm2", "1"),
                ("runs on the primary side", ""),
            ],
            _ => &[
                ("primary by Baton", "primary"),
                ("epoch", "3"),
                ("jobs that are lost or altered", "0"),
                ("jobs that were brought home", "true"),
                ("start of dmsync on dm1", "1"),
            ],
        };
        let mut expected: Vec<_> = expected.iter().map(|(fact, value)| (*fact, (*value).to_owned())).collect();
        expected.push(("two actives, by the clients' record", String::new()));
        expected
    }
}
