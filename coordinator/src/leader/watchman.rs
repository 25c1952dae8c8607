//! Watches the groups that may fail over by themselves: asks what every coordinator sees, and starts the runbook when it is due.
//!
//! Apart because it is the only part of a coordinator that wishes something without a person. Whether the condition holds is
//! arithmetic ([`baton_engine::vigil`]); whether a run may start is decided when the entry is applied. It must never act on one
//! coordinator's word, nor order anything itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use baton_engine::{
    command::{Answer, Command},
    state::{self, Phase},
    vigil::{Finding, Question, Vigil, judge},
};
use baton_log::Log;
use baton_model::{
    group::{Automatic, Group, Mode, Policy},
    ids::{ComponentName, GroupName, HostName, MemberName, RunId},
    outcome::Fault,
    plan::Plan,
    time::{Moment, Span},
};
use baton_planner::Request;
use baton_platform::clock::Clock;
use tokio_util::sync::CancellationToken;

use super::Reachability;
use crate::{
    definitions, look,
    proposer::{ProposalError, Proposer},
    replica::Replica,
    sessions::Sessions,
};

/// How often the coordinators are asked what they see, while a group is watched.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A cheap handle.
#[derive(Clone)]
pub struct Watchman {
    log: Log<Replica>,
    proposer: Proposer,
    reachability: Reachability,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    memory: Arc<Mutex<Memory>>,
}

/// Of one reign.
#[derive(Default)]
struct Memory {
    term: u64,
    watched: BTreeMap<GroupName, Watched>,
    /// Groups for which a run is being started.
    acting: BTreeSet<GroupName>,
    /// Runs that are looked at again now.
    rechecking: BTreeSet<RunId>,
}

struct Watched {
    revision: u64,
    /// None where there is nothing to watch.
    policy: Option<Arc<Watch>>,
    vigil: Vigil,
    /// Said already, of this fault: what an observing policy would do, or why nothing can be done.
    told: bool,
}

/// What to look at, made from a group once for each revision.
struct Watch {
    group: Group,
    policy: Policy,
    hosts: BTreeMap<ComponentName, Vec<HostName>>,
}

impl Watchman {
    pub fn new(
        log: Log<Replica>,
        proposer: Proposer,
        reachability: Reachability,
        sessions: Sessions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { log, proposer, reachability, sessions, clock, memory: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("nothing panics while it holds the memory")
    }

    /// Runs until `stop`. Watches while this node leads.
    pub async fn run(self, stop: CancellationToken) {
        let leadership = self.log.leadership();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let leading = leadership.borrow().clone();
            if !leading.ready {
                *self.lock() = Memory::default();
                continue;
            }
            if self.refresh(leading.term) {
                self.look().await;
            }
        }
    }

    /// A clock that does not jump, in the form that vigils take.
    fn now(&self) -> Moment {
        Moment(self.clock.monotonic_ms())
    }

    /// Takes the groups as they are now. Whether one of them is watched.
    fn refresh(&self, term: u64) -> bool {
        let now = self.now();
        let mut memory = self.lock();
        if memory.term != term {
            *memory = Memory { term, ..Memory::default() };
        }
        self.log.with(|replica| {
            let groups = &replica.state.groups;
            memory.watched.retain(|name, _| groups.contains_key(name));
            for (name, group) in groups {
                if memory.watched.get(name).is_some_and(|known| known.revision == group.revision) {
                    continue;
                }
                let policy = watch_of(group).map(Arc::new);
                let grace = policy.as_ref().map_or(Span(0), |watch| watch.policy.grace);
                let vigil = match memory.watched.remove(name) {
                    // A fact or a standing has changed: what was seen so far still counts.
                    Some(known) if known.policy.is_some() && policy.is_some() => known.vigil,
                    _ => Vigil::begin(group.epoch.0, now, grace),
                };
                memory.watched.insert(name.clone(), Watched { revision: group.revision, policy, vigil, told: false });
            }
        });
        memory.watched.values().any(|watched| watched.policy.is_some())
    }

    /// One look at every watched group, with one question to every coordinator.
    async fn look(&self) {
        let survey = self.reachability.survey().await;
        let voices = survey.voices();
        let watched: Vec<(GroupName, Arc<Watch>)> = {
            let memory = self.lock();
            let with = memory.watched.iter();
            with.filter_map(|(name, watched)| Some((name.clone(), watched.policy.clone()?))).collect()
        };
        for (name, watch) in watched {
            let question = Question {
                group: &name,
                condition: &watch.policy.condition,
                hosts: &watch.hosts,
                coordinators: survey.coordinators,
            };
            let verdict = judge(&question, &voices);
            let Some((busy, epoch)) = self.log.with(|replica| {
                let group = replica.state.groups.get(&name)?;
                let left_alone = group.open_run.is_some() || group.automatic.paused.is_some();
                Some((left_alone || group.automatic.limited.is_some(), group.epoch.0))
            }) else {
                continue;
            };
            let now = self.now();
            let finding = {
                let mut memory = self.lock();
                let Some(watched) = memory.watched.get_mut(&name) else { continue };
                let healthy = verdict.is_none();
                let policy = &watch.policy;
                let finding = watched.vigil.look(epoch, now, verdict, busy, policy.holds_for, policy.grace);
                if healthy || busy {
                    watched.told = false;
                }
                finding
            };
            if let Finding::Due { since, what } = finding
                && self.lock().acting.insert(name.clone())
            {
                // Beside the loop: a host that is slow to answer for one group must not hold up the others.
                let watchman = self.clone();
                let held = now.since(since);
                tokio::spawn(async move {
                    watchman.act(&name, &watch, &what, held).await;
                    watchman.lock().acting.remove(&name);
                });
            }
        }
    }

    /// The condition has held long enough: starts the runbook, or says what would have been done.
    async fn act(&self, name: &GroupName, watch: &Watch, what: &str, held: Span) {
        let evidence = format!("{what}, for {held}");
        if watch.policy.mode != Mode::On {
            let runbook = &watch.policy.runbook;
            return self.tell_once(name, format!("would have started {runbook}: {evidence}")).await;
        }
        let started = match self.plan(name, watch, &evidence) {
            // What refuses an operator refuses a start without one.
            Ok(plan) => match look::at_start(&self.sessions, &plan).await {
                Ok(()) => self.start(plan, &evidence).await,
                Err(fault) => Err(Some(fault)),
            },
            Err(fault) => Err(Some(fault)),
        };
        match started {
            Ok(run) => tracing::warn!(%run, group = %name, "started by itself: {evidence}"),
            // Not answered, or not the leader any more: the next look finds the same.
            Err(None) => {}
            Err(Some(fault)) => {
                self.tell_once(name, format!("should have failed over and could not: {fault} ({evidence})")).await
            }
        }
    }

    fn plan(&self, name: &GroupName, watch: &Watch, evidence: &str) -> Result<Plan, Fault> {
        let request = Request {
            runbook: watch.policy.runbook.clone(),
            to: watch.policy.to.clone(),
            inputs: BTreeMap::new(),
            reason: format!("automatic: {evidence}"),
            overrides: BTreeMap::new(),
            accepted_data_loss: false,
            now: self.proposer.now(),
        };
        self.log.with(|replica| {
            let group = replica.state.groups.get(name).ok_or_else(|| gone(name))?;
            let runbook = definitions::runbook_of(group, name.as_str(), &watch.policy.runbook)?;
            baton_planner::plan(&watch.group, &runbook, &definitions::situation_of(group), &request)
        })
    }

    async fn start(&self, plan: Plan, evidence: &str) -> Result<RunId, Option<Fault>> {
        let command = Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan),
            acceptance: None,
            cause: Some(evidence.to_owned()),
        };
        match self.proposer.propose(self.proposer.itself(), evidence, None, command).await {
            Ok(Answer::Started { run }) => Ok(run),
            Ok(_) => Err(None),
            Err(ProposalError::Refused(fault)) => Err(Some(fault)),
            Err(error) => {
                tracing::debug!(%error, "a run was not started");
                Err(None)
            }
        }
    }

    /// Into the log, once for each fault: a policy that observes for a week must not fill it.
    async fn tell_once(&self, name: &GroupName, what: String) {
        {
            let mut memory = self.lock();
            let Some(watched) = memory.watched.get_mut(name) else { return };
            if std::mem::replace(&mut watched.told, true) {
                return;
            }
        }
        tracing::warn!(group = %name, "{what}");
        let command = Command::RecordJudgement { group: name.clone(), what };
        if let Err(error) = self.proposer.propose(self.proposer.itself(), "", None, command).await {
            tracing::debug!(%error, "a judgement was not recorded");
            if let Some(watched) = self.lock().watched.get_mut(name) {
                watched.told = false;
            }
        }
    }

    /// A run that started by itself is committed: what it started for is looked at again before it may act.
    pub fn recheck(&self, run: &RunId) {
        if !self.lock().rechecking.insert(run.clone()) {
            return;
        }
        let (watchman, run) = (self.clone(), run.clone());
        tokio::spawn(async move {
            watchman.judge_again(&run).await;
            watchman.lock().rechecking.remove(&run);
        });
    }

    async fn judge_again(&self, run: &RunId) {
        let survey = self.reachability.survey().await;
        let Some((cause, checking, watch)) = self.log.with(|replica| {
            let open = replica.state.runs.get(run)?;
            let group = replica.state.groups.get(&run.group)?;
            Some((open.cause.clone(), open.phase == Phase::Checking, watch_of(group)))
        }) else {
            return;
        };
        // Nobody can tell yet: a majority that did not answer has not said that all is well.
        if !checking || survey.answers.len() <= survey.coordinators / 2 {
            return;
        }
        let verdict = watch.as_ref().and_then(|watch| {
            let question = Question {
                group: &run.group,
                condition: &watch.policy.condition,
                hosts: &watch.hosts,
                coordinators: survey.coordinators,
            };
            judge(&question, &survey.voices())
        });
        let command = match verdict {
            Some(evidence) => Command::ConfirmCause { run: run.clone(), evidence },
            None => {
                let why = format!("it is not so any more: {}", cause.unwrap_or_default());
                Command::CallOffRun { run: run.clone(), why }
            }
        };
        if let Err(error) = self.proposer.propose(self.proposer.itself(), "", None, command).await {
            tracing::debug!(%run, %error, "what was looked at again is looked at once more");
        }
    }
}

/// What to watch of a group, if anything.
fn watch_of(group: &state::Group) -> Option<Watch> {
    if !group.definition.source.text.contains("automatic") {
        return None;
    }
    let definition = definitions::group_of(group).ok()?;
    let Some(Automatic::Policy(policy)) = definition.automatic.clone() else { return None };
    if policy.mode == Mode::Off {
        return None;
    }
    // It fails over away from where the role is; a target that has it already is nothing to watch for.
    let to: Option<&MemberName> = policy.to.as_ref();
    if to.is_some_and(|to| *to == group.primary) {
        return None;
    }
    let hosts = baton_planner::assign::hosts_of_components(&definition, &group.primary);
    Some(Watch { group: definition, policy, hosts })
}

fn gone(name: &GroupName) -> Fault {
    Fault::new("BTN-0110", format!("there is no group {name}."), "")
}
