//! Leave something out, on an operator's word and with a reason. What may still run is fenced off first.

use baton_model::{
    ids::{RunId, StepId},
    outcome::Fault,
    plan::Work,
};

use crate::{
    command::{Answer, Target},
    progress,
    state::{
        Run, State, StepState, TaskStatus,
        run::{Intent, Verdict},
    },
};

use super::{
    Context, confirm_step,
    retry_tasks::{go_on, is_over, not_halted, nothing_matches},
    with_run,
};

pub(super) fn skip(state: &mut State, context: &Context<'_>, id: &RunId, target: &Target) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        if run.phase.is_over() {
            return Err(is_over(run, "skipped in"));
        }
        if context.author.why.trim().is_empty() {
            return Err(Fault::new("BTN-0122", format!("skipping in {id} needs a reason."), "Give one with --reason."));
        }
        if target.step.is_none() && !run.phase.is_halted() {
            return Err(not_halted(run, "skip what holds it up"));
        }
        let why = format!("{}: {}", context.author.who, context.author.why);
        // Everything that may be refused comes before anything changes.
        for step in run.current_steps() {
            if run.steps.get(&step).is_none_or(|state| !leaves_out_whole(state, &step, target)) {
                continue;
            }
            match run.planned_step(&step).map(|planned| &planned.work) {
                Some(Work::Transfer { .. }) => return Err(no_way_around(run)),
                Some(Work::Approval { .. }) => confirm_step::second_person(run, &step, context)?,
                _ => {}
            }
        }
        let mut skipped = 0;
        for step in run.current_steps() {
            let named = target.step.as_ref() == Some(&step);
            let Some(step_state) = run.steps.get_mut(&step) else { continue };
            let by_person = leaves_out_whole(step_state, &step, target);
            if by_person {
                for task in step_state.tasks.iter_mut().filter(|task| task.status == TaskStatus::Pending) {
                    task.set(TaskStatus::Skipped { why: why.clone() });
                }
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
                    // Its fence is awaited already; what that was for takes effect first.
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
        go_on(run);
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// The step itself is left out, not single tasks of it.
fn leaves_out_whole(state: &StepState, step: &StepId, target: &Target) -> bool {
    match state.verdict {
        Verdict::Failed { .. } => target.step.as_ref().is_none_or(|wanted| wanted == step),
        Verdict::Waiting | Verdict::AwaitsWindow | Verdict::Probing { .. } | Verdict::AwaitsLease { .. } => {
            target.step.as_ref() == Some(step)
        }
        Verdict::Open | Verdict::Done { .. } | Verdict::Skipped { .. } => false,
    }
}

/// Leaving the transfer out would go on as if the role had moved.
fn no_way_around(run: &Run) -> Fault {
    Fault::new(
        "BTN-0128",
        format!("the transfer of the role cannot be skipped in {}.", run.id),
        format!("\"baton retry {0}\", or \"baton abort {0} --reason …\".", run.id),
    )
}
