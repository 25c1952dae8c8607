//! What is about to be ordered, where its host may be left out: from here on it may be at work.

use baton_model::{ids::TaskId, outcome::Fault};

use crate::{
    command::Answer,
    state::{State, TaskStatus},
};

pub(super) fn record(state: &mut State, tasks: &[TaskId]) -> Result<Answer, Fault> {
    let mut answer = Answer::Already;
    for id in tasks {
        let Some(task) = state.runs.get_mut(&id.run).and_then(|run| run.task_mut(id)) else { continue };
        if task.attempt == id.attempt && matches!(task.status, TaskStatus::Due { .. }) && !task.dispatched {
            task.dispatched = true;
            answer = Answer::Done;
        }
    }
    Ok(answer)
}
