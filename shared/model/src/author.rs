//! Who, when and why: each change of state carries it (DESIGN.md section 3, rule 12).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ids::HostName, time::Moment};

/// Who asked. Taken from a verified certificate, or Baton itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Actor {
    Operator(String),
    Agent(HostName),
    /// The leading coordinator on its own account: an outcome that time or reachability decided.
    Coordinator(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Operator(name) => f.pad(name),
            Actor::Agent(host) => f.pad(&format!("agent {host}")),
            Actor::Coordinator(name) => f.pad(&format!("coordinator {name}")),
        }
    }
}

/// The author of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    pub who: Actor,
    pub when: Moment,
    /// Empty where the change is its own reason (an agent's report).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
