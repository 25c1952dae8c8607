//! What a group's hosts are asked again and again, so that it is known when they can no longer be asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ids::HostRole, time::Span};

/// Hosts that the samples of one group ask, each sample counted for itself: replicated state stays small.
pub const SAMPLED_MAX: usize = 64;
/// What one host's sample may say, as JSON.
pub const SAMPLE_BYTES_MAX: usize = 16 * 1024;

/// A question to the hosts of one role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The host role whose agents are asked.
    pub on: HostRole,
    /// How often: 1s to 1h.
    #[serde(default = "every")]
    pub every: Span,
    /// One action that changes nothing, with its parameters.
    pub action: BTreeMap<String, Value>,
}

fn every() -> Span {
    Span::from_secs(10)
}

impl Sample {
    /// The action and its parameters as written, strings templated over `group`, `host` and `vars`.
    pub fn question(&self) -> Option<(&str, &Value)> {
        self.action.iter().next().map(|(name, params)| (name.as_str(), params))
    }

    /// An answer older than this says that something is amiss.
    pub fn stale_after(&self) -> Span {
        Span(self.every.0.saturating_mul(3))
    }
}
