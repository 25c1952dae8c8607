//! What people and scripts are shown: the documents that `-o json` prints, and that the tables are made from.
//!
//! Apart from the replicated state, so that either may change without the other. A field is added here, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    assignment::Health,
    author::Author,
    bill::{Acceptance, Bill},
    digest::Digest,
    ids::{ComponentName, Epoch, GroupName, HostName, MemberName, RunId, RunbookName, StepId},
    outcome::{Attachment, Fault, Observation, Output},
    plan::{Kind, Plan},
    time::{Moment, Span},
};

/// What would happen, asked of the real hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    pub plan: Plan,
    pub digest: Digest,
    /// One sentence: what starting this does to the role.
    pub consequence: String,
    /// What would be lost, where a step can lose data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill: Option<Bill>,
    pub observations: Vec<ObservedTask>,
    /// What an operator should know before starting: hosts out of reach, prechecks that would fail now.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedTask {
    pub step: StepId,
    pub host: HostName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// A line of `baton runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub id: RunId,
    pub group: GroupName,
    pub runbook: RunbookName,
    pub kind: Kind,
    /// running, halted, aborting, abort halted, succeeded, aborted, rolled back.
    pub phase: String,
    /// Why it is halted, what it waits for, or how it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    pub started: Author,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// Ended, whichever way.
    pub over: bool,
    /// Waits for an operator: halted, or a step wants a word.
    pub waiting: bool,
}

/// `baton show` and `baton watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    #[serde(flatten)]
    pub summary: RunSummary,
    pub old: MemberName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<MemberName>,
    pub reason: String,
    /// The group's epoch when the run started.
    pub epoch: Epoch,
    pub digest: Digest,
    /// The role has moved in this run.
    pub transferred: bool,
    pub stage: usize,
    pub stages: usize,
    /// The loss that was accepted when the run started, by whoever started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_loss: Option<Acceptance>,
    pub steps: Vec<StepView>,
    pub history: Vec<HistoryLine>,
    /// The coordinator's clock when this was made.
    pub now: Moment,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    pub author: Author,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    pub id: StepId,
    pub name: String,
    pub stage: usize,
    pub precheck: bool,
    pub undo: bool,
    pub state: StepWord,
    /// Why it was skipped, who confirmed it, what the role did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What the step waits for that is no person: a maintenance window, and when it opens.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waits_for: String,
    /// What a `confirm` or `approval` step asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    pub tasks: Vec<TaskView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWord {
    Pending,
    Running,
    /// For a person.
    Waiting,
    Done,
    Skipped,
    Failed,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    pub host: HostName,
    pub action: String,
    /// 0: never ordered.
    pub attempt: u32,
    pub state: TaskWord,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    #[serde(default, skip_serializing_if = "Output::is_empty")]
    pub output: Output,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskWord {
    Pending,
    /// Ordered; the agent has not said that it has it.
    Dispatched,
    Running,
    /// Withdrawn: waits until the host acknowledges the fence.
    Fencing,
    Unchanged,
    Changed,
    Failed,
    Refused,
    Unknown,
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    pub note: String,
    /// 0 to 100 where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    pub at: Moment,
}

/// `baton status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    pub cluster: ClusterView,
    pub groups: Vec<GroupView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupView {
    pub name: GroupName,
    pub description: String,
    pub primary: MemberName,
    pub epoch: Epoch,
    pub primary_since: Moment,
    pub revision: u64,
    pub members: Vec<MemberView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_run: Option<RunSummary>,
    pub runbooks: Vec<RunbookView>,
    /// What keeps the role from moving freely: a detached member, a lost one. Empty when all is well.
    pub limits: Vec<String>,
    /// What an operator should look at although nothing is limited: samples that have become old.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Something exclusive is seen to run where the role is not. Stands above everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dual_active: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<AutomaticView>,
    /// What hosts did on their own account, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertView>,
}

/// A component on one host, as its agent last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentView {
    pub component: ComponentName,
    pub host: HostName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    pub exclusive: bool,
    /// None: the leader has no word of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// By the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// When it was asked last, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    pub lasts: Span,
    pub stop_within: Span,
    /// Each host of the primary that holds it, with what was left when its agent last said so; none where it holds none or was not heard.
    pub holders: BTreeMap<HostName, Option<Span>>,
}

/// Failing over without a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutomaticView {
    /// off, observe, on; manual only.
    pub mode: String,
    /// Why only by hand; what it starts, and when.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Author>,
    /// It failed over by itself: no further time, and synchronisation is off, until a switchback or a rearming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<LimitedView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<JudgedView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedView {
    pub by: RunId,
    pub since: Moment,
    pub why: String,
    /// What the product's two sides are not any more.
    pub synchronization: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedView {
    pub at: Moment,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertView {
    pub host: HostName,
    /// By the host's clock.
    pub at: Moment,
    pub what: String,
    /// It could not be done: somebody must look.
    pub failed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookView {
    pub name: RunbookName,
    pub kind: Kind,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    pub name: MemberName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    pub primary: bool,
    /// standby, primary, detached, lost.
    pub standing: String,
    /// Why it is no good standby: in the words of the run's step, or of whoever declared it lost.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// Since when it is no good standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// The run that left it detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RunId>,
    pub hosts: Vec<HostView>,
}

/// `baton hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    pub name: HostName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub groups: Vec<GroupName>,
    /// Coordinators that have a session with its agent now.
    pub reached_by: Vec<String>,
    /// Coordinators that were asked and have none.
    pub not_reached_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// `baton cluster members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    pub term: u64,
    pub generation: u64,
    pub applied: u64,
    pub members: Vec<CoordinatorView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorView {
    pub name: String,
    pub address: String,
    pub leader: bool,
    /// The last index of the leader's log that this one is known to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<u64>,
}

/// What `baton apply` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedView {
    pub changes: Vec<AppliedChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedChange {
    pub group: GroupName,
    /// created, changed, unchanged.
    pub change: String,
    pub revision: u64,
    pub runbooks: Vec<RunbookName>,
}
