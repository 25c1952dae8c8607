//! What an agent is told about its host's groups, and what it says of them. It keeps the assignment on its own disk, and goes by it
//! without a network too.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    group::{ComponentProbe, Lease},
    ids::{ComponentName, Epoch, GroupName, MemberName},
    outcome::Fault,
    time::{Moment, Span},
};

/// One group on one host. Resolved: nothing is left to look up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub group: GroupName,
    pub epoch: Epoch,
    /// The index of the log up to which this is true. An older one is refused.
    pub index: u64,
    /// The member that this host belongs to; none where it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    pub part: Part,
    /// Where the group has one: on every host of it, the standbys' too, since they must not act on old words either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    pub components: Vec<Watched>,
}

/// What the host is to the group now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Of the member that is primary. With a lease it serves only while that lives.
    Primary,
    /// Of a member that is primary and is about to lose the role: no lease any more, exclusive components are stopped.
    Yielding,
    /// Of another member: exclusive components must not run.
    Standby,
    /// Of no member.
    Shared,
}

impl Part {
    /// Exclusive components may run here.
    pub fn may_serve(self) -> bool {
        matches!(self, Part::Primary | Part::Shared)
    }
}

/// A component on this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    pub component: ComponentName,
    /// Or why it cannot be asked here: a template without a value.
    pub probe: Result<ComponentProbe, Fault>,
    pub every: Span,
    pub timeout: Span,
    pub checks: u32,
    pub exclusive: bool,
    /// The action that stops it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// An action by name, with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    pub action: String,
    pub params: Value,
}

/// What an agent last saw of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub group: GroupName,
    pub component: ComponentName,
    pub health: Health,
    /// By the host's clock: when this health began.
    pub since: Moment,
    /// By the host's clock: when it was asked last.
    pub at: Moment,
    /// In its own words: `active (running)`, `connection refused`.
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answers as it should.
    Healthy,
    /// It does not, as often in a row as its `checks` say, or its process died.
    Failed,
    /// It went wrong, less often than that; or it was not asked yet, or cannot be.
    Unknown,
    /// It does not run, and must not: it is exclusive and the role is elsewhere.
    Stopped,
    /// It runs although it must not; it is being stopped.
    Intruding,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Failed => "failed",
            Health::Unknown => "unknown",
            Health::Stopped => "stopped",
            Health::Intruding => "runs where the role is not",
        }
    }
}

/// Where a host stands with a group, at the moment of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    pub group: GroupName,
    pub epoch: Epoch,
    /// Of the assignment that it goes by.
    pub index: u64,
    /// What is left of its lease; zero where it holds none.
    pub lease_left: Span,
    /// Under this assignment exclusive components may not run, and all of them were seen stopped since it came.
    pub quiet: bool,
}

/// Something that an agent did on its own account: it must be heard of, whenever that is possible again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Rises with each deed of this host, and is never used again.
    pub number: u64,
    pub group: GroupName,
    pub component: Option<ComponentName>,
    /// By the host's clock.
    pub at: Moment,
    /// A sentence: "stopped daemon: it ran on dm2, which is not primary".
    pub what: String,
    /// It could not be done: somebody must look.
    pub failed: bool,
}
