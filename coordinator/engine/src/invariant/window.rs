//! No step with a window begins but by an entry whose stamp lies inside it, or after an override that is on the record.

use crate::state::{State, run::Verdict};

pub(super) fn check(before: &State, after: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, run) in &after.runs {
        for step in run.plan.steps() {
            let (Some(window), Some(state)) = (&step.window, run.steps.get(&step.id)) else { continue };
            let ordered = state.tasks.iter().any(|task| task.attempt > 0);
            let left_out = matches!(state.verdict, Verdict::Skipped { .. }) && !ordered;
            let begun = (state.began.is_some() && !left_out) || ordered;
            match state.window_opened {
                Some(opened) if !window.is_open(opened) => {
                    wrong.push(format!("{id}: step {} was let go at {} outside its window", step.id, opened.utc()));
                }
                Some(_) => {}
                None if begun && run.overridden("window").is_none() => {
                    wrong.push(format!("{id}: step {} began, and its window was never found open", step.id));
                }
                None => {}
            }
            let earlier = before.runs.get(id).and_then(|run| run.steps.get(&step.id));
            let fresh = earlier.is_some_and(|earlier| earlier.window_opened.is_none());
            if fresh && state.window_opened.is_some_and(|opened| opened > after.latest) {
                wrong.push(format!("{id}: step {} was let go by a stamp that no entry has", step.id));
            }
            if state.verdict == Verdict::AwaitsWindow && (state.began.is_some() || ordered) {
                wrong.push(format!("{id}: step {} waits for its window and has begun", step.id));
            }
        }
        // Nothing of a stage begins while one of its steps has never been let go, but for what a retry found at work.
        let stage = run.plan.stages.get(run.stage).filter(|_| run.undo.is_none());
        let earlier = before.runs.get(id).filter(|earlier| earlier.stage == run.stage);
        let awaits = |step: &baton_model::plan::Step| {
            run.steps.get(&step.id).is_some_and(|state| state.verdict == Verdict::AwaitsWindow)
        };
        let first_wait = earlier.is_none_or(|earlier| {
            stage.is_some_and(|stage| {
                let never = |step: &baton_model::plan::Step| {
                    earlier.steps.get(&step.id).is_none_or(|state| state.began.is_none())
                };
                stage.steps.iter().all(never)
            })
        });
        if let Some(stage) = stage.filter(|stage| first_wait && stage.steps.iter().any(awaits)) {
            for step in &stage.steps {
                if run.steps.get(&step.id).is_some_and(|state| state.began.is_some()) {
                    wrong.push(format!("{id}: step {} began while another of its stage waits for a window", step.id));
                }
            }
        }
    }
    wrong
}
