//! When a group fails over without a person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{ComponentName, MemberName, RunbookName},
    time::Span,
};

/// Whether, when and how a group fails over by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AutomaticFile", into = "AutomaticFile")]
#[schemars(with = "AutomaticFile")]
pub enum Automatic {
    /// The product's procedure allows only failover by hand; says why.
    ManualOnly(String),
    Policy(Policy),
}

/// A policy that can fire.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub mode: Mode,
    pub condition: Condition,
    /// How long the condition must hold.
    pub holds_for: Span,
    pub runbook: RunbookName,
    /// The member to fail over to; without it the group has exactly two and the other one is meant.
    pub to: Option<MemberName>,
    /// Failures do not count for so long after a run of the group has ended, or after a leader took over.
    pub grace: Span,
    /// Between two runs that it starts.
    pub cooldown: Span,
}

/// Holds when one of `any` has failed on a host of the primary, or all of a not empty `all` have, on all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub any: Vec<ComponentName>,
    pub all: Vec<ComponentName>,
}

impl Condition {
    /// `somewhere`: it has failed on at least one host; `everywhere`: on every host that has it.
    pub fn holds(
        &self,
        somewhere: impl Fn(&ComponentName) -> bool,
        everywhere: impl Fn(&ComponentName) -> bool,
    ) -> bool {
        self.any.iter().any(somewhere) || (!self.all.is_empty() && self.all.iter().all(everywhere))
    }

    /// Every component that counts.
    pub fn components(&self) -> impl Iterator<Item = &ComponentName> {
        self.any.iter().chain(&self.all)
    }
}

/// What a policy does when its condition holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Off,
    /// Says what it would do.
    #[default]
    Observe,
    On,
}

/// How `automatic` is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Automatic")]
pub struct AutomaticFile {
    /// Only failover by hand is allowed; the reason, shown to whoever asks for more. Stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual_only: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// One of these components has failed on a host of the primary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<ComponentName>,
    /// All of these components have failed, on every host of the primary that has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<ComponentName>,
    /// How long the condition must hold.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub holds_for: Option<Span>,
    /// The group's name of the runbook to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<RunbookName>,
    /// The member to fail over to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<MemberName>,
    /// Failures do not count for so long after a run of the group has ended, or after a leader took over: 30s without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// Between two runs that it starts: 10m without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Span>,
}

/// Without a `for`: long enough for one lost probe not to count.
const HOLDS_FOR: Span = Span::from_secs(30);
/// Services take a while to be up.
const GRACE: Span = Span::from_secs(30);
/// A fault that comes and goes must not wear anything out.
const COOLDOWN: Span = Span::from_secs(600);

impl TryFrom<AutomaticFile> for Automatic {
    type Error = String;
    fn try_from(file: AutomaticFile) -> Result<Self, String> {
        let has_policy = file.mode.is_some() || file.runbook.is_some() || !file.any.is_empty() || !file.all.is_empty();
        if let Some(reason) = file.manual_only {
            return if has_policy { Err("manual_only stands alone".to_owned()) } else { Ok(Self::ManualOnly(reason)) };
        }
        if file.any.is_empty() && file.all.is_empty() {
            return Err("automatic needs any or all: the components whose failure counts".to_owned());
        }
        Ok(Self::Policy(Policy {
            mode: file.mode.unwrap_or_default(),
            condition: Condition { any: file.any, all: file.all },
            holds_for: file.holds_for.unwrap_or(HOLDS_FOR),
            runbook: file.runbook.ok_or("automatic needs runbook: what to run")?,
            to: file.to,
            grace: file.grace.unwrap_or(GRACE),
            cooldown: file.cooldown.unwrap_or(COOLDOWN),
        }))
    }
}

impl From<Automatic> for AutomaticFile {
    fn from(automatic: Automatic) -> Self {
        match automatic {
            Automatic::ManualOnly(reason) => Self { manual_only: Some(reason), ..Self::default() },
            Automatic::Policy(policy) => Self {
                manual_only: None,
                mode: Some(policy.mode),
                any: policy.condition.any,
                all: policy.condition.all,
                holds_for: Some(policy.holds_for),
                runbook: Some(policy.runbook),
                to: policy.to,
                grace: Some(policy.grace),
                cooldown: Some(policy.cooldown),
            },
        }
    }
}
