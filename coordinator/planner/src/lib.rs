//! The planner: (group, runbook, inputs) → plan. Pure.
//!
//! It decides everything that can be decided before the run, and explains every refusal: which check, the value seen, the
//! remedy. What it may never do: ask a host, read a clock, or leave a choice to the agents.

pub mod request;
pub mod rule;
pub mod target;
pub mod scope;
pub mod assign;
pub mod bind;
pub mod consequence;
pub mod sample;

use baton_model::{action::loses_data, group::Group, outcome::Fault, plan::Plan, runbook::Runbook};

pub use request::{Request, Situation};

/// Binds a runbook to a group as it is now.
pub fn plan(group: &Group, runbook: &Runbook, situation: &Situation, request: &Request) -> Result<Plan, Fault> {
    let inputs = request::inputs(runbook, &request.inputs)?;
    request::overrides(runbook, request)?;
    bind::forced_only(runbook)?;
    request::window(group, runbook, request)?;
    let new = target::choose(group, runbook, situation, request, &inputs)?;
    let mut scope = scope::scope(group, runbook, situation, new.as_ref(), &inputs);
    scope.insert("accepted_data_loss".to_owned(), request.accepted_data_loss.into());
    rule::required(runbook, request, &scope)?;
    let stages = bind::stages(group, runbook, situation, new.as_ref(), &scope, request.now)?;
    let mut plan = Plan {
        group: group.name.clone(),
        runbook: request.runbook.clone(),
        kind: runbook.kind,
        description: runbook.description.clone(),
        reason: request.reason.clone(),
        old: situation.primary.clone(),
        new,
        epoch: situation.epoch,
        group_revision: situation.revision,
        runbook_digest: runbook.digest.clone(),
        inputs,
        overrides: request.overrides.clone(),
        loses_data: false,
        scope,
        stages,
    };
    let loses = plan.tasks().any(|task| loses_data(&task.action));
    plan.loses_data = loses;
    Ok(plan)
}
