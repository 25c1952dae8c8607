//! What can be asked of the replicated state. Imperative names; one file each under `apply/`.

use std::collections::{BTreeMap, BTreeSet};

use baton_model::{
    assignment::Deed,
    author::Author,
    bill::{Acceptance, Sampled},
    digest::Digest,
    group::Lease,
    ids::{Epoch, GroupName, HostName, MemberName, RunId, RunbookName, SampleName, StepId, TaskId},
    outcome::{Fault, Report},
    plan::Plan,
    time::{Moment, Span},
};
use serde::{Deserialize, Serialize};

use crate::sighting::Sighting;

/// One entry of the log, as its proposer wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    pub author: Author,
    /// Set by whoever may have to ask again after a time-out: the same id is answered again, not done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    pub command: Command,
}

/// A file as the operator wrote it. The state keeps sources, not parsed forms: a parser that changes between versions must
/// not make two coordinators of one cluster differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(self.text.as_bytes())
    }
}

/// What the engine must know of a group; everything else is the planner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub members: BTreeSet<MemberName>,
    /// Holds the role when the group is defined for the first time; ignored afterwards.
    pub first_primary: MemberName,
    pub hosts: BTreeSet<HostName>,
    pub source: Source,
    pub runbooks: BTreeMap<RunbookName, Source>,
    /// Where the group may fail over by itself: what the engine holds such a start against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<AutomaticRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseRule>,
}

/// Of a policy whose mode is `on`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutomaticRule {
    pub runbook: RunbookName,
    pub cooldown: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRule {
    pub lease: Lease,
    /// Each member's hosts with components that must not run without it.
    pub holders: BTreeMap<MemberName, BTreeSet<HostName>>,
}

/// What an operator says of failing over without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutomaticWord {
    Pause,
    Resume,
    /// The group is limited no more.
    Rearm,
}

impl AutomaticWord {
    pub fn as_str(self) -> &'static str {
        match self {
            AutomaticWord::Pause => "pause",
            AutomaticWord::Resume => "resume",
            AutomaticWord::Rearm => "rearm",
        }
    }
}

/// Which of a run's tasks an operator means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Without it: every task that holds the run up.
    pub step: Option<StepId>,
    pub host: Option<HostName>,
}

impl Target {
    pub fn covers(&self, step: &StepId, host: &HostName) -> bool {
        self.step.as_ref().is_none_or(|wanted| wanted == step) && self.host.as_ref().is_none_or(|wanted| wanted == host)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// The first definition makes the group, at epoch 1; later ones change it. Refused while a run is open.
    DefineGroup {
        group: GroupName,
        definition: Definition,
    },
    RemoveGroup {
        group: GroupName,
    },
    /// Start what was shown.
    StartRun {
        plan: Box<Plan>,
        digest: Digest,
        /// Where the plan can lose data; for this one run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acceptance: Option<Box<Acceptance>>,
        /// Why it starts by itself: said by a coordinator alone, and only for the runbook that the group's policy names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// What a run started by itself for is still so: it may act.
    ConfirmCause {
        run: RunId,
        evidence: String,
    },
    /// It is not so any more; nothing has been done.
    CallOffRun {
        run: RunId,
        why: String,
    },
    /// The old primary's host has released its lease, or it has certainly run out.
    EndLease {
        run: RunId,
        step: StepId,
        /// Of the entry since which the transfer waits.
        index: u64,
        host: HostName,
        how: String,
    },
    /// A holder's agent goes by the lease of this epoch.
    RecordHolding {
        group: GroupName,
        host: HostName,
        epoch: Epoch,
    },
    /// Nobody could tell in time that it has.
    GiveUpLease {
        run: RunId,
        step: StepId,
        index: u64,
        why: String,
    },
    SetAutomatic {
        group: GroupName,
        word: AutomaticWord,
    },
    /// What a policy that only observes would have done.
    RecordJudgement {
        group: GroupName,
        what: String,
    },
    /// What a host did on its own account.
    RecordDeeds {
        host: HostName,
        deeds: Vec<Deed>,
    },
    /// What a host said of itself, asked while it lives. Changes nothing that a plan is made from.
    RecordSample {
        group: GroupName,
        sample: SampleName,
        host: HostName,
        sampled: Sampled,
    },
    /// An agent's outcome.
    ReportTask {
        task: TaskId,
        report: Box<Report>,
    },
    /// An agent did not admit the order; nothing was done.
    DeclineTask {
        task: TaskId,
        fault: Fault,
    },
    /// Past its deadline and the grace, nobody knows.
    ExpireTask {
        task: TaskId,
    },
    /// These are about to be ordered, and may have been from now on. Only for steps with `unreachable: skip`, before each order: the log
    /// then says which came first, the order or the word that its host is left out.
    RecordDispatch {
        tasks: Vec<TaskId>,
    },
    /// A majority of coordinators does not reach the host.
    SkipUnreachable {
        task: TaskId,
        evidence: String,
        /// Nothing of it is at work there, even if it was ordered: the host's lease is over for longer than the task may take.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_rest: bool,
    },
    /// The host has the raised fence on disk, and nothing older runs there.
    AcknowledgeFence {
        run: RunId,
        host: HostName,
        index: u64,
    },
    /// A person's yes to a `confirm` or `approval` step.
    ConfirmStep {
        run: RunId,
        step: StepId,
    },
    /// The steps of the run's stage `stage` may begin: their windows are open by the entry's stamp and by most coordinators' clocks.
    OpenWindow {
        run: RunId,
        stage: usize,
        /// What each coordinator that answered said the time was.
        clocks: BTreeMap<String, Moment>,
        /// Votes in the cluster.
        coordinators: u32,
    },
    /// What the coordinators saw that were asked to connect, on account of the entry at `index`.
    ReportSightings {
        run: RunId,
        step: StepId,
        index: u64,
        sightings: Vec<Sighting>,
        /// Votes in the cluster.
        coordinators: u32,
    },
    /// An operator's word: one of this run's guards holds no more, for this run.
    OverrideGuard {
        run: RunId,
        guard: String,
    },
    RetryTasks {
        run: RunId,
        target: Target,
    },
    SkipTasks {
        run: RunId,
        target: Target,
    },
    /// Go on after a halt whose cause is gone.
    ResumeRun {
        run: RunId,
    },
    AbortRun {
        run: RunId,
    },
    /// The member will not come back as it was; the role may move without it.
    DeclareLost {
        group: GroupName,
        member: MemberName,
    },
    /// Above everything seen: an old majority can never give orders again.
    RaiseGeneration {
        generation: u64,
    },
}

/// The answer to a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    Done,
    /// The state says so already; nothing changed.
    Already,
    Defined {
        revision: u64,
    },
    Started {
        run: RunId,
    },
    Refused {
        fault: Fault,
    },
}
