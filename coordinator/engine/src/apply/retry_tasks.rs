//! Another attempt at what failed. An attempt of unknown end is fenced off first.

use baton_model::{
    ids::RunId,
    outcome::{Fault, Outcome},
};

use crate::{
    command::{Answer, Target},
    progress,
    state::{
        Phase, Run, State, TaskStatus,
        run::{Intent, Verdict},
    },
};

use super::{Context, with_run};

pub(super) fn retry(state: &mut State, context: &Context<'_>, id: &RunId, target: &Target) -> Result<Answer, Fault> {
    with_run(state, id, |state, run| {
        if !run.phase.is_halted() {
            return Err(not_halted(run, "retry"));
        }
        let mut again = 0;
        for step in run.current_steps() {
            let Some(step_state) = run.steps.get_mut(&step) else { continue };
            if matches!(step_state.verdict, Verdict::Failed { .. })
                && target.step.as_ref().is_none_or(|wanted| *wanted == step)
            {
                // The coordinator's own part failed before any task was due: begin the stage again.
                step_state.verdict = Verdict::Open;
                step_state.began = None;
                step_state.ended = None;
                // What never began must begin inside its window; what has begun is only gone on with.
                if step_state.tasks.iter().all(|task| task.attempt == 0) {
                    step_state.window_opened = None;
                }
                run.stage_begun = false;
                again += 1;
                continue;
            }
            let hosts: Vec<_> = step_state
                .tasks
                .iter()
                .filter(|task| task.status.is_bad() && target.covers(&step, &task.host))
                .map(|task| (task.host.clone(), task.status.clone()))
                .collect();
            for (host, status) in hosts {
                again += 1;
                if status == (TaskStatus::Ended { outcome: Outcome::Unknown }) {
                    progress::fence(run, &step, &host, Intent::Retry, context.author.when, context.index);
                } else {
                    progress::set(run, &step, &host, TaskStatus::Pending);
                }
            }
        }
        if again == 0 {
            return Err(nothing_matches(run, target));
        }
        run.note(context.author, format!("retry of {again}"));
        go_on(run);
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// Ends the halt if its causes are decided about. Until then, what is to be retried waits its turn.
pub(super) fn go_on(run: &mut Run) {
    if run.phase.is_halted() && !progress::held_up(run) {
        run.phase = if run.phase.is_abort() { Phase::Aborting } else { Phase::Running };
    }
}

pub(super) fn is_over(run: &Run, verb: &str) -> Fault {
    Fault::new(
        "BTN-0127",
        format!("{} cannot be {verb}: it is over ({}).", run.id, run.phase.as_str()),
        format!("See \"baton show {}\".", run.id),
    )
}

pub(super) fn not_halted(run: &Run, verb: &str) -> Fault {
    Fault::new(
        "BTN-0118",
        format!("{} cannot {verb}: it is {}, not halted.", run.id, run.phase.as_str()),
        format!("Watch it with \"baton watch {}\".", run.id),
    )
}

pub(super) fn nothing_matches(run: &Run, target: &Target) -> Fault {
    let at: Vec<String> = run
        .current_steps()
        .iter()
        .flat_map(|step| {
            run.steps.get(step).into_iter().flat_map(move |state| {
                state
                    .tasks
                    .iter()
                    .filter(|task| !task.status.is_good())
                    .map(move |task| format!("{step} on {}", task.host))
            })
        })
        .collect();
    let step = target.step.as_ref().map_or("any step".to_owned(), ToString::to_string);
    let host = target.host.as_ref().map_or("any host".to_owned(), ToString::to_string);
    let open = if at.is_empty() { "nothing".to_owned() } else { at.join(", ") };
    Fault::new(
        "BTN-0119",
        format!("{} is not held up at {step} on {host}; it is held up at: {open}.", run.id),
        format!("See \"baton show {}\".", run.id),
    )
}
