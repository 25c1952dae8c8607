//! Persistent Chat: mgc is shipped to another data centre; the first one is lost, and comes back.
//!
//! Counted by the instances' own msdb, by the shell's topology, by clients' acknowledged writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use baton_lab::{
    cluster::Cluster,
    persistent_chat::{COMPLIANCE, DATABASE, GROUP, Installation, Site, shelf::in_order},
    processes::Registry,
    sqlserver::{SERVICE, Writer},
};

use super::{Procedure, Programs, Stage, standing, words};
use crate::{
    drive::{Place, Way, complete},
    end_state::EndState,
    limits::{SOON, UNDISTURBED_WITHIN},
    log::Task,
};

/// Where mgc goes, and where it was.
const NEW: Site = Site::Dallas;
const DEAD: Site = Site::Atlanta;
/// The step of the failback that starts log shipping's first job.
const SHIPS: &str = "17";
/// How often log shipping's jobs are due.
const EVERY: Duration = Duration::from_secs(5);

struct PersistentChat {
    // Dropped first: it writes to the world below.
    writer: Option<Writer>,
    chat: Installation,
    runbook: &'static str,
    /// Rows that are in the log backups, where the failover begins; the failback's are the writer's.
    covered: BTreeSet<i64>,
    before: Before,
    shipped: Instant,
}

/// Backups and restores of mgc before the run, by site; and how often cmdlets changed something.
struct Before {
    backups: [usize; 2],
    restored: [usize; 2],
    performed: BTreeMap<String, u64>,
}

impl Place for PersistentChat {
    fn cluster(&self) -> &Cluster {
        &self.chat.cluster
    }
}

impl Place for Installation {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

pub async fn build(runbook: &'static str, directory: &Path, programs: &Programs) -> Result<Box<Stage>> {
    let (helper, binaries) = (programs.helper.clone(), programs.binaries.clone());
    let mut chat = Installation::build(directory, helper, binaries, false, |_| {}).await?;
    let writer = Writer::start(vec![chat.endpoint(DEAD)], Duration::from_millis(20));
    let (_, covered) = chat.five_uncopied(&writer).await?;
    let record = writer.stop().await;
    let last = record.acknowledged.iter().chain(&record.unknown).max().copied().context("rows")?;
    let [one, two] = DEAD.chat();
    chat.crash(&[DEAD.database(), one, two])?;
    let mut writer = None;
    if runbook == "failback" {
        complete(&mut chat, &["failover", GROUP], UNDISTURBED_WITHIN).await?;
        chat.boot(DEAD).await?;
        // Slow enough to let the last log backup find a moment without it, and still at it when that is taken.
        let writes = Writer::start_after(vec![chat.endpoint(NEW)], Duration::from_millis(100), last);
        writes.has_written(10, SOON).await?;
        writer = Some(writes);
    }
    let before = Before::of(&chat)?;
    Ok(Box::new(PersistentChat { writer, chat, runbook, covered, before, shipped: Instant::now() }))
}

/// The kinds of a database's backups that an instance made.
fn backups(chat: &Installation, site: Site, database: &str) -> Result<String> {
    let world = chat.control().world()?;
    let msdb = &world.servers[&site.instance()].msdb;
    let made = msdb.backups.iter().filter(|set| set.server == site.instance() && set.database == database);
    Ok(made.map(|set| set.kind).collect())
}

impl Before {
    fn of(chat: &Installation) -> Result<Self> {
        Ok(Self {
            backups: [backups(chat, DEAD, DATABASE)?.len(), backups(chat, NEW, DATABASE)?.len()],
            restored: [chat.restored(DEAD, DATABASE)?.len(), chat.restored(NEW, DATABASE)?.len()],
            performed: chat.topology().performed()?,
        })
    }
}

impl PersistentChat {
    /// Where mgc is at the end.
    fn home(&self) -> Site {
        if self.runbook == "failover" { NEW } else { DEAD }
    }

    fn sites(&self) -> &'static [Site] {
        if self.runbook == "failover" { &[NEW] } else { &Site::BOTH }
    }

    /// What was restored into mgc and backed up of it since, at one site. Of log shipping's own jobs one must have come through, and
    /// more do no harm: its schedule starts them.
    fn of_msdb(&self, site: Site, state: &mut EndState) -> Result<()> {
        let number = usize::from(site == NEW);
        let restored = self.chat.restored(site, DATABASE)?.split_off(self.before.restored[number]);
        let made = backups(&self.chat, site, DATABASE)?.split_off(self.before.backups[number]);
        let kinds: String = restored.iter().map(|one| one.kind).collect();
        let name = site.name();
        let shipping = self.runbook == "failback";
        let shipped = |kinds: &str| kinds.trim_end_matches('L').to_owned();
        let (made, kinds, arrived) = match (shipping, site) {
            (true, Site::Atlanta) => (shipped(&made), kinds, None),
            (true, Site::Dallas) => (made, shipped(&kinds), Some(kinds.ends_with('L'))),
            (false, _) => (made, kinds, None),
        };
        if let Some(arrived) = arrived {
            state.note(format!("a shipped log has arrived in {name}"), arrived);
        }
        if !shipping {
            let sets: BTreeSet<i128> = restored.iter().map(|log| log.last).collect();
            state.note(format!("logs applied in order in {name}"), in_order(&restored));
            state.note(format!("logs applied twice in {name}"), restored.len() - sets.len());
        }
        state.note(format!("backups of mgc made in {name}"), made);
        state.note(format!("restores of mgc in {name}"), kinds);
        let compliance = self.chat.restored(site, COMPLIANCE)?.len() + backups(&self.chat, site, COMPLIANCE)?.len();
        state.note(format!("backups and restores of mgccomp in {name}"), compliance);
        let shipped_to = self.chat.shipped_to(site)?.map_or_else(|| "nobody".to_owned(), |(primary, ..)| primary);
        state.note(format!("{name} is shipped to by"), shipped_to);
        let world = self.chat.control().world()?;
        let online = world.database(&site.instance(), DATABASE).is_some_and(|database| database.is_online());
        state.note(format!("mgc is online in {name}"), online);
        Ok(())
    }
}

#[async_trait(?Send)]
impl Procedure for PersistentChat {
    fn group(&self) -> &str {
        GROUP
    }

    fn words(&self) -> Vec<String> {
        match self.runbook {
            "failover" => words(&["failover", GROUP]),
            other => words(&["run", GROUP, other]),
        }
    }

    fn hands(&mut self) -> (&mut Cluster, &Registry) {
        (&mut self.chat.cluster, self.chat.fleet.registry())
    }

    fn database(&self, task: &Task) -> Result<Option<String>> {
        // Where one site is left, whatever is done there is about its instance; else what is done on an instance's host.
        Ok(match self.sites() {
            [only] => Some(only.database()),
            both => both.iter().map(|site| site.database()).find(|machine| *machine == task.host),
        })
    }

    async fn kill_database(&mut self, machine: &str) -> Result<bool> {
        self.chat.fleet.kill(machine, SERVICE)
    }

    async fn start_database(&mut self, machine: &str) -> Result<()> {
        self.chat.fleet.service(machine, SERVICE, "start").await.map(drop)
    }

    fn called(&self, machine: &str) -> Vec<String> {
        let site = Site::BOTH.into_iter().find(|site| site.database() == machine);
        site.map(|site| site.instance()).into_iter().chain([machine.to_owned()]).collect()
    }

    /// It cannot be asked, the session broke, or a database is not online yet.
    fn excuses(&self) -> &'static [&'static str] {
        &["BTN-0601", "BTN-0608", "BTN-0723"]
    }

    /// A job that died with its instance is started again by its schedule.
    async fn meanwhile(&mut self, way: &Way) -> Result<()> {
        if self.runbook == "failback" && way.ordered.contains(SHIPS) && self.shipped.elapsed() > EVERY {
            // As with the schedule: one that fails is due again.
            if let Err(error) = self.chat.ship(DEAD, NEW) {
                eprintln!("a job of log shipping failed: {error:#}");
            }
            self.shipped = Instant::now();
        }
        Ok(())
    }

    async fn end_state(&mut self) -> Result<EndState> {
        let mut state = EndState::default();
        standing(&self.chat.cluster, GROUP, &mut state)?;
        let home = self.home();
        let mut acknowledged = self.covered.clone();
        if let Some(writer) = &self.writer {
            acknowledged = writer.record().acknowledged;
        }
        for server in home.chat() {
            let page = self.chat.health(&server).await?;
            let own = page.contains(&self.chat.endpoint(home).address.to_string());
            state.note(format!("{server} writes in {}", home.name()), own);
        }
        for site in self.sites() {
            self.of_msdb(*site, &mut state)?;
        }
        let topology = self.chat.topology();
        state.note("pool", topology.pool_state()?);
        state.note("active servers", topology.active()?.join(", "));
        state.note("principals", topology.principals()?.join(", "));
        for (cmdlet, times) in topology.performed()? {
            state.note(format!("{cmdlet} performed"), times - self.before.performed.get(&cmdlet).copied().unwrap_or(0));
        }
        state.note("rows that are lost", acknowledged.difference(&self.chat.rows(home)?).count());
        Ok(state)
    }

    fn expected(&self) -> Vec<(&'static str, String)> {
        let expected: &[(&'static str, &str)] = match self.runbook {
            "failover" => &[
                ("primary by Baton", "dallas"),
                ("epoch", "2"),
                ("restores of mgc in dallas", "LLLLL"),
                ("logs applied twice in dallas", "0"),
                ("dallas is shipped to by", "nobody"),
                ("pool", "FailedOver"),
                ("rows that are lost", "0"),
            ],
            _ => &[
                ("primary by Baton", "atlanta"),
                ("epoch", "3"),
                ("backups of mgc made in dallas", "DL"),
                ("restores of mgc in atlanta", "DL"),
                ("restores of mgc in dallas", "D"),
                ("a shipped log has arrived in dallas", "true"),
                ("dallas is shipped to by", "ATL-SQL-1"),
                ("pool", "Normal"),
                ("rows that are lost", "0"),
            ],
        };
        expected.iter().map(|(fact, value)| (*fact, (*value).to_owned())).collect()
    }
}
