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
    /// `http://host:port/path`, or `https`.
    pub url: String,
    #[serde(default = "ok")]
    pub status: u16,
    /// Text that the body must contain.
    #[serde(default)]
    pub body_contains: Option<String>,
    /// With https: the authority's certificates, a PEM file on the host; the system's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// With https: `false` takes whatever certificate the server shows.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub verify: bool,
}

fn ok() -> u16 {
    200
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
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
    /// `http://host:port/path`, or `https`.
    pub url: String,
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub body_contains: Option<String>,
    /// With https: the authority's certificates, a PEM file on the host; the system's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// With https: `false` takes whatever certificate the server shows.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub verify: bool,
    #[serde(default = "every")]
    pub every: Span,
}

impl Http {
    /// What is asked each time.
    pub fn probe(&self) -> HttpProbe {
        HttpProbe {
            url: self.url.clone(),
            status: self.status,
            body_contains: self.body_contains.clone(),
            ca_file: self.ca_file.clone(),
            verify: self.verify,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Until {
    pub argv: Vec<String>,
    #[serde(default = "every")]
    pub every: Span,
}
