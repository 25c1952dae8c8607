//! Processes, found by executable, arguments and user; never by a pid that may have been given to another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

/// Which processes are meant. All given conditions must hold; at least one must be given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// The executable's path, or its file name alone (`slon`).
    #[serde(default)]
    pub program: Option<String>,
    /// Text that must occur in the arguments, joined by spaces.
    #[serde(default)]
    pub arguments_contain: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The executable's path, or its file name alone (`slon`).
    #[serde(default)]
    pub program: Option<String>,
    /// Text that must occur in the arguments, joined by spaces.
    #[serde(default)]
    pub arguments_contain: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    /// Watchdogs that restart the processes: found and ended first.
    #[serde(default)]
    pub watchdogs: Vec<Selector>,
    /// From TERM to KILL.
    #[serde(default = "grace")]
    pub grace: Span,
    /// How long the processes must stay away before the task believes that nothing brings them back.
    #[serde(default = "settle")]
    pub settle: Span,
}

fn grace() -> Span {
    Span::from_secs(10)
}

fn settle() -> Span {
    Span::from_secs(1)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// The executable's path, or its file name alone (`slon`).
    #[serde(default)]
    pub program: Option<String>,
    /// Text that must occur in the arguments, joined by spaces.
    #[serde(default)]
    pub arguments_contain: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    /// `false`: fails unless none runs.
    #[serde(default = "yes")]
    pub running: bool,
}

fn yes() -> bool {
    true
}

impl Stop {
    pub fn selector(&self) -> Selector {
        Selector {
            program: self.program.clone(),
            arguments_contain: self.arguments_contain.clone(),
            user: self.user.clone(),
        }
    }
}

impl Running {
    pub fn selector(&self) -> Selector {
        Selector {
            program: self.program.clone(),
            arguments_contain: self.arguments_contain.clone(),
            user: self.user.clone(),
        }
    }
}
