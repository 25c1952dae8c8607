//! No effect of a step before everything of the stages before it is committed as over.

use baton_engine::state::State;

use super::Violation;
use crate::ground::Effect;

pub fn check(effect: &Effect, state: &State) -> Option<Violation> {
    let task = effect.task.as_ref()?;
    // What is undone is undone in the other direction.
    if task.step.0.contains("/undo") {
        return None;
    }
    let run = state.runs.get(&task.run)?;
    let stage = run.plan.stages.iter().position(|stage| stage.steps.iter().any(|step| step.id == task.step))?;
    for earlier in run.plan.stages[..stage].iter().flat_map(|stage| &stage.steps) {
        let over = run.steps.get(&earlier.id).is_none_or(|step| step.is_over());
        if !over {
            let what =
                format!("{:?} on {} for {task}, and step {} is not over", effect.work, effect.host, earlier.id.0);
            return Some(Violation::new("order", what));
        }
    }
    None
}
