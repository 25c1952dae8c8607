//! One execution of a plan, and where each of its tasks stands.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use baton_model::{
    author::Author,
    bill::Acceptance,
    digest::Digest,
    ids::{HostName, RunId, StepId, TaskId},
    outcome::{Outcome, Report},
    plan::{Plan, Step, StepWindow},
    time::{Moment, Span},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Happenings kept per run.
pub const HISTORY_MAX: usize = 400;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    /// Shared, because a plan for a thousand hosts is read with every report and never changes.
    pub plan: Arc<Plan>,
    pub digest: Digest,
    pub phase: Phase,
    pub started: Author,
    pub ended: Option<Moment>,
    /// The stage at work; all before it have ended, none after it has begun.
    pub stage: usize,
    /// Set when the current stage's tasks have been made due.
    pub stage_begun: bool,
    pub steps: BTreeMap<StepId, StepState>,
    /// Guards that an operator overrode after the start, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, String>,
    /// What steps with `register` found.
    pub registered: BTreeMap<String, Value>,
    /// The role has moved in this run: from here on, back is another switchover.
    pub transferred: bool,
    /// Why it started by itself; none where a person started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The loss of data that was accepted when it started, for this run alone; by whom and when is `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_loss: Option<Acceptance>,
    /// While aborting, once every fence stands: undo steps still to do, the next one last.
    pub undo: Option<Vec<StepId>>,
    /// The highest index at which this run gave or withdrew orders.
    pub mark: u64,
    pub history: VecDeque<Happening>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// It started by itself, and what it started for is looked at again; nothing has been ordered.
    Checking,
    Running,
    /// Nothing new is dispatched; an operator decides.
    Halted {
        why: String,
    },
    /// Fences are raised and undo steps run.
    Aborting,
    /// An undo step failed; an operator decides.
    AbortHalted {
        why: String,
    },
    Succeeded,
    /// Ended by an operator; nothing had to be undone, or the role had moved already.
    Aborted {
        note: String,
    },
    RolledBack,
}

impl Phase {
    pub fn is_over(&self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Aborted { .. } | Phase::RolledBack)
    }
    pub fn is_halted(&self) -> bool {
        matches!(self, Phase::Halted { .. } | Phase::AbortHalted { .. })
    }
    /// On the way back.
    pub fn is_abort(&self) -> bool {
        matches!(self, Phase::Aborting | Phase::AbortHalted { .. })
    }
    pub fn as_str(&self) -> &'static str {
        match self {
            Phase::Checking => "checking",
            Phase::Running => "running",
            Phase::Halted { .. } => "halted",
            Phase::Aborting => "aborting",
            Phase::AbortHalted { .. } => "abort halted",
            Phase::Succeeded => "succeeded",
            Phase::Aborted { .. } => "aborted",
            Phase::RolledBack => "rolled back",
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    pub tasks: Vec<TaskState>,
    /// For steps without tasks, and for those that the condition left out.
    pub verdict: Verdict,
    /// Its window was open then, and it may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_opened: Option<Moment>,
    pub began: Option<Moment>,
    pub ended: Option<Moment>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The tasks say.
    Open,
    /// Waits for a person.
    Waiting,
    /// Waits for its maintenance window; nothing of its stage has begun on its account.
    AwaitsWindow,
    /// The coordinators are asked what they can connect to, on account of the entry at `index`.
    Probing {
        index: u64,
    },
    /// The role moves once the lease of each of the old primary's hosts has ended, on account of the entry at `index`.
    AwaitsLease {
        index: u64,
        since: Moment,
        /// Whose has, and how.
        ended: BTreeMap<HostName, String>,
    },
    Done {
        note: String,
        by: Option<Author>,
    },
    Skipped {
        why: String,
    },
    /// The coordinator's own part failed: a condition or parameter that could not be evaluated.
    Failed {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    pub host: HostName,
    pub action: String,
    /// Fully resolved once the task is due.
    pub params: Value,
    pub timeout: Span,
    /// From 1; 0 while it was never due.
    pub attempt: u32,
    pub status: TaskStatus,
    /// This attempt may have been ordered. Kept only for steps that leave out who is unreachable: of any other nobody asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dispatched: bool,
    /// Of the last attempt that has one.
    pub report: Option<Report>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum TaskStatus {
    /// Not ordered now: it was never, or it waits for another attempt.
    Pending,
    /// The entry at `index` made it due.
    Due {
        index: u64,
        since: Moment,
        not_before: Moment,
    },
    /// The host must acknowledge a fence of `index` before `intent` takes effect.
    Fencing {
        index: u64,
        since: Moment,
        intent: Intent,
    },
    Ended {
        outcome: Outcome,
    },
    Skipped {
        why: String,
    },
}

/// What happens once nothing older can run on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "intent")]
pub enum Intent {
    Retry,
    Skip { why: String },
    Abort,
}

impl TaskStatus {
    /// Nothing can happen on the host any more on account of this task.
    pub fn is_over(&self) -> bool {
        matches!(self, TaskStatus::Ended { .. } | TaskStatus::Skipped { .. })
    }
    pub fn is_good(&self) -> bool {
        match self {
            TaskStatus::Ended { outcome } => outcome.is_success(),
            TaskStatus::Skipped { .. } => true,
            _ => false,
        }
    }
    pub fn is_bad(&self) -> bool {
        matches!(self, TaskStatus::Ended { outcome } if !outcome.is_success())
    }

    /// The one table of legal transitions; the live path and recovery both go through [`TaskState::set`].
    pub fn may_become(&self, next: &TaskStatus) -> bool {
        use TaskStatus::*;
        match (self, next) {
            (Pending, Due { .. } | Skipped { .. }) => true,
            (Due { .. }, Ended { .. } | Skipped { .. } | Fencing { .. }) => true,
            // Another attempt: by the step's own `retry` at once, on a word when its turn comes.
            (Ended { outcome }, Due { .. } | Pending) => !outcome.is_success() && *outcome != Outcome::Unknown,
            // An attempt of unknown end must be fenced before another one.
            (Ended { outcome }, Fencing { .. }) => *outcome == Outcome::Unknown,
            // A late report ends the doubt; an operator leaves a bad end behind.
            (Ended { outcome: Outcome::Unknown }, Ended { .. }) => true,
            (Ended { outcome }, Skipped { .. }) => !outcome.is_success(),
            (Fencing { .. }, Pending | Skipped { .. } | Ended { .. } | Fencing { .. }) => true,
            _ => false,
        }
    }
}

impl TaskState {
    /// Moves along the table of legal transitions.
    pub fn set(&mut self, next: TaskStatus) {
        assert!(
            self.status.may_become(&next),
            "illegal transition of a task on {}: {:?} to {next:?}",
            self.host,
            self.status
        );
        self.status = next;
    }
}

/// A line of the run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    pub author: Author,
    /// A sentence: what happened.
    pub what: String,
}

impl Run {
    pub fn note(&mut self, author: &Author, what: impl Into<String>) {
        if self.history.len() == HISTORY_MAX {
            // The beginning tells who started it and why; what is dropped is the oldest after that.
            self.history.remove(1);
        }
        self.history.push_back(Happening { author: author.clone(), what: what.into() });
    }

    pub fn task(&self, id: &TaskId) -> Option<&TaskState> {
        let tasks = &self.steps.get(&id.step)?.tasks;
        tasks.get(position_of(tasks, &id.host)?)
    }

    pub fn task_mut(&mut self, id: &TaskId) -> Option<&mut TaskState> {
        self.task_at_mut(id).map(|(_, task)| task)
    }

    /// A task and its place among its step's.
    pub fn task_at_mut(&mut self, id: &TaskId) -> Option<(usize, &mut TaskState)> {
        let tasks = &mut self.steps.get_mut(&id.step)?.tasks;
        let position = position_of(tasks, &id.host)?;
        tasks.get_mut(position).map(|task| (position, task))
    }

    /// The steps at work: the current stage's, or the undo step.
    pub fn current_steps(&self) -> Vec<StepId> {
        match &self.undo {
            Some(undo) => undo.last().cloned().into_iter().collect(),
            None => self
                .plan
                .stages
                .get(self.stage)
                .map(|stage| stage.steps.iter().map(|step| step.id.clone()).collect())
                .unwrap_or_default(),
        }
    }

    /// Why a guard does not hold in this run: overridden at the start, or since.
    pub fn overridden(&self, guard: &str) -> Option<&str> {
        self.plan.overrides.get(guard).or_else(|| self.overrides.get(guard)).map(String::as_str)
    }

    /// The current stage's steps that wait for their windows. `plan` is this run's own.
    pub fn awaited_windows<'p>(&self, plan: &'p Plan) -> Vec<(&'p StepId, &'p StepWindow)> {
        if self.undo.is_some() {
            return Vec::new();
        }
        let steps = plan.stages.get(self.stage).map_or(&[][..], |stage| &stage.steps).iter();
        let waits = |step: &&Step| self.steps.get(&step.id).is_some_and(|state| state.verdict == Verdict::AwaitsWindow);
        steps.filter(waits).filter_map(|step| Some((&step.id, step.window.as_ref()?))).collect()
    }

    /// No task of the plan's own steps can still run anywhere.
    pub fn fences_settled(&self) -> bool {
        self.plan.steps().all(|step| {
            self.steps.get(&step.id).is_none_or(|state| {
                state.tasks.iter().all(|task| task.status.is_over() || task.status == TaskStatus::Pending)
            })
        })
    }

    /// The plan's step that `id` names, or that `id` undoes: its rules hold for both.
    pub fn ruling_step(&self, id: &StepId) -> Option<&Step> {
        let Some(undone) = id.0.strip_suffix("/undo") else { return self.planned_step(id) };
        let named = |name: &str| self.plan.steps().find(|step| step.id.0 == name);
        named(undone).or_else(|| named(undone.rsplit_once('.')?.0))
    }

    pub fn planned_step(&self, id: &StepId) -> Option<&Step> {
        self.plan.steps().find(|step| &step.id == id)
    }

    pub fn task_id(&self, step: &StepId, task: &TaskState) -> TaskId {
        TaskId { run: self.id.clone(), step: step.clone(), host: task.host.clone(), attempt: task.attempt }
    }
}

impl StepState {
    pub fn new(tasks: Vec<TaskState>) -> Self {
        Self { tasks, verdict: Verdict::Open, window_opened: None, began: None, ended: None }
    }

    pub fn is_over(&self) -> bool {
        match self.verdict {
            Verdict::Open => !self.tasks.is_empty() && self.tasks.iter().all(|task| task.status.is_over()),
            Verdict::Waiting | Verdict::AwaitsWindow | Verdict::Probing { .. } | Verdict::AwaitsLease { .. } => false,
            Verdict::Done { .. } | Verdict::Skipped { .. } | Verdict::Failed { .. } => true,
        }
    }

    pub fn is_good(&self) -> bool {
        match self.verdict {
            Verdict::Open => self.tasks.iter().all(|task| task.status.is_good()),
            Verdict::Waiting
            | Verdict::AwaitsWindow
            | Verdict::Probing { .. }
            | Verdict::AwaitsLease { .. }
            | Verdict::Failed { .. } => false,
            Verdict::Done { .. } | Verdict::Skipped { .. } => true,
        }
    }
}

/// Where the task of a host is. Most plans list their hosts in order; those that do not are searched from the front.
fn position_of(tasks: &[TaskState], host: &HostName) -> Option<usize> {
    let guess = tasks.binary_search_by(|task| task.host.cmp(host)).ok();
    guess.or_else(|| tasks.iter().position(|task| task.host == *host))
}

/// Undo steps are named after what they undo: `4/undo`, and `4.1/undo` for a second undo action.
pub fn undo_id(step: &StepId, turn: usize) -> StepId {
    StepId(if turn == 0 { format!("{step}/undo") } else { format!("{step}.{turn}/undo") })
}

pub fn is_undo(id: &StepId) -> bool {
    id.0.ends_with("/undo")
}
