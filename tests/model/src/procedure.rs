//! The group of two members, each a host, and its one runbook that moves the role: what both models run.
//!
//! Apart so that neither model leans on the other. It must never know what can go wrong.

use std::collections::BTreeMap;

use baton_engine::{
    command::{Definition, LeaseRule, Source},
    state::State,
};
use baton_model::{
    ids::{GroupName, HostName, MemberName, RunbookName, StepId},
    plan::{Condition, Kind, OnFailure, Plan, Retry, Stage, Step, Unreachable, Work},
    time::{Moment, Span},
};

/// Everything happens at this moment, but that nobody was heard.
pub const NOW: Moment = Moment(1_000_000_000);

pub fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid name")
}

pub fn group_name() -> GroupName {
    name("g")
}

pub fn host_name(number: usize) -> HostName {
    name(["h1", "h2"][number])
}

/// The member of each host; the first is primary first.
pub fn member(host: usize) -> MemberName {
    name(["a", "b"][host])
}

pub fn definition(lease: Option<LeaseRule>) -> Definition {
    Definition {
        members: [member(0), member(1)].into(),
        first_primary: member(0),
        hosts: [host_name(0), host_name(1)].into(),
        source: Source { path: "g.yaml".to_owned(), text: "group: g".to_owned() },
        runbooks: BTreeMap::from([(name::<RunbookName>("move"), runbook())]),
        automatic: None,
        lease,
    }
}

fn runbook() -> Source {
    Source { path: "move.yaml".to_owned(), text: "runbook: move".to_owned() }
}

pub fn step(id: &str, work: Work) -> Step {
    Step {
        id: StepId(id.to_owned()),
        name: id.to_owned(),
        work,
        condition: Condition::Always,
        timeout: Span::from_secs(60),
        retry: Retry { attempts: 1, delay: Span(0) },
        on_failure: OnFailure::Halt,
        unreachable: Unreachable::Fail,
        parallel: None,
        register: None,
        keep: None,
        item: None,
        window: None,
        refusal: None,
        undo: Vec::new(),
    }
}

/// To the other member, one step a stage. `steps`: of the primary's host and the other's.
pub fn plan(state: &State, kind: Kind, steps: impl FnOnce(usize, usize) -> Vec<Step>) -> Plan {
    let group = &state.groups[&group_name()];
    let (old, new) = if group.primary == member(0) { (0, 1) } else { (1, 0) };
    Plan {
        group: group_name(),
        runbook: name("move"),
        kind,
        description: String::new(),
        reason: String::new(),
        old: group.primary.clone(),
        new: Some(member(new)),
        epoch: group.epoch,
        group_revision: group.revision,
        runbook_digest: runbook().digest(),
        inputs: BTreeMap::new(),
        overrides: BTreeMap::new(),
        loses_data: false,
        scope: BTreeMap::new(),
        stages: steps(old, new).into_iter().map(|step| Stage { precheck: false, steps: vec![step] }).collect(),
    }
}
