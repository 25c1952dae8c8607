//! Hosts are asked what a plan would find there now, before there is a run: all of it for a dry run, and for a start the prechecks that
//! refuse one.
//!
//! Apart from the run's own prechecks, which look again: what was so a moment ago may have changed. It must never change anything on
//! a host, and never let a run begin because a host did not answer.

use std::time::Duration;

use baton_model::{
    ids::{HostName, StepId},
    outcome::{Fault, Observation},
    plan::{Condition, Plan, Refusal, Step, Task, Unreachable, Work},
    view::ObservedTask,
};
use futures::{StreamExt as _, stream};

use crate::sessions::Sessions;

/// How long one host is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Hosts asked at once.
const ASKED_AT_ONCE: usize = 64;
/// Hosts that a refusal names; the others are counted.
const NAMED_MAX: usize = 8;

/// Everything that the plan would do.
pub async fn at_all(sessions: &Sessions, plan: &Plan) -> Vec<ObservedTask> {
    ask(sessions, plan.steps()).await
}

/// What must hold before there is a run. `Err`: the start is refused.
pub async fn at_start(sessions: &Sessions, plan: &Plan) -> Result<(), Fault> {
    let asked: Vec<&Step> = refusing(plan).map(|(step, _)| step).collect();
    let found = ask(sessions, asked).await;
    refusal(plan, &found).map_or(Ok(()), Err)
}

async fn ask<'a>(sessions: &Sessions, steps: impl IntoIterator<Item = &'a Step>) -> Vec<ObservedTask> {
    let asked: Vec<(StepId, Task)> = steps
        .into_iter()
        .flat_map(|step| tasks(step).iter().map(|task| (step.id.clone(), task.clone())).collect::<Vec<_>>())
        .collect();
    stream::iter(asked)
        .map(|(step, task)| async move {
            let answer = if task.deferred {
                Err(Fault::new("BTN-0146", "its values depend on what earlier steps find.", ""))
            } else {
                sessions.observe(&task.host, &task.action, &task.params, PATIENCE).await
            };
            let (observation, fault) = match answer {
                Ok(observation) => (Some(observation), None),
                Err(fault) => (None, Some(fault)),
            };
            ObservedTask { step, host: task.host, observation, fault }
        })
        .buffered(ASKED_AT_ONCE)
        .collect()
        .await
}

fn tasks(step: &Step) -> &[Task] {
    match &step.work {
        Work::Act { tasks } => tasks,
        _ => &[],
    }
}

/// The steps that refuse a start, unless an operator has overridden them for this run.
fn refusing(plan: &Plan) -> impl Iterator<Item = (&Step, &Refusal)> {
    let heeded = |refusal: &Refusal| refusal.guard.as_ref().is_none_or(|guard| !plan.overrides.contains_key(guard));
    plan.steps()
        .filter(|step| !matches!(step.condition, Condition::Never(_)))
        .filter_map(|step| Some((step, step.refusal.as_ref()?)))
        .filter(move |(_, refusal)| heeded(refusal))
}

/// The first precheck that does not certainly hold, with what each host said.
pub fn refusal(plan: &Plan, found: &[ObservedTask]) -> Option<Fault> {
    refusing(plan).find_map(|(step, refusal)| {
        let seen: Vec<String> = tasks(step).iter().filter_map(|task| against(step, &task.host, found)).collect();
        if seen.is_empty() {
            return None;
        }
        let more = match seen.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            number => format!("; and {number} hosts more"),
        };
        let message = format!(
            "runbook {} of {} does not start: precheck {} \"{}\" does not hold: {}{more}.",
            plan.runbook,
            plan.group,
            step.id,
            step.name,
            seen.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; "),
        );
        let remedy = refusal.remedy.trim().trim_end_matches('.');
        let remedy = match &refusal.guard {
            None => format!("{remedy}."),
            Some(guard) => format!(
                "{remedy}. Or let the run begin with --override {guard}=REASON: it then halts at that precheck, for you to decide."
            ),
        };
        Some(Fault::new("BTN-0106", message, remedy))
    })
}

/// What speaks against a start on one host. Nobody's word is not a good word.
fn against(step: &Step, host: &HostName, found: &[ObservedTask]) -> Option<String> {
    let Some(said) = found.iter().find(|said| said.step == step.id && said.host == *host) else {
        return Some(format!("{host} was not asked"));
    };
    match (&said.observation, &said.fault) {
        (Some(Observation::InPlace { .. }), _) => None,
        (Some(Observation::Differs { change }), _) => Some(format!("on {host} is needed: {}", change.trim_end())),
        (Some(Observation::CannotTell { why }), _) => Some(format!("{host} cannot tell: {why}")),
        // The run leaves such a host out, or halts for it.
        (None, Some(fault)) if fault.code == "BTN-0140" && step.unreachable == Unreachable::Skip => None,
        (None, Some(fault)) => {
            Some(format!("{host} does not say: {} {}", fault.code, fault.message.trim_end_matches('.')))
        }
        (None, None) => Some(format!("{host} does not say")),
    }
}

#[cfg(test)]
mod tests;
