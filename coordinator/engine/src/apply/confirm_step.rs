//! A person's yes. An approval must come from a second one.

use baton_model::{
    ids::{RunId, StepId},
    outcome::Fault,
    plan::Work,
};

use crate::{
    command::Answer,
    progress,
    state::{Run, State, run::Verdict},
};

use super::{Context, with_run};

pub(super) fn confirm(state: &mut State, context: &Context<'_>, id: &RunId, step: &StepId) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        let nothing = || {
            Fault::new(
                "BTN-0116",
                format!("{id} does not wait for a word on step {step}."),
                format!("See what it waits for with \"baton show {id}\"."),
            )
        };
        if run.phase.is_over() || run.phase.is_abort() {
            return Err(nothing());
        }
        let planned = run.planned_step(step).ok_or_else(nothing)?;
        let approval = match planned.work {
            Work::Approval { .. } => true,
            Work::Confirm { .. } => false,
            Work::Act { .. }
            | Work::Transfer { .. }
            | Work::Rejoin { .. }
            | Work::Detach { .. }
            | Work::Rearm
            | Work::ProveUnreachable { .. } => return Err(nothing()),
        };
        if approval {
            second_person(run, step, context)?;
        }
        let state_of_step = run.steps.get_mut(step).ok_or_else(nothing)?;
        match state_of_step.verdict {
            Verdict::Waiting => {}
            Verdict::Done { .. } => return Ok(Answer::Already),
            _ => return Err(nothing()),
        }
        let note = if approval { "approved" } else { "confirmed" };
        state_of_step.verdict = Verdict::Done { note: note.to_owned(), by: Some(context.author.clone()) };
        state_of_step.ended = Some(context.author.when);
        run.note(context.author, format!("{note} step {step}"));
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// Neither a yes to an approval nor leaving it out is up to whoever started the run.
pub(super) fn second_person(run: &Run, step: &StepId, context: &Context<'_>) -> Result<(), Fault> {
    if run.started.who != context.author.who {
        return Ok(());
    }
    Err(Fault::new(
        "BTN-0117",
        format!("step {step} of {} wants a second person, and {} started the run.", run.id, context.author.who),
        "Ask somebody else to approve it.",
    ))
}
