//! What of a group can be probed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    action::{
        exec::Command,
        service::Manager,
        wait::{HttpProbe, TcpProbe},
    },
    ids::HostRole,
    time::Span,
};

/// Something that runs or does not, on the hosts of one role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The host role whose agents ask.
    pub on: HostRole,
    pub probe: ComponentProbe,
    /// Must not run on a member that is not primary: the agent there stops it.
    #[serde(default)]
    pub exclusive: bool,
    /// How often it is asked.
    #[serde(default = "every")]
    pub every: Span,
}

fn every() -> Span {
    Span::from_secs(5)
}

/// The question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a group has a handful of them")]
pub enum ComponentProbe {
    Service(ServiceProbe),
    Tcp(TcpProbe),
    Http(HttpProbe),
    /// Healthy while it exits 0.
    Command(Command),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceProbe {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
}
