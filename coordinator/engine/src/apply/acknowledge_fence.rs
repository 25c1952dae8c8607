//! A host has the raised fence on disk and nothing older runs there: what waited for that takes effect.

use baton_model::{
    ids::{HostName, RunId, StepId},
    outcome::{Fault, Outcome},
};

use crate::{
    command::Answer,
    progress,
    state::{State, TaskStatus, run::Intent},
};

use super::{Context, with_run};

pub(super) fn acknowledge(
    state: &mut State,
    context: &Context<'_>,
    id: &RunId,
    host: &HostName,
    acknowledged: u64,
) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        let waiting: Vec<(StepId, Intent)> = run
            .steps
            .iter()
            .flat_map(|(step, state)| state.tasks.iter().map(move |task| (step, task)))
            .filter(|(_, task)| task.host == *host)
            .filter_map(|(step, task)| match &task.status {
                TaskStatus::Fencing { index, intent, .. } if *index <= acknowledged => {
                    Some((step.clone(), intent.clone()))
                }
                _ => None,
            })
            .collect();
        if waiting.is_empty() {
            return Ok(Answer::Already);
        }
        for (step, intent) in waiting {
            match intent {
                // Its turn comes when the run goes on, as many at once as the step allows.
                Intent::Retry => progress::set(run, &step, host, TaskStatus::Pending),
                Intent::Skip { why } => progress::set(run, &step, host, TaskStatus::Skipped { why }),
                // Withdrawn before anybody said how it ended.
                Intent::Abort => progress::set(run, &step, host, TaskStatus::Ended { outcome: Outcome::Unknown }),
            }
        }
        run.note(context.author, format!("{host} acknowledged fence {acknowledged}"));
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
