//! End a run. Before the role has moved the steps' undo actions run in reverse order; after it, back is another switchover.

use baton_model::{
    ids::RunId,
    outcome::{Fault, Outcome},
};

use crate::{
    command::Answer,
    progress,
    state::{Phase, Run, State, TaskStatus, run::Intent},
};

use super::{
    Context,
    retry_tasks::{is_over, not_halted},
    with_run,
};

pub(super) fn abort(state: &mut State, context: &Context<'_>, id: &RunId) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        if run.phase.is_over() {
            return Err(is_over(run, "aborted"));
        }
        if context.author.why.trim().is_empty() {
            return Err(Fault::new("BTN-0122", format!("aborting {id} needs a reason."), "Give one with --reason."));
        }
        if run.phase == Phase::Aborting {
            return Ok(Answer::Already);
        }
        if let Phase::AbortHalted { .. } = run.phase {
            give_up_undo(run)?;
        } else {
            let open: Vec<_> = run
                .steps
                .iter()
                .flat_map(|(step, state)| state.tasks.iter().map(move |task| (step.clone(), task)))
                .filter(|(_, task)| may_run(&task.status))
                .map(|(step, task)| (step, task.host.clone()))
                .collect();
            for (step, host) in open {
                progress::fence(run, &step, &host, Intent::Abort, context.author.when, context.index);
            }
        }
        run.phase = Phase::Aborting;
        run.note(context.author, "abort");
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// An attempt of unknown end may run still, and must not while it is undone.
fn may_run(status: &TaskStatus) -> bool {
    match status {
        TaskStatus::Due { .. } | TaskStatus::Fencing { .. } => true,
        TaskStatus::Ended { outcome } => *outcome == Outcome::Unknown,
        TaskStatus::Pending | TaskStatus::Skipped { .. } => false,
    }
}

/// The second abort: what is left of the undo steps is left to people.
fn give_up_undo(run: &mut Run) -> Result<(), Fault> {
    let steps = run.current_steps();
    let at_work = steps.iter().filter_map(|step| run.steps.get(step)).any(|step| {
        step.tasks.iter().any(|task| matches!(task.status, TaskStatus::Due { .. } | TaskStatus::Fencing { .. }))
    });
    if at_work {
        return Err(not_halted(run, "give up its undo steps while one is at work"));
    }
    run.undo = Some(Vec::new());
    Ok(())
}
