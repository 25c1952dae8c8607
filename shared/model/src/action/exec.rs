//! Programs: an argument vector, never a shell string.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// A cmdlet with its parameters as data; no text of a caller becomes part of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cmdlet {
    /// `Set-CsPersistentChatState`.
    pub cmdlet: String,
    /// Text, numbers, booleans (switches), null, lists and maps (hashtables).
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Powershell {
    /// The shell's absolute path: `powershell.exe` of Windows, or `pwsh`.
    pub shell: String,
    /// Modules to import first.
    #[serde(default)]
    pub modules: Vec<String>,
    pub run: Cmdlet,
    /// Asks for the state that `run` brings about. Without it the task cannot be observed.
    #[serde(default)]
    pub get: Option<Cmdlet>,
    /// A CEL expression over `result` (what `get` gave: an object, a list or null) that is true where the desired state holds.
    #[serde(default)]
    pub expect: Option<String>,
    /// The author of the runbook says that running it twice does no harm.
    #[serde(default)]
    pub repeatable: bool,
}
