//! Avaya POM: its database moves inside one data centre while POM is stopped.
//!
//! Counted by POM's own journals, by what SQL Server was told, and by a client's acknowledged writes.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use baton_lab::{
    cluster::{Cluster, until},
    pom::{AVAILABILITY_GROUP, DATABASE, GROUP, POM_SERVERS, PORT, Pom, SERVERS, SERVICE, Setting},
    processes::Registry,
    sqlserver::{self, Writer, world},
};

use super::{Procedure, Programs, Stage, standing, words};
use crate::{
    drive::{Place, complete},
    end_state::{EndState, Loose, Rule},
    limits::{SETTLED_WITHIN, SOON, UNDISTURBED_WITHIN},
    log::Task,
    party::Party,
};

/// What SQL Server is told that counts.
const STATEMENTS: [(&str, &str); 3] = [
    ("FAILOVER sent", "availability group [pom] failover"),
    ("RESUME sent", "set hadr resume"),
    ("FORCE sent", "force_failover"),
];
const WINDOW: [&str; 2] = ["--override", "window=a test"];

const LOOSE: [Loose; 4] = [
    Loose {
        facts: "FAILOVER sent",
        rule: Rule::AtLeast,
        because: "a statement that died with its instance is sent again",
    },
    Loose {
        facts: "RESUME sent",
        rule: Rule::AtLeast,
        because: "a statement that died with its instance is sent again",
    },
    Loose {
        facts: "data movement to pomdb1",
        rule: Rule::Or(&["moves"]),
        because: "an instance that died as primary comes back as a secondary that pauses nothing",
    },
    Loose {
        facts: "limits",
        rule: Rule::Or(&["0"]),
        because: "nothing is paused; see the fact on what is paused and not said",
    },
];

struct AvayaPom {
    // Dropped first: it writes to the world below.
    writer: Option<Writer>,
    pom: Pom,
    runbook: &'static str,
    /// Lines in journals and statements told, before it began.
    journals: BTreeMap<&'static str, usize>,
    told: BTreeMap<&'static str, usize>,
}

impl Place for AvayaPom {
    fn cluster(&self) -> &Cluster {
        &self.pom.cluster
    }
}

impl Place for Pom {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

pub async fn build(runbook: &'static str, directory: &Path, programs: &Programs) -> Result<Box<Stage>> {
    let setting = Setting { timing: world::Options::quick(), warm_up_ms: 20, ..Setting::default() };
    let (helper, binaries) = (programs.helper.clone(), programs.binaries.clone());
    let mut pom = Pom::build(directory, helper, binaries, &setting, |_| {}).await?;
    match runbook {
        "start" => drop(complete(&mut pom, &["run", GROUP, "stop"], UNDISTURBED_WITHIN).await?),
        "resume-data-movement" => {
            let there = [&["switchover", GROUP, "--to", "db2"][..], &WINDOW].concat();
            complete(&mut pom, &there, UNDISTURBED_WITHIN).await?;
            complete(&mut pom, &["run", GROUP, "stop"], UNDISTURBED_WITHIN).await?;
            ensure!(movement(&pom, "POMDB1")? == "suspended", "the failover has left pomdb1 paused");
        }
        _ => {}
    }
    let writer = pom.start_writer();
    writer.has_written(10, SOON).await?;
    let mut procedure =
        AvayaPom { writer: Some(writer), pom, runbook, journals: BTreeMap::new(), told: BTreeMap::new() };
    for (machine, _) in POM_SERVERS {
        procedure.journals.insert(machine, procedure.pom.fleet.effects(machine)?.len());
    }
    for (fact, statement) in STATEMENTS {
        procedure.told.insert(fact, procedure.times(statement));
    }
    Ok(Box::new(procedure))
}

/// Whether a copy moves, is suspended, or leads, by SQL Server's own truth.
fn movement(pom: &Pom, instance: &str) -> Result<&'static str> {
    let control = pom.instances.control();
    if control.primaries(AVAILABILITY_GROUP)?.iter().any(|primary| primary == instance) {
        return Ok("leads");
    }
    let world = control.world()?;
    let hadr = world.database(instance, DATABASE).and_then(|database| database.hadr.as_ref());
    let hadr = hadr.with_context(|| format!("{instance} has no copy"))?;
    Ok(match (hadr.suspended.is_some(), hadr.movement.moves()) {
        (true, _) => "suspended",
        (false, true) => "moves",
        (false, false) => "does not move",
    })
}

fn instance(machine: &str) -> &'static str {
    SERVERS.iter().find(|server| server.0 == machine).expect("a database server of this world").1
}

impl AvayaPom {
    /// How often all instances were told this.
    fn times(&self, statement: &str) -> usize {
        SERVERS.iter().map(|server| self.pom.instances.asked(server.1, statement).len()).sum()
    }

    /// POM is stopped at the end of one runbook only.
    fn pom_runs_at_the_end(&self) -> bool {
        self.runbook != "stop"
    }
}

#[async_trait(?Send)]
impl Procedure for AvayaPom {
    fn group(&self) -> &str {
        GROUP
    }

    fn words(&self) -> Vec<String> {
        let own: &[&str] = match self.runbook {
            "switchover" => &["switchover", GROUP, "--to", "db2"],
            "resume-data-movement" => &["run", GROUP, "resume-data-movement", "-i", "member=db1"],
            other => return words(&["run", GROUP, other]),
        };
        words(&[own, &WINDOW].concat())
    }

    fn hands(&mut self) -> (&mut Cluster, &Registry) {
        (&mut self.pom.cluster, self.pom.fleet.registry())
    }

    fn database(&self, task: &Task) -> Result<Option<String>> {
        if SERVERS.iter().any(|server| server.0 == task.host) {
            return Ok(Some(task.host.clone()));
        }
        // POM itself needs the one that is primary at the moment; in the middle of a move that is the one it will be.
        let primaries = self.pom.instances.control().primaries(AVAILABILITY_GROUP)?;
        let leads = SERVERS.iter().find(|server| primaries.iter().any(|primary| primary == server.1));
        Ok(Some(leads.map_or("pomdb2", |server| server.0).to_owned()))
    }

    async fn kill_database(&mut self, machine: &str) -> Result<bool> {
        self.pom.fleet.kill(machine, sqlserver::SERVICE)
    }

    async fn start_database(&mut self, machine: &str) -> Result<()> {
        self.pom.fleet.service(machine, sqlserver::SERVICE, "start").await.map(drop)
    }

    fn called(&self, machine: &str) -> Vec<String> {
        vec![instance(machine).to_owned()]
    }

    /// It cannot be asked or the session broke; then there is no primary, or none that can take over, and copies are behind.
    fn excuses(&self) -> &'static [&'static str] {
        &["BTN-0601", "BTN-0608", "BTN-0632", "BTN-0633", "BTN-0645"]
    }

    async fn mended(&mut self) -> Result<()> {
        let pom = &self.pom;
        until(SETTLED_WITHIN, "copies that move, or are paused", || {
            let primaries = pom.instances.control().primaries(AVAILABILITY_GROUP)?;
            ensure!(primaries.len() == 1, "primaries are {primaries:?}");
            for (_, name, _) in SERVERS {
                ensure!(movement(pom, name)? != "does not move", "{name} does not move");
            }
            Ok(())
        })
    }

    async fn end_state(&mut self) -> Result<EndState> {
        let mut state = EndState::default();
        standing(&self.pom.cluster, GROUP, &mut state)?;
        for (machine, _) in POM_SERVERS {
            let runs = self.pom.fleet.runs(machine, SERVICE);
            if runs && self.pom_runs_at_the_end() {
                self.pom.fleet.healthy(machine, PORT, SETTLED_WITHIN).await?;
            }
            state.note(format!("POM on {machine}"), if runs { "works" } else { "is stopped" });
            let effects = self.pom.fleet.effects(machine)?.split_off(self.journals[machine]);
            // Asking for what is so already has no effect.
            let effects = effects.into_iter().filter(|effect| !effect.verb.ends_with("-again"));
            state.count(effects.map(|effect| format!("{} of POM on {machine}", effect.verb)));
        }
        for (fact, statement) in STATEMENTS {
            state.note(fact, self.times(statement) - self.told[fact]);
        }
        let primaries = self.pom.instances.control().primaries(AVAILABILITY_GROUP)?;
        state.note("primary by SQL Server", primaries.join(", "));
        for (machine, name, _) in SERVERS {
            state.note(format!("data movement to {machine}"), movement(&self.pom, name)?);
        }
        let paused =
            SERVERS.iter().filter(|server| movement(&self.pom, server.1).is_ok_and(|word| word == "suspended"));
        let said = state.get("limits") != Some("0");
        state.note("paused and not said", paused.count() > 0 && !said);
        let writer = self.writer.as_ref().context("the client writes")?;
        writer.has_written(5, SETTLED_WITHIN).await?;
        let acknowledged = writer.record().acknowledged;
        let there = match primaries.first() {
            Some(primary) => sqlserver::writer::hardened(self.pom.instances.control(), primary, DATABASE)?,
            None => Default::default(),
        };
        state.note("acknowledged writes that are lost", acknowledged.difference(&there).count());
        Ok(state)
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let (primary, epoch) = match self.runbook {
            "start" | "stop" => ("db1", 1),
            _ => ("db2", 2),
        };
        let failovers = usize::from(self.runbook == "switchover");
        let resumes = usize::from(self.runbook == "resume-data-movement");
        let limits = failovers;
        let mut expected = vec![
            ("primary by Baton", primary.to_owned()),
            ("epoch", epoch.to_string()),
            ("FAILOVER sent", failovers.to_string()),
            ("RESUME sent", resumes.to_string()),
            ("FORCE sent", 0.to_string()),
            ("limits", limits.to_string()),
            ("acknowledged writes that are lost", 0.to_string()),
        ];
        if self.runbook != "stop" {
            expected.push(("start of POM on pom2", 1.to_string()));
        }
        if matches!(self.runbook, "stop" | "switchover") {
            expected.push(("stop of POM on pom3", 1.to_string()));
        }
        expected
    }

    fn loose(&self, party: Party) -> &'static [Loose] {
        if party != Party::Database || matches!(self.runbook, "start" | "stop") { &[] } else { &LOOSE }
    }
}
