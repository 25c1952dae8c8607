//! Programs: an argument vector, never a shell string.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Text;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program's absolute path, then its arguments.
    pub argv: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, Text>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub directory: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The program's absolute path, then its arguments.
    pub argv: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, Text>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub directory: Option<String>,
    /// Text for its standard input.
    #[serde(default)]
    pub stdin: Option<Text>,
    /// Exit codes that mean success; 0 without it.
    #[serde(default)]
    pub exit_codes: Vec<i32>,
    /// A path: where it exists, the effect has happened.
    #[serde(default)]
    pub creates: Option<String>,
    /// A program: where it exits 0, the effect has happened.
    #[serde(default)]
    pub unless: Option<Command>,
    /// The author of the runbook says that running it twice does no harm.
    #[serde(default)]
    pub repeatable: bool,
}

impl Run {
    pub fn command(&self) -> Command {
        Command {
            argv: self.argv.clone(),
            environment: self.environment.clone(),
            user: self.user.clone(),
            directory: self.directory.clone(),
        }
    }
}
