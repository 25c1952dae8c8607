//! Go on after a halt whose cause is gone: a late report said that it went well after all.

use baton_model::{ids::RunId, outcome::Fault};

use crate::{
    command::Answer,
    progress,
    state::{Phase, State},
};

use super::{Context, retry_tasks::not_halted, with_run};

pub(super) fn resume(state: &mut State, context: &Context<'_>, id: &RunId) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        if !run.phase.is_halted() {
            return Err(not_halted(run, "resume"));
        }
        if progress::held_up(run) {
            let why = match &run.phase {
                Phase::Halted { why } | Phase::AbortHalted { why } => why.clone(),
                _ => String::new(),
            };
            return Err(Fault::new(
                "BTN-0123",
                format!("{id} cannot go on: {why}."),
                format!(
                    "\"baton retry {id}\", or \"baton skip {id} STEP --reason …\", or \"baton abort {id} --reason …\"."
                ),
            ));
        }
        run.phase = if run.phase.is_abort() { Phase::Aborting } else { Phase::Running };
        run.note(context.author, "resumed");
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
