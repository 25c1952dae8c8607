//! Probes with a deadline. They change nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

use super::exec::Command;

/// A question about the state of something, asked by an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    Tcp(TcpProbe),
    Http(HttpProbe),
    Command(Command),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpProbe {
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// `http://host:port/path`.
    pub url: String,
    #[serde(default = "ok")]
    pub status: u16,
    /// Text that the body must contain.
    #[serde(default)]
    pub body_contains: Option<String>,
}

fn ok() -> u16 {
    200
}

fn every() -> Span {
    Span(500)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    pub host: String,
    pub port: u16,
    /// Wait until the port refuses instead.
    #[serde(default)]
    pub closed: bool,
    #[serde(default = "every")]
    pub every: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub url: String,
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub body_contains: Option<String>,
    #[serde(default = "every")]
    pub every: Span,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Until {
    pub argv: Vec<String>,
    #[serde(default = "every")]
    pub every: Span,
}
