//! What is committed: the real engine's state, and beside it what follows from the entries for whoever judges.
//!
//! Apart because nothing else may move it. Left out of the state is what never decides anything and would make equal states differ: the
//! audit trail, the run's history, the remembered answers.

use std::collections::{BTreeMap, BTreeSet};

use baton_engine::{
    apply::{Position, apply},
    command::{Answer, Command, Proposal, Target},
    state::{AuditHead, State, TaskState, TaskStatus},
};
use baton_model::{
    author::{Actor, Author},
    ids::{HostName, RunId, StepId, TaskId},
    outcome::{Fault, Outcome, Report},
    plan::{Kind, Plan, Task, Unreachable, Work},
    time::Moment,
};
use serde_json::Value;

use crate::procedure::{self, NOW, group_name, host_name, step};

/// Past every deadline.
const LATER: Moment = Moment(2_000_000_000);

/// What a leader may have put into the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    Start,
    Report(TaskId, Outcome),
    Decline(TaskId),
    Fenced {
        run: RunId,
        host: HostName,
        index: u64,
    },
    Expire(TaskId),
    /// It is about to be ordered.
    Dispatch(TaskId),
    /// Its host is out of reach, and its step says that it is left out then.
    LeaveOut(TaskId),
    Abort(RunId),
    Skip(RunId, StepId),
    Retry(RunId),
    Resume(RunId),
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub state: State,
    /// Every order that was ever due, under each index.
    pub authorities: BTreeSet<(TaskId, u64)>,
    /// Up to where each host has said that nothing older acts there.
    pub fenced: BTreeMap<(RunId, HostName), u64>,
    /// What the steps say of a host that is out of reach.
    unreachable: Unreachable,
}

impl Record {
    /// The group is defined; `h1` is its primary, and nothing runs.
    pub fn initial(unreachable: Unreachable) -> Self {
        let (authorities, fenced) = (BTreeSet::new(), BTreeMap::new());
        let mut record = Self { state: State::default(), authorities, fenced, unreachable };
        let definition = procedure::definition(None);
        let answer = record.apply(Command::DefineGroup { group: group_name(), definition }, NOW);
        assert_eq!(answer, Answer::Defined { revision: 1 });
        record
    }

    /// What this entry makes of it; none where it changes nothing.
    pub fn after(&self, entry: &Entry) -> Option<Self> {
        let mut next = self.clone();
        let when = if matches!(entry, Entry::Expire(_)) { LATER } else { NOW };
        let answer = next.apply(self.command(entry), when);
        if matches!(answer, Answer::Already | Answer::Refused { .. }) {
            return None;
        }
        if let Entry::Fenced { run, host, index } = entry {
            next.fenced.insert((run.clone(), host.clone()), *index);
        }
        Some(next)
    }

    fn apply(&mut self, command: Command, when: Moment) -> Answer {
        let author = Author { who: Actor::Operator("anna".to_owned()), when, why: "because".to_owned() };
        let position = Position { index: self.state.index + 1, term: 1 };
        let answer = apply(&mut self.state, position, &Proposal { author, request: None, command });
        self.state.audit = AuditHead::default();
        self.state.latest = NOW;
        for run in self.state.runs.values_mut() {
            run.history.clear();
            for (step, state) in &run.steps {
                for task in &state.tasks {
                    if let TaskStatus::Due { index, .. } = task.status {
                        self.authorities.insert((run.task_id(step, task), index));
                    }
                }
            }
        }
        answer
    }

    fn command(&self, entry: &Entry) -> Command {
        match entry.clone() {
            Entry::Start => {
                let plan = self.plan();
                Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None }
            }
            Entry::Report(task, outcome) => Command::ReportTask { task, report: Box::new(report(outcome)) },
            Entry::Decline(task) => Command::DeclineTask { task, fault: Fault::new("BTN-0433", "it is over", "") },
            Entry::Fenced { run, host, index } => Command::AcknowledgeFence { run, host, index },
            Entry::Expire(task) => Command::ExpireTask { task },
            Entry::Dispatch(task) => Command::RecordDispatch { tasks: vec![task] },
            Entry::LeaveOut(task) => Command::SkipUnreachable { task, evidence: String::new(), at_rest: false },
            Entry::Abort(run) => Command::AbortRun { run },
            Entry::Skip(run, step) => Command::SkipTasks { run, target: Target { step: Some(step), host: None } },
            Entry::Retry(run) => Command::RetryTasks { run, target: Target { step: None, host: None } },
            Entry::Resume(run) => Command::ResumeRun { run },
        }
    }

    /// Stop on the primary's host, move the role, start on the other's.
    fn plan(&self) -> Plan {
        procedure::plan(&self.state, Kind::Planned, |old, new| {
            let mut stop = step("stop", act(old, "service.stop"));
            stop.undo = vec![task(old, "service.start")];
            let moves = step("move", Work::Transfer { detach_old: false, because: None });
            let mut start = step("start", act(new, "service.start"));
            (stop.unreachable, start.unreachable) = (self.unreachable, self.unreachable);
            vec![stop, moves, start]
        })
    }

    /// Of the state: the task, where its attempt was ever made due.
    pub fn task(&self, id: &TaskId) -> Option<&TaskState> {
        self.state.runs.get(&id.run)?.task(id)
    }

    /// Everybody knows that this attempt has ended. One of unknown end may act still, as long as no fence says otherwise.
    pub fn is_known_to_be_over(&self, id: &TaskId) -> bool {
        let Some(task) = self.task(id) else { return false };
        let in_doubt = task.report.as_ref().is_some_and(|report| report.outcome == Outcome::Unknown);
        task.attempt > id.attempt
            || match task.status {
                TaskStatus::Ended { outcome } => outcome != Outcome::Unknown,
                TaskStatus::Skipped { .. } => !in_doubt,
                TaskStatus::Pending | TaskStatus::Due { .. } | TaskStatus::Fencing { .. } => false,
            }
    }

    /// An operator went on without knowing that the old primary has stopped: what follows is that person's.
    pub fn stop_was_left_out(&self) -> bool {
        let stops = self.state.runs.values().flat_map(|run| run.steps.get(&StepId("stop".to_owned())));
        stops.flat_map(|step| &step.tasks).any(|task| matches!(task.status, TaskStatus::Skipped { .. }))
    }
}

fn task(host: usize, action: &str) -> Task {
    Task { host: host_name(host), action: action.to_owned(), params: Value::Null, deferred: false }
}

fn act(host: usize, action: &str) -> Work {
    Work::Act { tasks: vec![task(host, action)] }
}

pub fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        summary: String::new(),
        fault: (!outcome.is_success()).then(|| Fault::new("BTN-0400", "it did not go well", "")),
        output: Default::default(),
        data: Value::Null,
        attachments: Vec::new(),
        started: NOW,
        ended: NOW,
    }
}
