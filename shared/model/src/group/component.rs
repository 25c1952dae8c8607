//! What of a group can be probed, and what must not run where the role is not.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    action::{
        exec::Command,
        process::Selector,
        service::Manager,
        sql::Query,
        wait::{HttpProbe, TcpProbe},
    },
    ids::HostRole,
    time::Span,
};

/// Components of one group, at most: what agents are told of it stays one small message.
pub const COMPONENTS_MAX: usize = 64;

/// Something that runs or does not, on the hosts of one role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The host role whose agents ask.
    pub on: HostRole,
    /// A [`ComponentProbe`], strings templated over `group`, `host` and `vars`.
    #[schemars(with = "ComponentProbe")]
    pub probe: Value,
    /// Must not run on a member that is not primary: the agent there stops it. Where the group has a lease, it is what stops when the lease ends.
    #[serde(default)]
    pub exclusive: bool,
    /// How often it is asked: 100ms to 1h.
    #[serde(default = "every")]
    pub every: Span,
    /// How long one answer may take.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Questions in a row that must go wrong before it counts as failed.
    #[serde(default = "checks")]
    #[schemars(range(min = 1, max = 100))]
    pub checks: u32,
    /// What stops it, where that is not the probe's own service or process: service.stop, process.stop or exec.run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub stop: Option<BTreeMap<String, Value>>,
}

fn every() -> Span {
    Span::from_secs(5)
}

fn timeout() -> Span {
    Span::from_secs(5)
}

fn checks() -> u32 {
    3
}

/// Agents wait up to this part longer than `every`, so that not all components are asked at one moment.
const JITTER_PART: u64 = 10;

/// How much longer than `every` the pause between two questions may be.
pub fn jitter(every: Span) -> u64 {
    every.0 / JITTER_PART
}

impl Component {
    /// Between two questions, at the most.
    pub fn longest_pause(&self) -> Span {
        Span(self.every.0 + jitter(self.every))
    }

    /// The action that stops it, templates unresolved: its own `stop`, or the opposite of its probe.
    pub fn stop_action(&self) -> Option<(String, Value)> {
        if let Some(stop) = &self.stop {
            return stop.iter().next().map(|(name, params)| (name.clone(), params.clone()));
        }
        let (kind, params) = self.probe.as_object()?.iter().next()?;
        match kind.as_str() {
            "service" => Some(("service.stop".to_owned(), params.clone())),
            "process" => {
                let mut params = params.clone();
                if let Some(fields) = params.as_object_mut() {
                    fields.insert("grace".to_owned(), json!("2s"));
                    fields.insert("settle".to_owned(), json!("0s"));
                }
                Some(("process.stop".to_owned(), params))
            }
            _ => None,
        }
    }
}

/// The question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComponentProbe {
    /// Healthy while its manager says that it runs.
    Service(ServiceProbe),
    /// Healthy while such a process lives; its death is noticed at once.
    Process(Selector),
    Tcp(TcpProbe),
    Http(HttpProbe),
    /// Healthy while it exits 0.
    Command(Command),
    /// Healthy while it is answered as expected.
    Sql(Query),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceProbe {
    pub name: String,
    #[serde(default)]
    pub manager: Manager,
}
