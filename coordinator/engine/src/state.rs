//! The replicated state: who is primary, and every run. Ordered maps throughout, so that every node holds the same bytes.

use std::collections::{BTreeMap, VecDeque};

use baton_model::{
    bill::Samples,
    digest::Digest,
    ids::{Epoch, GroupName, MemberName, RunId},
    time::Moment,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::{Answer, Definition, LeaseRule};

pub mod automatic;
pub mod run;

pub use automatic::{Alert, Alerts, AutomaticState, Limited};
pub use run::{Happening, Phase, Run, StepState, TaskState, TaskStatus};

/// Answers remembered for requests that may be asked again.
pub const REQUESTS_MAX: usize = 512;
/// Ended runs kept per group; older ones leave the state.
pub const ENDED_RUNS_MAX: usize = 30;
/// What one step's hosts found together, as JSON, at most: `register` and `keep` copy it.
pub const FOUND_BYTES_MAX: usize = 256 * 1024;
/// Facts kept per group.
pub const FACTS_MAX: usize = 32;
/// Why a member is detached, in bytes.
pub const BECAUSE_BYTES_MAX: usize = 1024;
/// Names of removed groups remembered.
pub const REMOVED_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Index of the last entry applied.
    pub index: u64,
    pub generation: u64,
    /// The latest stamp of any entry. Proposers stamp no earlier, so that time does not go back with the leader.
    #[serde(default)]
    pub latest: Moment,
    pub groups: BTreeMap<GroupName, Group>,
    /// A group that is defined again goes on counting: agents refuse runs and epochs that they have seen the end of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<GroupName, Removed>,
    pub runs: BTreeMap<RunId, Run>,
    pub requests: VecDeque<(String, Answer)>,
    pub audit: AuditHead,
}

/// The audit trail's head: each entry's hash covers the one before, so a changed past shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    pub entries: u64,
    pub digest: Digest,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self { entries: 0, digest: Digest::of_bytes(b"") }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub definition: Definition,
    /// Rises with every change of definition, role, standing or fact: what a plan was made from.
    pub revision: u64,
    pub epoch: Epoch,
    pub primary: MemberName,
    pub primary_since: Moment,
    /// Members that are not good standbys. A good one is not listed.
    pub standings: BTreeMap<MemberName, Standing>,
    /// What steps with `keep` found, by name: outlives the run.
    pub facts: BTreeMap<String, Value>,
    /// What hosts said of themselves while they lived: by sample, by host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: Samples,
    pub open_run: Option<RunId>,
    pub last_run: u64,
    #[serde(default, skip_serializing_if = "AutomaticState::is_default")]
    pub automatic: AutomaticState,
    #[serde(default, skip_serializing_if = "Alerts::is_empty")]
    pub alerts: Alerts,
    /// Leases of earlier files of this epoch: what was promised under them may still be relied on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_before: Option<LeaseRule>,
}

/// What is left of a removed group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub epoch: Epoch,
    pub revision: u64,
    pub last_run: u64,
}

/// Why a member is not a good standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// Was primary; the role moved away without it. It must rejoin before the role moves again.
    Detached {
        by: RunId,
        since: Moment,
        /// In the words of the run's step; empty where it had none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        because: String,
    },
    /// An operator says that it will not come back as it was.
    Lost { since: Moment, why: String },
}

impl State {
    /// The open run of a group.
    pub fn open_run(&self, group: &GroupName) -> Option<&Run> {
        self.groups.get(group)?.open_run.as_ref().and_then(|run| self.runs.get(run))
    }

    /// Runs numbered below this are over: their orders are refused even where the journal was pruned.
    pub fn floor(&self, group: &GroupName) -> u64 {
        self.groups.get(group).map_or(0, |group| group.open_run.as_ref().map_or(group.last_run + 1, |open| open.number))
    }

    pub fn answer_of(&self, request: &str) -> Option<&Answer> {
        self.requests.iter().find(|(id, _)| id == request).map(|(_, answer)| answer)
    }
}
