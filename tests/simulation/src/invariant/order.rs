//! No effect of a step before everything of the stages before it is committed as over.

use baton_engine::state::{State, StepState, TaskStatus, run::Verdict};
use baton_model::outcome::Outcome;

use super::Violation;
use crate::ground::Effect;

pub fn check(effect: &Effect, state: &State) -> Option<Violation> {
    let task = effect.task.as_ref()?;
    // What is undone is undone in the other direction.
    if task.step.0.contains("/undo") {
        return None;
    }
    let run = state.runs.get(&task.run)?;
    let stage = run.plan.stages.iter().position(|stage| stage.steps.iter().any(|step| step.id == task.step))?;
    for earlier in run.plan.stages[..stage].iter().flat_map(|stage| &stage.steps) {
        let over = run.steps.get(&earlier.id).is_some_and(is_over);
        if !over {
            let what =
                format!("{:?} on {} for {task}, and step {} is not over", effect.work, effect.host, earlier.id.0);
            return Some(Violation::new("order", what));
        }
    }
    None
}

/// By the committed outcome of each host, and not by the engine's own word: a fault in that must not silence its judge.
fn is_over(step: &StepState) -> bool {
    let settled = match step.verdict {
        Verdict::Open => false,
        Verdict::Done { .. } | Verdict::Skipped { .. } | Verdict::Failed { .. } => true,
        Verdict::Waiting | Verdict::AwaitsWindow | Verdict::Probing { .. } | Verdict::AwaitsLease { .. } => {
            return false;
        }
    };
    let over = |status: &TaskStatus| match status {
        // What ended nobody knows how may go on: before the next step a person decides about it.
        TaskStatus::Ended { outcome } => *outcome != Outcome::Unknown,
        TaskStatus::Skipped { .. } => true,
        TaskStatus::Pending => settled,
        TaskStatus::Due { .. } | TaskStatus::Fencing { .. } => false,
    };
    (settled || !step.tasks.is_empty()) && step.tasks.iter().all(|task| over(&task.status))
}

#[cfg(test)]
mod tests {
    use baton_engine::state::TaskState;
    use baton_model::time::{Moment, Span};

    use super::*;

    fn step(statuses: &[TaskStatus]) -> StepState {
        let task = |status: &TaskStatus| TaskState {
            host: "e1".parse().expect("a name"),
            action: "service.stop".to_owned(),
            params: serde_json::Value::Null,
            timeout: Span::from_secs(10),
            attempt: 1,
            status: status.clone(),
            dispatched: false,
            report: None,
        };
        StepState::new(statuses.iter().map(task).collect())
    }

    #[test]
    fn a_step_is_over_where_every_host_has_a_known_end() {
        let ended = |outcome| TaskStatus::Ended { outcome };
        let due = TaskStatus::Due { index: 1, since: Moment(0), not_before: Moment(0) };
        let skipped = TaskStatus::Skipped { why: "left out".to_owned() };
        assert!(is_over(&step(&[ended(Outcome::Changed), ended(Outcome::Failed), skipped])));
        assert!(!is_over(&step(&[])));
        for open in [ended(Outcome::Unknown), due, TaskStatus::Pending] {
            assert!(!is_over(&step(&[ended(Outcome::Changed), open.clone()])), "{open:?}");
        }
        let left_out = Verdict::Skipped { why: "when: x is false".to_owned() };
        assert!(is_over(&StepState { verdict: left_out, ..step(&[TaskStatus::Pending]) }));
        assert!(!is_over(&StepState { verdict: Verdict::Waiting, ..step(&[]) }));
    }

    #[test]
    fn what_ended_unknown_is_not_over_whatever_the_engine_says() {
        let unknown = step(&[TaskStatus::Ended { outcome: Outcome::Unknown }]);
        assert!(unknown.is_over() && !is_over(&unknown));
    }
}
