//! Genesys Framework: two sites with an availability group between them; one is lost, and comes back.
//!
//! Counted by the components' own journals, by what both instances were told and know, and by their msdb.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use baton_lab::{
    cluster::{Cluster, until},
    genesys::{
        Installation, Pace, Site,
        installation::NAME,
        site::{DATABASES, GROUP, LATER},
    },
    processes::Registry,
    sqlserver::SERVICE,
    story::genesys::Standing,
};

use super::{Procedure, Programs, Stage, standing, words};
use crate::{
    drive::{Place, complete},
    end_state::{EndState, Loose, Rule},
    limits::{SETTLED_WITHIN, SOON, UNDISTURBED_WITHIN},
    log::Task,
    party::Party,
};

/// What an instance is told that counts.
const STATEMENTS: [(&str, &str); 3] =
    [("FORCE", "FORCE_FAILOVER"), ("FAILOVER", "] FAILOVER"), ("ADD DATABASE", "] ADD DATABASE")];
const AGAIN: &str = "a statement that died with its instance is sent again";

const UNPROVEN: &str = "no header proves that the log of a primary which came up anew goes on from the full backup: the join says that it need not";

const LOOSE: [Loose; 7] = [
    Loose { facts: "FORCE sent", rule: Rule::AtLeast, because: AGAIN },
    Loose { facts: "FAILOVER sent", rule: Rule::AtLeast, because: AGAIN },
    Loose { facts: "ADD DATABASE sent", rule: Rule::AtLeast, because: AGAIN },
    Loose {
        facts: "restores of reports at NODE2",
        rule: Rule::Instead { of: "DL", is: "D" },
        because: "the log that a server takes as it comes up holds nothing, and what holds nothing is not restored",
    },
    Loose { facts: "restores of config at NODE1", rule: Rule::Instead { of: "DL", is: "D" }, because: UNPROVEN },
    Loose { facts: "restores of logs1 at NODE1", rule: Rule::Instead { of: "DL", is: "D" }, because: UNPROVEN },
    Loose { facts: "restores of logs2 at NODE1", rule: Rule::Instead { of: "DL", is: "D" }, because: UNPROVEN },
];

struct Framework {
    lab: Installation,
    runbook: &'static str,
    /// Lines in journals, statements told, and entries in msdb, before it began.
    journal: usize,
    told: Vec<usize>,
    kept: Vec<usize>,
}

impl Place for Framework {
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
    let (helper, binaries) = (programs.helper.clone(), programs.binaries.clone());
    let mut lab = Installation::build(directory, helper, binaries, Pace::Quick, |_| {}).await?;
    if runbook != "start" {
        complete(&mut lab, &["run", NAME, "start"], UNDISTURBED_WITHIN).await?;
    }
    match runbook {
        "failover" => site_one_dies(&mut lab)?,
        "switchback" | "reseed" => {
            site_one_dies(&mut lab)?;
            let words = failover();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            complete(&mut lab, &words, UNDISTURBED_WITHIN).await?;
            lab.boot(Site::One)?;
        }
        "add-database" => {
            let mut session = lab.world.database(Site::One, "master").connect().await?;
            session.run(&format!("CREATE DATABASE [{LATER}]")).await?;
        }
        _ => {}
    }
    if runbook == "reseed" {
        // The disks of Node 1 are new.
        lab.world.instances.control().change(|world| {
            let server = world.servers.get_mut(&Site::One.instance()).expect("Node 1 is in this world");
            DATABASES.iter().for_each(|database| drop(server.databases.remove(*database)));
        })?;
    }
    let mut framework = Framework { lab, runbook, journal: 0, told: Vec::new(), kept: Vec::new() };
    framework.journal = framework.lab.world.effects()?.len();
    framework.told = framework.statements().into_iter().map(|(_, times)| times).collect();
    framework.kept = framework.of_msdb()?.into_iter().map(|(_, kinds)| kinds.len()).collect();
    Ok(Box::new(framework))
}

fn failover() -> Vec<String> {
    words(&["failover", NAME, &format!("--accept-data-loss={NAME}")])
}

/// And with it the coordinator that stands there; somebody leads afterwards, and knows what it lost.
fn site_one_dies(lab: &mut Installation) -> Result<()> {
    lab.crash(Site::One)?;
    lab.cluster.wait_for_leader(SOON)?;
    let dead = Site::One.machines();
    until(SOON, "silence of a site that is lost", || {
        let hosts = lab.cluster.json(&["hosts"])?;
        let of = |name: &String| hosts.as_array().into_iter().flatten().find(|host| host["name"] == name.as_str());
        let reached: Vec<_> =
            dead.iter().filter(|name| of(name).is_some_and(|host| host["connected"] == true)).collect();
        ensure!(reached.is_empty(), "{reached:?} are connected");
        Ok(())
    })
}

impl Framework {
    /// How often each instance was told each of these.
    fn statements(&self) -> Vec<(String, usize)> {
        let of = |site: Site| {
            STATEMENTS.iter().map(move |(fact, statement)| {
                let instance = site.instance();
                let times = self.lab.world.instances.asked(&instance, statement).len();
                (format!("{fact} sent to {instance}"), times)
            })
        };
        Site::BOTH.into_iter().flat_map(of).collect()
    }

    /// The kinds of the backups that each instance made of each database, and of the restores into it, in order.
    fn of_msdb(&self) -> Result<Vec<(String, String)>> {
        let world = self.lab.world.instances.control().world()?;
        let mut found = Vec::new();
        for site in Site::BOTH {
            let instance = site.instance();
            let msdb = &world.servers[&instance].msdb;
            for database in DATABASES.into_iter().chain([LATER]) {
                let made = msdb.backups.iter().filter(|set| set.server == instance && set.database == database);
                found.push((format!("backups of {database} at {instance}"), made.map(|set| set.kind).collect()));
                let restored = msdb.restores.iter().filter(|one| one.database == database);
                found.push((format!("restores of {database} at {instance}"), restored.map(|one| one.kind).collect()));
            }
        }
        Ok(found)
    }
}

#[async_trait(?Send)]
impl Procedure for Framework {
    fn group(&self) -> &str {
        NAME
    }

    fn words(&self) -> Vec<String> {
        match self.runbook {
            "failover" => failover(),
            "add-database" => words(&["run", NAME, "add-database", "-i", &format!("databases={LATER}")]),
            other => words(&["run", NAME, other]),
        }
    }

    fn hands(&mut self) -> (&mut Cluster, &Registry) {
        (&mut self.lab.cluster, self.lab.world.fleet.registry())
    }

    fn database(&self, task: &Task) -> Result<Option<String>> {
        Ok(Site::BOTH.map(Site::node).contains(&task.host).then(|| task.host.clone()))
    }

    async fn kill_database(&mut self, machine: &str) -> Result<bool> {
        self.lab.world.fleet.kill(machine, SERVICE)
    }

    async fn start_database(&mut self, machine: &str) -> Result<()> {
        self.lab.world.fleet.service(machine, SERVICE, "start").await.map(drop)
    }

    fn called(&self, machine: &str) -> Vec<String> {
        vec![machine.to_owned(), machine.to_uppercase()]
    }

    /// It cannot be asked, the session broke, or databases recover (922); then there is no primary, or none that can take over, copies are
    /// behind, and roles are not what is expected.
    fn excuses(&self) -> &'static [&'static str] {
        &["BTN-0601", "BTN-0607", "BTN-0608", "BTN-0632", "BTN-0633", "BTN-0645", "BTN-0647", "BTN-0722"]
    }

    async fn end_state(&mut self) -> Result<EndState> {
        let mut state = EndState::default();
        standing(&self.lab.cluster, NAME, &mut state)?;
        for (fact, value) in Standing::of(&self.lab.world)?.facts() {
            state.note(fact, value);
        }
        let effects = self.lab.world.effects()?.split_off(self.journal);
        // SQL Server's own starts are the victim's affair, or a step's that finds it running.
        let effects = effects.into_iter().filter(|(_, what, verb)| !verb.ends_with("-again") && what != SERVICE);
        state.count(effects.map(|(machine, what, verb)| format!("{verb} of {what} on {machine}")));
        for ((fact, times), before) in self.statements().into_iter().zip(&self.told) {
            state.note(fact, times - before);
        }
        for ((fact, kinds), before) in self.of_msdb()?.into_iter().zip(&self.kept) {
            state.note(fact, kinds.get(*before..).context("msdb forgets nothing")?);
        }
        let world = self.lab.world.instances.control().world()?;
        for site in Site::BOTH {
            let copy = world.copy(&site.instance(), GROUP, LATER).and_then(|copy| copy.hadr.as_ref());
            let word = copy.map_or("is in no group", |hadr| {
                if hadr.suspended.is_some() { "is suspended" } else { "is in the group" }
            });
            state.note(format!("{LATER} at {}", site.instance()), word);
        }
        Ok(state)
    }

    async fn mended(&mut self) -> Result<()> {
        let lab = &self.lab;
        until(SETTLED_WITHIN, "one primary, or none where it is lost", || {
            let primaries = lab.world.instances.control().primaries(GROUP)?;
            ensure!(primaries.len() <= 1, "primaries are {primaries:?}");
            Ok(())
        })
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let (primary, epoch, leads) = match self.runbook {
            "failover" | "reseed" => ("site2", 2, "NODE2"),
            "switchback" => ("site1", 3, "NODE1"),
            _ => ("site1", 1, "NODE1"),
        };
        let mut expected = vec![
            ("primary by Baton", primary.to_owned()),
            ("epoch", epoch.to_string()),
            ("primary by SQL Server", leads.to_owned()),
        ];
        let more: &[(&'static str, &str)] = match self.runbook {
            "start" => &[("start of confserv on conf1", "1"), ("start of tserver on apps2", "1")],
            "failover" => {
                &[("FORCE sent to NODE2", "1"), ("start of confserv on conf2", "1"), ("FORCE sent to NODE1", "0")]
            }
            "switchback" => &[
                ("FAILOVER sent to NODE1", "1"),
                ("FORCE sent to NODE1", "0"),
                ("FORCE sent to NODE2", "0"),
                ("backups of config at NODE2", "D"),
                ("stop of confserv on conf2", "1"),
                ("limits", "0"),
            ],
            "reseed" => &[("restores of config at NODE1", "DL"), ("backups of config at NODE2", "DL")],
            "add-database" => &[("restores of reports at NODE2", "DL"), ("reports at NODE2", "is in the group")],
            _ => &[],
        };
        expected.extend(more.iter().map(|(fact, value)| (*fact, (*value).to_owned())));
        expected
    }

    fn loose(&self, party: Party) -> &'static [Loose] {
        if party == Party::Database { &LOOSE } else { &[] }
    }
}
