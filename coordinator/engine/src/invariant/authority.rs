//! An order's authority never falls, and a task id that was ordered once means the same for ever.

use std::collections::BTreeMap;

use baton_model::ids::{HostName, StepId};

use crate::state::{Phase, Run, State, TaskState, TaskStatus};

pub(super) fn check(before: &State, after: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, run) in &after.runs {
        let earlier = before.runs.get(id);
        if earlier.is_some_and(|earlier| earlier.mark > run.mark) {
            wrong.push(format!("{id}: the mark fell to {}", run.mark));
        }
        let mut newest: BTreeMap<&HostName, u64> = BTreeMap::new();
        for task in run.steps.values().flat_map(|step| &step.tasks) {
            let newest = newest.entry(&task.host).or_default();
            *newest = authority(task).map_or(*newest, |index| index.max(*newest));
        }
        let known = earlier.map_or(BTreeMap::new(), by_place);
        for (place, task) in by_place(run) {
            let place_text = || format!("{id}: {} on {}", place.0, place.1);
            let attempts = known.get(&place).map_or(0, |earlier| earlier.attempt);
            if task.attempt != attempts && task.attempt != attempts + 1 {
                wrong.push(format!("{}: attempt {attempts} became {}", place_text(), task.attempt));
            }
            if task.attempt > attempts && !matches!(run.phase, Phase::Running | Phase::Aborting) {
                wrong.push(format!("{} was ordered in a run that is {}", place_text(), run.phase.as_str()));
            }
            if let TaskStatus::Due { index, .. } | TaskStatus::Fencing { index, .. } = task.status
                && index > run.mark
            {
                wrong.push(format!("{}: authority {index} above the mark {}", place_text(), run.mark));
            }
            if let TaskStatus::Due { index, .. } = task.status
                && newest.get(&task.host).is_some_and(|newest| index < *newest)
            {
                wrong.push(format!(
                    "{}: the host would refuse authority {index}, which is older than another there",
                    place_text()
                ));
            }
            let Some(earlier) = known.get(&place).filter(|earlier| earlier.attempt == task.attempt && attempts > 0)
            else {
                continue;
            };
            if earlier.params != task.params || earlier.action != task.action || earlier.timeout != task.timeout {
                wrong.push(format!("{}: what attempt {attempts} asks for has changed", place_text()));
            }
            if authority(earlier).zip(authority(task)).is_some_and(|(old, new)| new < old) {
                wrong.push(format!("{}: the authority of attempt {attempts} fell", place_text()));
            }
            if matches!(task.status, TaskStatus::Due { .. }) && !matches!(earlier.status, TaskStatus::Due { .. }) {
                wrong.push(format!("{}: attempt {attempts} is due a second time", place_text()));
            }
        }
    }
    wrong
}

fn by_place(run: &Run) -> BTreeMap<(&StepId, &HostName), &TaskState> {
    run.steps.iter().flat_map(|(step, state)| state.tasks.iter().map(move |task| ((step, &task.host), task))).collect()
}

fn authority(task: &TaskState) -> Option<u64> {
    match task.status {
        TaskStatus::Due { index, .. } | TaskStatus::Fencing { index, .. } => Some(index),
        TaskStatus::Pending | TaskStatus::Ended { .. } | TaskStatus::Skipped { .. } => None,
    }
}
