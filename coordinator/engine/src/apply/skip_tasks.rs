//! Leave something out, on an operator's word and with a reason. What may still run is fenced off first.

use baton_model::{ids::RunId, outcome::Fault};

use crate::{
    command::{Answer, Target},
    progress,
    state::{
        Phase, State, TaskStatus,
        run::{Intent, Verdict},
    },
};

use super::{
    Context,
    retry_tasks::{not_halted, nothing_matches},
    with_run,
};

pub(super) fn skip(state: &mut State, context: &Context<'_>, id: &RunId, target: &Target) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        if run.phase.is_over() {
            return Err(not_halted(run, "skip"));
        }
        if context.author.why.trim().is_empty() {
            return Err(Fault::new("BTN-0122", format!("skipping in {id} needs a reason."), "Give one with --reason."));
        }
        if target.step.is_none() && !run.phase.is_halted() {
            return Err(not_halted(run, "skip what holds it up"));
        }
        let why = format!("{}: {}", context.author.who, context.author.why);
        let mut skipped = 0;
        for step in run.current_steps() {
            let named = target.step.as_ref() == Some(&step);
            let Some(step_state) = run.steps.get_mut(&step) else { continue };
            let by_person = match step_state.verdict {
                Verdict::Failed { .. } => named || target.step.is_none(),
                Verdict::Waiting => named,
                _ => false,
            };
            if by_person {
                step_state.verdict = Verdict::Skipped { why: why.clone() };
                step_state.ended = Some(context.author.when);
                skipped += 1;
                continue;
            }
            let hosts: Vec<_> = step_state
                .tasks
                .iter()
                .filter(|task| target.covers(&step, &task.host))
                .filter(|task| task.status.is_bad() || (named && !task.status.is_over()))
                .map(|task| (task.host.clone(), task.status.clone()))
                .collect();
            for (host, status) in hosts {
                let intent = Intent::Skip { why: why.clone() };
                match status {
                    TaskStatus::Due { .. } => {
                        progress::fence(run, &step, &host, intent, context.author.when, context.index);
                    }
                    // Already fenced for something else: the operator's newest word counts, under the newer index.
                    TaskStatus::Fencing { .. } => continue,
                    TaskStatus::Pending | TaskStatus::Ended { .. } => {
                        progress::set(run, &step, &host, TaskStatus::Skipped { why: why.clone() });
                    }
                    TaskStatus::Skipped { .. } => continue,
                }
                skipped += 1;
            }
        }
        if skipped == 0 {
            return Err(nothing_matches(run, target));
        }
        run.note(context.author, format!("skip of {skipped}"));
        if run.phase.is_halted() && !progress::held_up(run) {
            run.phase = if run.phase.is_abort() { Phase::Aborting } else { Phase::Running };
        }
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
