//! What the state asks to be done now. Pure: a new leader computes the same answer from the same state.

use baton_model::{
    ids::{HostName, RunId, StepId, TaskId},
    plan::{Unreachable, Work},
    time::{Moment, Span},
};
use serde_json::Value;

use crate::assign;
use crate::state::{Phase, Run, State, TaskState, TaskStatus, run::Verdict};

/// Beyond a task's own timeout, which its agent enforces, before the coordinator gives up hearing of it.
pub const GRACE: Span = Span::from_secs(30);

/// Beyond this the coordinator stops waiting for a host to acknowledge a fence: the attempt counts as unknown.
pub const FENCE_PATIENCE: Span = Span::from_secs(120);

/// When nothing is heard until then, [`crate::command::Command::ExpireTask`] is due. `None`: nothing is awaited.
pub fn gives_up(task: &TaskState) -> Option<Moment> {
    match &task.status {
        TaskStatus::Due { not_before, .. } => Some(not_before.plus(task.timeout).plus(GRACE)),
        TaskStatus::Fencing { since, .. } => Some(since.plus(FENCE_PATIENCE)),
        TaskStatus::Pending | TaskStatus::Ended { .. } | TaskStatus::Skipped { .. } => None,
    }
}

/// A lease that nobody can tell the end of is waited for so long, where the step has no timeout.
pub const LEASE_PATIENCE: Span = Span::from_secs(900);

/// Everything that is to be done now, and when to ask again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Duties {
    /// In the order of their authority, so that an agent never sees an index fall.
    pub orders: Vec<DueOrder>,
    pub raises: Vec<DueRaise>,
    /// Tasks past deadline and grace, fences past patience: propose `ExpireTask`.
    pub expired: Vec<TaskId>,
    /// Stages whose windows are open: when most coordinators' clocks agree, propose `OpenWindow`.
    pub openings: Vec<DueOpening>,
    /// Runs that started by themselves: look again, and propose `ConfirmCause` or `CallOffRun`.
    pub rechecks: Vec<RunId>,
    /// Whose leases must end before the role moves: propose `EndLease` or `GiveUpLease`.
    pub leases: Vec<DueLease>,
    /// What the coordinators are to try to connect to: propose `ReportSightings`.
    pub probes: Vec<DueProbe>,
    /// The next moment at which the answer changes without a new entry.
    pub wake: Option<Moment>,
}

/// An order without the leader's term, which the dispatcher adds.
#[derive(Debug, Clone, PartialEq)]
pub struct DueOrder {
    pub task: TaskId,
    pub index: u64,
    pub action: String,
    pub params: Value,
    pub timeout: Span,
    pub since: Moment,
    pub unreachable: Unreachable,
    /// Where `unreachable` is `skip`: the log says that it may be ordered. Until then it must not be; propose `RecordDispatch`.
    pub dispatched: bool,
}

impl DueOrder {
    /// Without it, nobody could tell later whether leaving the host out is safe.
    pub fn awaits_record(&self) -> bool {
        self.unreachable == Unreachable::Skip && !self.dispatched
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRaise {
    pub run: RunId,
    pub host: HostName,
    pub index: u64,
}

/// What the current stage of a run waits for is open now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueOpening {
    pub run: RunId,
    pub stage: usize,
}

/// A transfer waits for the leases of these hosts to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueLease {
    pub run: RunId,
    pub step: StepId,
    /// Of the entry since which it waits.
    pub index: u64,
    pub hosts: Vec<HostName>,
    /// It has waited long enough: the step fails, and somebody decides.
    pub give_up: bool,
}

/// A step that the coordinators themselves carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueProbe {
    pub run: RunId,
    pub step: StepId,
    pub index: u64,
    pub endpoints: Vec<String>,
    /// Of each connection.
    pub timeout: Span,
}

/// Derives the duties from committed state alone.
pub fn due(state: &State, now: Moment) -> Duties {
    due_except(state, now, |_| None)
}

/// As [`due`], without the orders that the caller has given already: a thousand hosts report one by one, and each report
/// must not cost a thousand copies. `given` answers the authority under which a task was ordered; where that has risen since,
/// the order is due again, so that a fence raised for another task of the host does not end this one.
pub fn due_except(state: &State, now: Moment, given: impl Fn(&TaskId) -> Option<u64>) -> Duties {
    let mut duties = Duties::default();
    for run in state.runs.values().filter(|run| !run.phase.is_over()) {
        due_of(state, run, now, &given, &mut duties);
    }
    duties.orders.sort_by(|a, b| (a.index, &a.task).cmp(&(b.index, &b.task)));
    duties
}

fn due_of(state: &State, run: &Run, now: Moment, given: &impl Fn(&TaskId) -> Option<u64>, duties: &mut Duties) {
    let wake = |duties: &mut Duties, at: Moment| {
        duties.wake = Some(duties.wake.map_or(at, |other| other.min(at)));
    };
    let awaited = run.awaited_windows(&run.plan);
    if run.phase == Phase::Running && !awaited.is_empty() {
        if awaited.iter().all(|(_, window)| window.is_open(now)) {
            duties.openings.push(DueOpening { run: run.id.clone(), stage: run.stage });
        }
        let next = awaited.iter().filter_map(|(_, window)| window.next_opening(now)).map(|opening| opening.opens);
        if let Some(next) = next.min() {
            wake(duties, next);
        }
    }
    if run.phase == Phase::Checking {
        duties.rechecks.push(run.id.clone());
    }
    if run.phase == Phase::Running {
        for lease in leases(state, run, now) {
            duties.leases.push(lease);
        }
        duties.probes.extend(probes(run));
    }
    for (step, state) in &run.steps {
        let mut name: Option<TaskId> = None;
        for task in &state.tasks {
            let Some(gives_up) = gives_up(task) else { continue };
            if now >= gives_up {
                duties.expired.push(run.task_id(step, task));
                continue;
            }
            wake(duties, gives_up);
            match &task.status {
                TaskStatus::Due { index, not_before, since } => {
                    if now < *not_before {
                        wake(duties, *not_before);
                        continue;
                    }
                    // One name for a step's tasks, changed in place: most are known, and a name costs three allocations.
                    let id = name.get_or_insert_with(|| run.task_id(step, task));
                    id.host = task.host.clone();
                    id.attempt = task.attempt;
                    match given(id) {
                        Some(authority) if authority == *index => continue,
                        // It is at the host: this only tells the newer authority.
                        Some(_) => {}
                        // After a halt what runs is awaited, and what was never sent must not start.
                        None if !is_dispatching(run) => continue,
                        None => {}
                    }
                    duties.orders.push(DueOrder {
                        unreachable: run.ruling_step(step).map_or(Unreachable::Fail, |step| step.unreachable),
                        task: id.clone(),
                        index: *index,
                        action: task.action.clone(),
                        params: task.params.clone(),
                        timeout: task.timeout,
                        since: *since,
                        dispatched: task.dispatched,
                    });
                }
                TaskStatus::Fencing { index, .. } => {
                    let raise = DueRaise { run: run.id.clone(), host: task.host.clone(), index: *index };
                    match duties.raises.iter_mut().find(|other| other.run == raise.run && other.host == raise.host) {
                        Some(other) => other.index = other.index.max(raise.index),
                        None => duties.raises.push(raise),
                    }
                }
                TaskStatus::Pending | TaskStatus::Ended { .. } | TaskStatus::Skipped { .. } => {}
            }
        }
    }
}

/// The current stage's transfer, where it waits for leases to end.
fn leases(state: &State, run: &Run, now: Moment) -> Vec<DueLease> {
    let Some(group) = state.groups.get(&run.id.group) else { return Vec::new() };
    let steps = run.plan.stages.get(run.stage).map_or(&[][..], |stage| &stage.steps).iter();
    steps
        .filter_map(|step| {
            let Verdict::AwaitsLease { index, since, ended } = &run.steps.get(&step.id)?.verdict else { return None };
            let patience = if step.timeout.0 == 0 { LEASE_PATIENCE } else { step.timeout };
            Some(DueLease {
                run: run.id.clone(),
                step: step.id.clone(),
                index: *index,
                hosts: assign::holders(group).filter(|host| !ended.contains_key(*host)).cloned().collect(),
                give_up: now >= since.plus(patience),
            })
        })
        .collect()
}

/// The current stage's steps that ask the coordinators.
fn probes(run: &Run) -> impl Iterator<Item = DueProbe> + '_ {
    let steps = run.plan.stages.get(run.stage).map_or(&[][..], |stage| &stage.steps).iter();
    steps.filter_map(|step| {
        let Work::ProveUnreachable { endpoints, .. } = &step.work else { return None };
        let Verdict::Probing { index } = run.steps.get(&step.id)?.verdict else { return None };
        let (run, step_id) = (run.id.clone(), step.id.clone());
        Some(DueProbe { run, step: step_id, index, endpoints: endpoints.clone(), timeout: step.timeout })
    })
}

/// Where the fence of an open run stands on one host: an order below it is stale. `None` where a halted run awaits what
/// runs there: its authority may have risen since it was ordered, and nothing is ordered again while the run is halted.
pub fn mark_on(run: &Run, host: &HostName) -> Option<u64> {
    let tasks = run.steps.values().flat_map(|step| &step.tasks).filter(|task| task.host == *host);
    let lowest = tasks
        .filter_map(|task| match task.status {
            TaskStatus::Due { index, .. } => Some(index),
            _ => None,
        })
        .min();
    match lowest {
        Some(_) if !is_dispatching(run) => None,
        Some(lowest) => Some(lowest),
        None => Some(run.mark),
    }
}

fn is_dispatching(run: &Run) -> bool {
    matches!(run.phase, Phase::Running | Phase::Aborting)
}
