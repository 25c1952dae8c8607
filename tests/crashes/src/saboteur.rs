//! Kills one party at one moment of every step of a run, and starts again what was killed, as an init system or an administrator would.
//!
//! Apart from the drive, which only tells what happens, and from the procedure, which knows what a database is. It must never signal
//! anything but what this world has started: coordinators, agents and servers through the lab's own registry, the command as its child.

use std::{
    collections::BTreeSet,
    process::{Child, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    agent_log::Said,
    drive::{Attendant, Way},
    limits::{AWAY, SOON},
    log::Task,
    news::News,
    party::{Moment, Party},
    procedure::Stage,
};

/// See the module.
#[derive(Debug)]
pub struct Saboteur {
    party: Party,
    moment: Moment,
    run: String,
    /// Who gave the last order, or has taken over since.
    leader: usize,
    /// Steps at which it has killed.
    pub struck: BTreeSet<String>,
    /// Those of them whose task had ended by the time when it had, though it was meant to be in the middle.
    pub late: BTreeSet<String>,
    /// Steps whose database server did not run: the runbook had stopped it, or starts it there.
    idle: BTreeSet<String>,
    /// How often it has killed once more in the recovery.
    pub again: usize,
    awaited: Vec<Recovery>,
    gone: Option<Gone>,
    /// Database servers that were killed at all.
    killed: BTreeSet<String>,
    watcher: Option<Child>,
}

/// What shows that what was killed is recovering; then it is killed once more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Recovery {
    Leads,
    Listens(usize),
    Obeys(String),
}

/// A database server that stays away until somebody has noticed.
#[derive(Debug)]
struct Gone {
    machine: String,
    since: Instant,
    /// It is killed once more as it comes back.
    again: bool,
}

/// Whether every fault of a halt is one of these.
fn excused(why: &str, excuses: &[&str]) -> bool {
    let codes: Vec<&str> = why.split("\"code\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    !codes.is_empty() && codes.iter().all(|code| excuses.contains(code))
}

impl Saboteur {
    /// Of a run that begins now, under this leader.
    pub fn new(party: Party, moment: Moment, run: &str, leader: usize) -> Self {
        Self {
            party,
            moment,
            run: run.to_owned(),
            leader,
            struck: BTreeSet::new(),
            late: BTreeSet::new(),
            idle: BTreeSet::new(),
            again: 0,
            awaited: Vec::new(),
            gone: None,
            killed: BTreeSet::new(),
            watcher: None,
        }
    }

    /// What is still away comes back for good: the run is over. So does what agents have stopped since it looked, where one can have
    /// been without a word for longer than it waits.
    pub async fn finish(&mut self, world: &mut Stage, view: &Value) -> Result<()> {
        if let Some(gone) = self.gone.take() {
            world.start_database(&gone.machine).await?;
        }
        if self.party.leaves_agents_alone() {
            world.start_what_agents_stopped(&self.run, view).await?;
        }
        self.end_watcher()
    }

    /// At a step's moment for the first time.
    async fn strike(&mut self, world: &mut Stage, step: &str, task: Option<&Task>) -> Result<()> {
        if self.struck.contains(step) || self.idle.contains(step) {
            return Ok(());
        }
        let again = self.moment == Moment::Again;
        match self.party {
            Party::Leader => {
                restart_coordinators(world, &[self.leader])?;
                self.recovers(again.then_some(Recovery::Leads));
            }
            Party::Follower => {
                let running = world.cluster().running_coordinators();
                let follower = running.into_iter().find(|number| *number != self.leader);
                let follower = follower.context("there is no second coordinator")?;
                restart_coordinators(world, &[follower])?;
                self.recovers(again.then_some(Recovery::Listens(follower)));
            }
            Party::Agent => {
                let Some(task) = task else { return Ok(()) };
                restart_agent(world, &task.host)?;
                self.recovers(again.then(|| Recovery::Obeys(task.host.clone())));
            }
            Party::Database => {
                let Some(machine) = task.map(|task| world.database(task)).transpose()?.flatten() else {
                    return Ok(());
                };
                while self.gone.is_some() {
                    self.comes_back(world).await?;
                }
                if !world.kill_database(&machine).await? {
                    self.idle.insert(step.to_owned());
                    return Ok(());
                }
                self.killed.insert(machine.clone());
                self.gone = Some(Gone { machine, since: Instant::now(), again });
            }
            Party::CommandLine => {
                self.kill_watcher(world)?;
                if again {
                    // The next one has only just begun to ask who leads.
                    self.kill_watcher(world)?;
                    self.again += 1;
                }
            }
            Party::Everything => {
                restart_everything(world, task)?;
                self.recovers(again.then_some(Recovery::Leads));
            }
        }
        self.struck.insert(step.to_owned());
        if let Some(task) = task.filter(|_| matches!(self.moment, Moment::During | Moment::Again))
            && Said::read(&world.cluster().agent_directory(&task.host).join("log"), 0)?.was_over(task)
        {
            self.late.insert(step.to_owned());
        }
        Ok(())
    }

    /// What was killed at a step's moment is to be killed once more as it recovers. Where it had not recovered yet from the step before,
    /// this was that once more.
    fn recovers(&mut self, recovery: Option<Recovery>) {
        let Some(recovery) = recovery else { return };
        match self.awaited.contains(&recovery) {
            true => self.again += 1,
            false => self.awaited.push(recovery),
        }
    }

    /// Kills once more what is recovering now, if somebody waits for that.
    async fn strike_again(&mut self, world: &mut Stage, news: &News) -> Result<()> {
        let shows = match news {
            News::Leads(_) => Recovery::Leads,
            News::Listens(number) => Recovery::Listens(*number),
            News::Obeys(host) => Recovery::Obeys(host.clone()),
            News::Ordered { .. } | News::Begun(_) | News::Ended(_) => return Ok(()),
        };
        let Some(place) = self.awaited.iter().position(|awaited| *awaited == shows) else { return Ok(()) };
        self.awaited.swap_remove(place);
        self.again += 1;
        match (self.party, news) {
            (Party::Everything, _) => restart_everything(world, None),
            (_, News::Leads(number) | News::Listens(number)) => restart_coordinators(world, &[*number]),
            (_, News::Obeys(host)) => restart_agent(world, host),
            (_, News::Ordered { .. } | News::Begun(_) | News::Ended(_)) => Ok(()),
        }
    }

    /// A database server that is away comes back; or dies once more as it does, and stays away as long again.
    async fn comes_back(&mut self, world: &mut Stage) -> Result<()> {
        let Some(gone) = self.gone.take() else { return Ok(()) };
        world.start_database(&gone.machine).await?;
        if gone.again {
            ensure!(world.kill_database(&gone.machine).await?, "{} runs, since it has just started", gone.machine);
            self.again += 1;
            self.gone = Some(Gone { since: Instant::now(), again: false, ..gone });
        }
        Ok(())
    }

    /// SIGKILL to the `baton` that watches the run; another one begins to.
    fn kill_watcher(&mut self, world: &mut Stage) -> Result<()> {
        // One that has ended by itself, because a person is asked, is nobody to kill.
        if let Some(watcher) = &mut self.watcher
            && watcher.try_wait().context("ask after baton watch")?.is_some()
        {
            self.watcher = None;
        }
        if self.watcher.is_none() {
            self.watcher = Some(watch(world, &self.run)?);
        }
        self.end_watcher()?;
        self.watcher = Some(watch(world, &self.run)?);
        Ok(())
    }

    fn end_watcher(&mut self) -> Result<()> {
        if let Some(mut watcher) = self.watcher.take() {
            watcher.kill().context("kill baton watch")?;
            watcher.wait().context("wait for baton watch")?;
        }
        Ok(())
    }
}

impl Drop for Saboteur {
    fn drop(&mut self) {
        if let Err(error) = self.end_watcher() {
            eprintln!("a baton that watches {} is left: {error:#}", self.run);
        }
    }
}

impl Attendant<Stage> for Saboteur {
    async fn told(&mut self, world: &mut Stage, news: &News) -> Result<()> {
        match news {
            News::Ordered { coordinator, .. } => self.leader = *coordinator,
            News::Leads(number) => self.leader = *number,
            News::Begun(_) | News::Ended(_) | News::Listens(_) | News::Obeys(_) => {}
        }
        self.strike_again(world, news).await?;
        let task = match (self.moment, news) {
            (Moment::Before, News::Ordered { task, .. })
            | (Moment::During | Moment::Again, News::Begun(task))
            | (Moment::After, News::Ended(task)) => task,
            _ => return Ok(()),
        };
        self.strike(world, &task.step, Some(task)).await
    }

    async fn asked(&mut self, world: &mut Stage, step: &str) -> Result<()> {
        if self.moment == Moment::Before && self.party.takes_part_in_questions() {
            self.strike(world, step, None).await?;
        }
        Ok(())
    }

    async fn confirmed(&mut self, world: &mut Stage, step: &str) -> Result<()> {
        if self.moment == Moment::After && self.party.takes_part_in_questions() {
            self.strike(world, step, None).await?;
        }
        Ok(())
    }

    async fn halted(&mut self, world: &mut Stage, why: &str) -> Result<()> {
        // Only a database server that was killed may hold a run up: it is named, and the fault is one of a server that is away or recovers.
        let names: Vec<String> = self.killed.iter().flat_map(|machine| world.called(machine)).collect();
        if !names.iter().any(|name| why.contains(name)) || !excused(why, world.excuses()) {
            bail!("it halts, and not as it may for a database server that was killed ({names:?}): {why}");
        }
        while self.gone.is_some() {
            self.comes_back(world).await?;
        }
        world.mended().await
    }

    async fn meanwhile(&mut self, world: &mut Stage, way: &Way) -> Result<()> {
        if self.gone.as_ref().is_some_and(|gone| gone.since.elapsed() > AWAY) {
            self.comes_back(world).await?;
        }
        world.meanwhile(way).await
    }
}

fn restart_coordinators(world: &mut Stage, numbers: &[usize]) -> Result<()> {
    let (cluster, registry) = world.hands();
    numbers.iter().for_each(|number| cluster.kill_coordinator(*number));
    numbers.iter().try_for_each(|number| cluster.start_coordinator(registry, *number))
}

fn restart_agent(world: &mut Stage, host: &str) -> Result<()> {
    let (cluster, registry) = world.hands();
    cluster.kill_agent(host);
    cluster.start_agent(registry, host)
}

/// All that run: those of a site that has no power stay dead. The agent that is at this task dies first, before it is through with it.
fn restart_everything(world: &mut Stage, task: Option<&Task>) -> Result<()> {
    let (cluster, registry) = world.hands();
    let (coordinators, mut agents) = (cluster.running_coordinators(), cluster.running_agents());
    agents.sort_by_key(|host| task.is_none_or(|task| task.host != *host));
    agents.iter().for_each(|host| cluster.kill_agent(host));
    coordinators.iter().for_each(|number| cluster.kill_coordinator(*number));
    agents.iter().try_for_each(|host| cluster.start_agent(registry, host))?;
    coordinators.iter().try_for_each(|number| cluster.start_coordinator(registry, *number))
}

fn watch(world: &mut Stage, run: &str) -> Result<Child> {
    let mut command = world.cluster().command(&["watch", run]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start baton watch")
}

/// Waits until somebody leads.
pub fn leader(world: &Stage) -> Result<usize> {
    world.cluster().wait_for_leader(SOON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_excused_by_what_a_dead_server_explains_alone() {
        let fault = |code: &str| format!(r#"{{"code":"{code}","message":"NODE2: x","remedy":""}}"#);
        let excused = |why: &str| excused(why, &["BTN-0601", "BTN-0608"]);
        assert!(excused(&format!("step 3 failed on node2: BTN-0601 x {}", fault("BTN-0601"))));
        assert!(excused(&format!("step 3 failed {}; {}", fault("BTN-0608"), fault("BTN-0601"))));
        assert!(!excused(&format!("step 3 failed {}; {}", fault("BTN-0601"), fault("BTN-0673"))));
        assert!(!excused("step 3 is unknown on node2"));
    }

    #[test]
    fn who_dies_at_the_next_step_before_it_has_recovered_dies_in_the_recovery() {
        let mut saboteur = Saboteur::new(Party::Follower, Moment::Again, "pom-1", 1);
        saboteur.recovers(Some(Recovery::Listens(2)));
        assert_eq!((saboteur.again, saboteur.awaited.len()), (0, 1));
        saboteur.recovers(Some(Recovery::Listens(2)));
        assert_eq!((saboteur.again, saboteur.awaited.len()), (1, 1));
    }
}
