//! A runbook: the written procedure, decoded and valid in itself. Not yet bound to a group: that is the planner's.
//!
//! Templates stay strings here; [`crate::expression::render`] resolves them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    digest::Digest,
    ids::{HostRole, RunbookName},
    plan::{Kind, OnFailure, Retry, Unreachable},
    time::Span,
};

mod file;
mod input;

pub use file::Unreached;
pub(crate) use file::{
    DetachedFile, RETRY_DELAY, RearmFile, RejoinedFile, RetryFile, RuleFile, RunbookFile, StepFile, TransferFile,
};
pub use input::{Input, InputType};

/// A runbook file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    pub name: RunbookName,
    pub description: String,
    pub kind: Kind,
    pub inputs: BTreeMap<String, Input>,
    /// Defaults that the group's variables override. Values, never templates.
    pub vars: BTreeMap<String, Value>,
    /// The group's maintenance window that the whole run must begin in.
    pub window: Option<String>,
    /// What each member must be to become the target: `candidate` is the member that is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<Rule>,
    /// What must hold of the whole request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Rule>,
    /// They come first and change nothing.
    pub prechecks: Vec<Block>,
    pub steps: Vec<Block>,
    /// Of the source text.
    pub digest: Digest,
}

impl Runbook {
    /// Every step, prechecks first, in the order they are written.
    pub fn all_steps(&self) -> impl Iterator<Item = &StepDefinition> {
        self.prechecks.iter().chain(&self.steps).flat_map(Block::steps)
    }

    /// Guards of this runbook's own, which can be overridden for one run.
    pub fn guards(&self) -> BTreeSet<&str> {
        let rules = self.target.iter().chain(&self.require).filter_map(|rule| rule.guard.as_deref());
        rules.chain(self.all_steps().filter_map(|step| step.guard.as_deref())).collect()
    }

    /// The actions of every step and of what undoes it.
    pub fn all_actions(&self) -> impl Iterator<Item = (&StepDefinition, &ActionDefinition)> {
        self.all_steps().flat_map(|step| {
            let own = match &step.work {
                WorkDefinition::Action(action) => Some(action),
                _ => None,
            };
            own.into_iter().chain(&step.undo).map(move |action| (step, action))
        })
    }

    /// It has a `role.transfer` step, so it needs a target.
    pub fn transfers(&self) -> bool {
        self.all_steps().any(|step| matches!(step.work, WorkDefinition::Transfer { .. }))
    }

    /// Before its `role.transfer` it says, always, that its target has rejoined: a detached member may be that target.
    pub fn rejoins_target(&self) -> bool {
        let before = self.all_steps().take_while(|step| !matches!(step.work, WorkDefinition::Transfer { .. }));
        let rejoins = |work: &WorkDefinition| matches!(work, WorkDefinition::Rejoined { member } if member.replace(' ', "") == "${new.name}");
        before.filter(|step| step.when.is_none()).any(|step| rejoins(&step.work))
    }
}

/// Guards that every runbook has.
pub const GUARDS: [&str; 3] = ["window", "detached", "lease"];

/// What the planner holds a request against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// An expression, without `${}`.
    pub expect: String,
    /// What is said where it does not hold. May hold templates.
    pub because: String,
    /// Under this name it can be overridden for one run; without it never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// Where it stands in its file.
    pub line: u32,
}

/// One step, or several that run together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a runbook has tens of them, nearly all of the large kind")]
pub enum Block {
    One(StepDefinition),
    Together(Vec<StepDefinition>),
}

impl Block {
    pub fn steps(&self) -> &[StepDefinition] {
        match self {
            Block::One(step) => std::slice::from_ref(step),
            Block::Together(steps) => steps,
        }
    }
}

/// A step as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDefinition {
    /// As written (may hold templates), or made from the work: `service.stop POM`.
    pub name: String,
    /// The hosts; empty where the coordinator or a person does the work.
    pub on: Vec<Selector>,
    pub work: WorkDefinition,
    /// An expression, without `${}`.
    pub when: Option<String>,
    /// A list, or a string that is exactly one `${…}` and gives one; each turn sees its `item`.
    pub for_each: Option<Value>,
    /// Hosts at once; all without it.
    pub parallel: Option<u32>,
    pub unreachable: Unreachable,
    /// Of each task; the action's own without it.
    pub timeout: Option<Span>,
    pub retry: Retry,
    /// In the order they are written: what `abort` does about this step.
    pub undo: Vec<ActionDefinition>,
    pub on_failure: OnFailure,
    pub register: Option<String>,
    pub keep: Option<String>,
    pub window: Option<String>,
    /// Of a precheck: the start is refused where it does not hold, with this sentence for what to do. May hold templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<String>,
    /// Under this name the step can be overridden for one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// Where it stands in its file.
    pub line: u32,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkDefinition {
    Action(ActionDefinition),
    /// The point of no return. Without `detach_old`: as the runbook's kind says (forced detaches).
    Transfer {
        detach_old: Option<bool>,
        /// Why the old primary is out of step afterwards. May hold templates.
        because: Option<String>,
    },
    /// The member is a good standby again; a name or a template that gives one.
    Rejoined {
        member: String,
    },
    /// The member is out of step; a name or a template that gives one, and why.
    Detached {
        member: String,
        because: String,
    },
    /// The group may fail over by itself again.
    Rearm,
    /// [`Unreached`], templates unresolved: the coordinators try to connect, and none may succeed.
    Unreachable {
        params: Value,
    },
    /// Stops for a person. May hold templates.
    Confirm(String),
    /// Stops for a second person. May hold templates.
    Approval(String),
}

/// An action and its parameters, templates unresolved. `connection` of the `sql` actions may be the name of a group's connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionDefinition {
    /// One of [`crate::action::catalogue`].
    pub name: String,
    pub params: Value,
}

/// Which hosts a step means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// `ROLE`: the shared role's hosts or every member's hosts of that role ([`crate::group::Group::hosts_with_role`]).
    Role(HostRole),
    /// `old.ROLE`: of the primary when the run starts.
    Old(HostRole),
    /// `new.ROLE`: of the target.
    New(HostRole),
    /// `others.ROLE`: of every member that is neither.
    Others(HostRole),
    /// `host:NAME`; the name may be a template.
    Host(String),
}

impl FromStr for Selector {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(host) = text.strip_prefix("host:") {
            let host = host.trim();
            if host.is_empty() {
                return Err("host: is followed by a host's name".to_owned());
            }
            if !host.contains("${") {
                crate::ids::HostName::new(host).map_err(|error| error.to_string())?;
            }
            return Ok(Self::Host(host.to_owned()));
        }
        let role = |name: &str| match name.contains('.') {
            true => Err(format!("{text:?} names no hosts: ROLE, old.ROLE, new.ROLE, others.ROLE or host:NAME")),
            false => HostRole::new(name).map_err(|error| error.to_string()),
        };
        match text.split_once('.') {
            Some(("old", name)) => role(name).map(Self::Old),
            Some(("new", name)) => role(name).map(Self::New),
            Some(("others", name)) => role(name).map(Self::Others),
            _ => role(text).map(Self::Role),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Role(role) => role.to_string(),
            Self::Old(role) => format!("old.{role}"),
            Self::New(role) => format!("new.{role}"),
            Self::Others(role) => format!("others.{role}"),
            Self::Host(host) => format!("host:{host}"),
        })
    }
}

impl TryFrom<String> for Selector {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}
