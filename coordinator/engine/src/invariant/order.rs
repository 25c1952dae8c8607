//! No task of step n+1 is due before every task of step n has a committed outcome; and authority is never from the future.

use crate::state::{State, StepState, TaskStatus, run::Intent};

pub(super) fn check(state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for run in state.runs.values() {
        for (number, stage) in run.plan.stages.iter().enumerate() {
            for step in &stage.steps {
                let Some(step_state) = run.steps.get(&step.id) else {
                    wrong.push(format!("{}: step {} has no state", run.id, step.id));
                    continue;
                };
                if number < run.stage && !step_state.is_over() && !only_withdrawn(step_state) {
                    wrong.push(format!("{}: step {} is open behind stage {}", run.id, step.id, run.stage));
                }
                if number > run.stage && step_state.tasks.iter().any(|task| task.attempt > 0) {
                    wrong.push(format!("{}: step {} was due before stage {} ended", run.id, step.id, run.stage));
                }
            }
        }
        if run.undo.is_some() && !run.fences_settled() {
            wrong.push(format!("{}: undo began while a plan's task may still run", run.id));
        }
        for (id, step) in &run.steps {
            for task in &step.tasks {
                if let TaskStatus::Due { index, .. } | TaskStatus::Fencing { index, .. } = task.status
                    && (index == 0 || index > state.index)
                {
                    wrong.push(format!(
                        "{}: {id} on {} has authority {index}, applied is {}",
                        run.id, task.host, state.index
                    ));
                }
                if run.phase.is_over() && !task.status.is_over() && task.status != TaskStatus::Pending {
                    wrong.push(format!("{} is over, but {id} on {} is {:?}", run.id, task.host, task.status));
                }
            }
        }
    }
    wrong
}

/// An abort fences what ended unknown in an earlier stage; it orders nothing there.
fn only_withdrawn(step: &StepState) -> bool {
    step.tasks
        .iter()
        .all(|task| task.status.is_over() || matches!(task.status, TaskStatus::Fencing { intent: Intent::Abort, .. }))
}
