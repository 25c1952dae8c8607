//! What can be said of a plan before it starts, without asking a host: what would make it wait, or fail for certain.

use baton_model::{
    plan::{Condition, Plan, Step, Work},
    time::Moment,
};

/// Warnings in the order of the steps. `coordinators`: votes in the cluster.
pub fn ahead(plan: &Plan, now: Moment, coordinators: usize) -> Vec<String> {
    let steps = plan.steps().filter(|step| !matches!(step.condition, Condition::Never(_)));
    steps.flat_map(|step| [waits(plan, step, now), too_many(plan, step, coordinators)]).flatten().collect()
}

fn waits(plan: &Plan, step: &Step, now: Moment) -> Option<String> {
    let window =
        step.window.as_ref().filter(|window| !window.is_open(now) && !plan.overrides.contains_key("window"))?;
    Some(format!("step {} \"{}\" would wait for {}", step.id, step.name, window.wait(now)))
}

fn too_many(plan: &Plan, step: &Step, coordinators: usize) -> Option<String> {
    let Work::ProveUnreachable { from, guard, .. } = &step.work else { return None };
    let overridden = guard.as_ref().is_some_and(|guard| plan.overrides.contains_key(guard));
    (*from as usize > coordinators && !overridden).then(|| {
        format!(
            "step {} \"{}\" would fail: it takes the word of {from} coordinators, and the cluster has {coordinators}",
            step.id, step.name
        )
    })
}
