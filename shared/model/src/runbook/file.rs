//! How a runbook is written: the types behind its JSON Schema. Steps' actions are added by [`crate::schema`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Input;
use crate::{
    ids::RunbookName,
    plan::{Kind, OnFailure, Unreachable},
    time::Span,
};

/// A runbook file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Runbook")]
pub(crate) struct RunbookFile {
    /// The runbook's name.
    pub(crate) runbook: RunbookName,
    #[serde(default)]
    pub(crate) description: String,
    /// `forced` must be written; without it: planned where the role is transferred, else maintenance.
    #[serde(default)]
    pub(crate) kind: Option<Kind>,
    /// What the operator is asked for.
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, Input>,
    /// Defaults that the group's variables override.
    #[serde(default)]
    pub(crate) vars: BTreeMap<String, Value>,
    /// The group's maintenance window that a run must begin in.
    #[serde(default)]
    pub(crate) window: Option<String>,
    /// What each member must be to become the target. Read apart from the head.
    #[serde(default)]
    #[expect(dead_code, reason = "known to the schema; read rule by rule")]
    target: Vec<RuleFile>,
    /// What must hold of the whole request. Read apart from the head.
    #[serde(default)]
    #[expect(dead_code, reason = "known to the schema; read rule by rule")]
    require: Vec<RuleFile>,
    /// They come first and change nothing. Read apart from the head.
    #[serde(default)]
    #[expect(dead_code, reason = "known to the schema; read step by step")]
    prechecks: Vec<Value>,
    /// What is done, in order. Read apart from the head.
    #[serde(default)]
    #[expect(dead_code, reason = "known to the schema; read step by step")]
    steps: Vec<Value>,
}

/// What a step takes beside its work.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StepOptions")]
pub(crate) struct StepFile {
    /// Hosts at once; all without it.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10000))]
    pub(crate) parallel: Option<u32>,
    /// What to do where a host's agent is out of reach.
    #[serde(default)]
    pub(crate) unreachable: Option<Unreachable>,
    /// How long a task of it may take.
    #[serde(default)]
    pub(crate) timeout: Option<Span>,
    /// Attempts in all, or attempts and the delay between them.
    #[serde(default)]
    pub(crate) retry: Option<RetryFile>,
    /// What a failure does to the run.
    #[serde(default)]
    pub(crate) on_failure: Option<OnFailure>,
    /// Later steps see the result under this name.
    #[serde(default)]
    pub(crate) register: Option<String>,
    /// The group keeps the result under `facts.NAME`.
    #[serde(default)]
    pub(crate) keep: Option<String>,
    /// The group's maintenance window that this step must begin in.
    #[serde(default)]
    pub(crate) window: Option<String>,
    /// Of `coordinators.unreachable`, and beside `refuse`: under this name an operator can override it for one run.
    #[serde(default)]
    pub(crate) guard: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Retry")]
pub(crate) enum RetryFile {
    Attempts(#[schemars(range(min = 1, max = 100))] u32),
    Spaced(SpacedRetry),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpacedRetry {
    /// Attempts in all; 1 means none beyond the first.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) attempts: u32,
    #[serde(default = "delay")]
    pub(crate) delay: Span,
}

fn delay() -> Span {
    RETRY_DELAY
}

/// Between two attempts where the step does not say.
pub(crate) const RETRY_DELAY: Span = Span::from_secs(5);

/// What the planner holds a request against.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rule")]
pub(crate) struct RuleFile {
    /// An expression that must be true.
    pub(crate) expect: String,
    /// What is said where it is not; may hold ${…}.
    pub(crate) because: String,
    /// Under this name an operator can override it for one run; without it never.
    #[serde(default)]
    pub(crate) guard: Option<String>,
}

/// `role.transfer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferFile {
    /// The old primary is out of step and must rejoin before the role can move again. Without it: true where the runbook is forced.
    #[serde(default)]
    pub(crate) detach_old: Option<bool>,
    /// Why the old primary is out of step afterwards: shown until it has rejoined.
    #[serde(default)]
    pub(crate) because: Option<String>,
}

/// `role.rejoined`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejoinedFile {
    /// The member that is a good standby again.
    pub(crate) member: String,
}

/// `role.detached`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetachedFile {
    /// The member that is out of step until it has rejoined.
    pub(crate) member: String,
    /// Why: shown until then.
    pub(crate) because: String,
}

/// `automatic.rearm`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RearmFile {}

/// `coordinators.unreachable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unreached {
    /// HOST:PORT, for each host of `on` where there are any.
    #[schemars(length(min = 1))]
    pub tcp: Vec<String>,
    /// So many coordinators must have tried.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 32))]
    pub from: u32,
}

fn two() -> u32 {
    2
}
