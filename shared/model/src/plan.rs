//! A plan: a runbook bound to a group as it is now, with nothing left to decide but what earlier steps register.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    action::loses_data,
    digest::Digest,
    ids::{Epoch, GroupName, HostName, MemberName, RunbookName, StepId},
    time::Span,
};

mod window;

pub use window::{OPENINGS_MAX, Opening, StepWindow};

/// Planned work can never turn into force: the kind is the runbook's, and each has its own words on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The role moves with both sides alive; nothing may be lost.
    Planned,
    /// The role moves although the old side is lost; data may be lost.
    Forced,
    /// The role stays.
    Maintenance,
}

/// What is shown, and, if its digest still holds, what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub group: GroupName,
    pub runbook: RunbookName,
    pub kind: Kind,
    pub description: String,
    /// Why the operator asks; from `--reason`.
    pub reason: String,
    /// Primary when the plan was made.
    pub old: MemberName,
    /// The target of the role, where the runbook moves it.
    pub new: Option<MemberName>,
    pub epoch: Epoch,
    /// The group definition's revision the plan was made from.
    pub group_revision: u64,
    pub runbook_digest: Digest,
    pub inputs: BTreeMap<String, Value>,
    /// Guards that the operator overrode for this run, with the reason.
    pub overrides: BTreeMap<String, String>,
    /// Some step can lose what the old primary had acknowledged: starting it takes an operator's acceptance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loses_data: bool,
    /// `group`, `old`, `new`, `vars`, `input`, `facts`, `hosts`: what expressions that had to wait are evaluated over.
    pub scope: BTreeMap<String, Value>,
    /// In order; all steps of one stage run together.
    pub stages: Vec<Stage>,
}

impl Plan {
    /// Over everything the plan was made from and everything it will do.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }
    /// Everything that may be ordered of a host, what undoes a step too.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.steps().flat_map(|step| {
            let acts = match &step.work {
                Work::Act { tasks } => tasks.as_slice(),
                _ => &[],
            };
            acts.iter().chain(&step.undo)
        })
    }
    /// The hosts that would take over whatever the old primary has.
    pub fn losing_hosts(&self) -> BTreeSet<HostName> {
        self.tasks().filter(|task| loses_data(&task.action)).map(|task| task.host.clone()).collect()
    }
    /// Whether it says, always and before the role moves, that the member has rejoined.
    pub fn rejoins_before_transfer(&self, member: &MemberName) -> bool {
        let before = self.steps().take_while(|step| !matches!(step.work, Work::Transfer { .. }));
        before
            .filter(|step| step.condition == Condition::Always)
            .any(|step| matches!(&step.work, Work::Rejoin { member: back } if back == member))
    }
    /// The index of the stage that transfers the role, if there is one.
    pub fn transfer_stage(&self) -> Option<usize> {
        self.stages.iter().position(|stage| stage.steps.iter().any(|step| matches!(step.work, Work::Transfer { .. })))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Prechecks come first and change nothing.
    pub precheck: bool,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    pub name: String,
    pub work: Work,
    pub condition: Condition,
    /// Of each task.
    pub timeout: Span,
    pub retry: Retry,
    pub on_failure: OnFailure,
    pub unreachable: Unreachable,
    /// Hosts at once; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Later steps see the reports' data under this name: a map host → data, or the data itself where there is one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// The group keeps the data under this name beyond the run, as `facts.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
    /// The turn of a `for` that this step is: expressions that had to wait see it as `item`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
    /// The step begins only while this is open, and with it all of its stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<StepWindow>,
    /// A precheck that must hold before there is a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// What `abort` does about this step before the role has moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Task>,
}

/// The start is refused where a host does not say that the precheck holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What to do about it.
    pub remedy: String,
    /// Under this name it can be overridden for one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "work")]
pub enum Work {
    /// A task for each host.
    Act { tasks: Vec<Task> },
    /// The point of no return: the role moves to the plan's `new`.
    Transfer {
        /// The old primary is out of step and must rejoin before the role can move again.
        detach_old: bool,
        /// Why it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<Sentence>,
    },
    /// The member is a good standby again.
    Rejoin { member: MemberName },
    /// The member is out of step and must rejoin before the role can move again.
    Detach { member: MemberName, because: Sentence },
    /// The group may fail over by itself again.
    Rearm,
    /// The coordinators try to connect: none may succeed, and at least `from` of them must have tried.
    ProveUnreachable {
        /// HOST:PORT.
        endpoints: Vec<String>,
        from: u32,
        /// Under this name it can be overridden for one run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guard: Option<String>,
    },
    /// Stops for a person.
    Confirm { text: String },
    /// Stops for a second person.
    Approval { text: String },
}

/// Something said to people, as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// Resolved but, where `deferred`, for `${…}` over what earlier steps register.
    pub text: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deferred: bool,
}

/// An action on a host, as planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub host: HostName,
    pub action: String,
    /// Resolved but for secrets and, where `deferred`, for `${…}` over what earlier steps register.
    pub params: Value,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deferred: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "condition", content = "expression")]
pub enum Condition {
    Always,
    /// False when the plan was made: the step will be skipped.
    Never(String),
    /// Depends on what earlier steps register.
    Deferred(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all; 1 means none beyond the first.
    pub attempts: u32,
    pub delay: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    Halt,
    Continue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unreachable {
    Fail,
    Skip,
}
