//! A host that a majority of coordinators does not reach is left out, where the step says `unreachable: skip`.
//!
//! It must never leave out what may be at work: nobody hears of it again, and what follows would run beside it.

use baton_model::{ids::TaskId, outcome::Fault, plan::Unreachable};

use crate::{
    command::Answer,
    progress,
    state::{State, TaskStatus},
};

use super::{Context, with_run};

pub(super) fn skip(
    state: &mut State,
    context: &Context<'_>,
    id: &TaskId,
    evidence: &str,
    at_rest: bool,
) -> Result<Answer, Fault> {
    if !state.runs.contains_key(&id.run) {
        return Ok(Answer::Already);
    }
    with_run(state, &id.run, |state, run| {
        if run.ruling_step(&id.step).map(|step| step.unreachable) != Some(Unreachable::Skip) {
            return Ok(Answer::Already);
        }
        let Some(task) = run.task_mut(id) else { return Ok(Answer::Already) };
        if task.attempt != id.attempt || !matches!(task.status, TaskStatus::Due { .. }) {
            return Ok(Answer::Already);
        }
        // Its end will be unknown, unless the host is heard again.
        if task.dispatched && !at_rest {
            return Ok(Answer::Already);
        }
        task.set(TaskStatus::Skipped { why: format!("unreachable: {evidence}") });
        run.note(context.author, format!("{id} skipped: {} is unreachable ({evidence})", id.host));
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
