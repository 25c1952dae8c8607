//! What a group remembers of failing over without a person, and what its hosts did on their own account.
//!
//! Apart because it outlives runs: that a group is limited must survive every restart of everything.

use std::collections::{BTreeMap, VecDeque};

use baton_model::{
    assignment::Deed,
    author::Author,
    ids::{HostName, RunId},
    time::Moment,
};
use serde::{Deserialize, Serialize};

/// Judgements kept per group.
pub const JUDGED_MAX: usize = 20;
/// Alerts kept per group; the record of all of them is the log's.
pub const ALERTS_MAX: usize = 50;
/// Bytes of a judgement or an alert.
pub const WORDS_BYTES_MAX: usize = 1100;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AutomaticState {
    /// By whom and why; nothing starts by itself meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Author>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
    /// When a run that started by itself began to act the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired: Option<Moment>,
    /// What a policy that only observes would have done, and what was called off.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub judged: VecDeque<Judged>,
}

impl AutomaticState {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
    /// The oldest makes room.
    pub fn judge(&mut self, at: Moment, what: String) {
        if self.judged.len() == JUDGED_MAX {
            self.judged.pop_front();
        }
        self.judged.push_back(Judged { at, what });
    }
}

/// After a run that started by itself had begun to act: no further one, and synchronisation counts as off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    pub by: RunId,
    pub since: Moment,
    /// What had failed.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub at: Moment,
    pub what: String,
}

/// A host did something on its own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub host: HostName,
    pub deed: Deed,
    /// When the log heard of it.
    pub recorded: Moment,
}

/// What hosts did, and up to which number each was heard.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Alerts {
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub latest: VecDeque<Alert>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub heard: BTreeMap<HostName, u64>,
}

impl Alerts {
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty() && self.heard.is_empty()
    }
}
