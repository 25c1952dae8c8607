//! A maintenance window is open, and what waited for it begins.
//!
//! The entry is the authority, not whoever proposed it: its stamp and the clocks of most coordinators are held against the
//! openings in the plan. A leader whose clock is wrong opens nothing.

use std::{collections::BTreeMap, sync::Arc};

use baton_model::{
    ids::{RunId, StepId},
    outcome::Fault,
    plan::StepWindow,
    time::Moment,
};

use crate::{
    command::Answer,
    progress,
    state::{Phase, State, run::Verdict},
};

use super::{Context, with_run};

pub(super) fn open(
    state: &mut State,
    context: &Context<'_>,
    id: &RunId,
    stage: usize,
    clocks: &BTreeMap<String, Moment>,
    coordinators: u32,
) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        if run.phase != Phase::Running || run.stage != stage {
            return Ok(Answer::Already);
        }
        let plan = Arc::clone(&run.plan);
        let waiting: Vec<(&StepId, &StepWindow)> = run.awaited_windows(&plan);
        let now = context.author.when;
        // All of them or none: what runs together begins together.
        let open = |window: &StepWindow| window.is_open(now) && window.is_open_for_most(clocks.values(), coordinators);
        if waiting.is_empty() || !waiting.iter().all(|(_, window)| open(window)) {
            return Ok(Answer::Already);
        }
        for (step, window) in waiting {
            let Some(current) = run.steps.get_mut(step) else { continue };
            current.verdict = Verdict::Open;
            current.window_opened = Some(now);
            let told = clocks.iter().filter(|(_, clock)| window.is_open(**clock)).map(|(name, _)| name.as_str());
            let told: Vec<&str> = told.collect();
            let what = format!(
                "window {} is open by the clocks of {} of {coordinators} coordinators ({}): step {step} begins",
                window.name,
                told.len(),
                told.join(", ")
            );
            run.note(context.author, what);
        }
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
