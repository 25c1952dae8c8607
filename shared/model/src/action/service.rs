//! Services: systemd units, SysV scripts, or a product's own start, stop and status commands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

use super::{exec::Command, wait::Probe};

/// Which service manager the name means. Without it: systemd where the host runs it, else SysV.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "a step has one of them")]
pub enum Manager {
    #[default]
    Auto,
    Systemd,
    Sysv,
    /// The product's own commands. `status` exits 0 while it runs and 3 when stopped, as the Linux Standard Base says.
    Commands {
        start: Command,
        stop: Command,
        status: Command,
    },
}

/// When a started service counts as ready: what is given must all be so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    #[serde(default)]
    pub probe: Option<Probe>,
    /// Services of the same manager that must run too: those that a product's one service brings up.
    #[serde(default)]
    pub services: Vec<String>,
    #[serde(default = "ready_within")]
    pub within: Span,
}

fn ready_within() -> Span {
    Span::from_secs(300)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
    #[serde(default)]
    pub ready: Option<Ready>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
    #[serde(default)]
    pub ready: Option<Ready>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Running {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
    #[serde(default)]
    pub ready: Option<Ready>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stopped {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
}
