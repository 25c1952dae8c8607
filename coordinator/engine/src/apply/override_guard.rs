//! An operator overrides a guard of a run that has begun: for this run, with a reason, on the record.

use baton_model::{ids::RunId, outcome::Fault, plan::Work};

use crate::{
    command::Answer,
    progress,
    state::{Run, State},
};

use super::{Context, retry_tasks::is_over, with_run};

pub(super) fn override_guard(
    state: &mut State,
    context: &Context<'_>,
    id: &RunId,
    guard: &str,
) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        if run.phase.is_over() {
            return Err(is_over(run, "given an override"));
        }
        if context.author.why.trim().is_empty() {
            let message = format!("overriding {guard} in {id} needs a reason.");
            return Err(Fault::new("BTN-0122", message, "Give one with --reason."));
        }
        let known = guards(run);
        if !known.iter().any(|known| known == guard) {
            let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Fault::new(
                "BTN-0138",
                format!("{id} has no guard {guard:?} to override while it runs (there are: {there})."),
                format!("See \"baton show {id}\"."),
            ));
        }
        if run.overridden(guard).is_some() {
            return Ok(Answer::Already);
        }
        run.overrides.insert(guard.to_owned(), context.author.why.clone());
        run.note(context.author, format!("override of {guard}"));
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// What a run may be overridden in after its start.
fn guards(run: &Run) -> Vec<String> {
    let windows = run.plan.steps().any(|step| step.window.is_some());
    let mut guards: Vec<String> = windows.then(|| "window".to_owned()).into_iter().collect();
    for step in run.plan.steps() {
        if let Work::ProveUnreachable { guard: Some(guard), .. } = &step.work
            && !guards.contains(guard)
        {
            guards.push(guard.clone());
        }
    }
    guards
}
