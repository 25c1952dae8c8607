//! The way back, before the role has moved: fences first, then the steps' undo actions in reverse order, then the end.

use std::{collections::BTreeSet, sync::Arc};

use baton_model::{
    author::Author,
    expression::{self, Scope},
    ids::{HostName, StepId},
    outcome::Outcome,
    plan::{Step, Task},
};
use serde_json::Value;

use super::{bad_end, end, enter, fill, scope};
use crate::state::{
    Phase, Run, StepState, TaskState, TaskStatus,
    run::{is_undo, undo_id},
};

/// Tasks that a run's last word names; the record has all.
const LEFT_NAMED_MAX: usize = 8;

/// Fences first, then undo steps in reverse order, then the end.
pub(super) fn advance(run: &mut Run, author: &Author, index: u64) {
    if run.undo.is_none() {
        if !run.fences_settled() {
            return;
        }
        run.undo = Some(list_undo(run));
    }
    while let Some(next) = run.undo.as_ref().and_then(|undo| undo.last().cloned()) {
        let Some(state) = run.steps.get_mut(&next) else { break };
        state.began.get_or_insert(author.when);
        if let Some(task) = state.tasks.iter().find(|task| task.status.is_bad()) {
            let why = bad_end(&next, "undo", task);
            run.note(author, format!("abort halted: {why}"));
            run.phase = Phase::AbortHalted { why };
            return;
        }
        if !state.is_over() {
            return fill(run, &next, None, author.when, index);
        }
        state.ended = Some(author.when);
        if let Some(undo) = run.undo.as_mut() {
            undo.pop();
        }
    }
    let phase = outcome(run);
    end(run, author, phase);
}

/// What the abort came to. Only what was undone everywhere is called rolled back.
fn outcome(run: &Run) -> Phase {
    if run.transferred {
        let new = run.plan.new.as_ref().map_or("the target".to_owned(), ToString::to_string);
        return Phase::Aborted {
            note: format!("the role has moved: {new} is primary; to go back, run a switchover to {}", run.plan.old),
        };
    }
    let mut undone = 0;
    let mut left = Vec::new();
    for (id, state) in run.steps.iter().filter(|(id, _)| is_undo(id)) {
        for task in &state.tasks {
            match task.status {
                TaskStatus::Ended { outcome } if outcome.is_success() => undone += 1,
                _ => left.push(format!("{id} on {}", task.host)),
            }
        }
    }
    match (undone, left.len()) {
        (0, 0) => Phase::Aborted { note: "nothing had to be undone".to_owned() },
        (_, 0) => Phase::RolledBack,
        (undone, many) => {
            let more =
                if many > LEFT_NAMED_MAX { format!(" and {} more", many - LEFT_NAMED_MAX) } else { String::new() };
            left.truncate(LEFT_NAMED_MAX);
            Phase::Aborted { note: format!("undone: {undone}; not undone: {}{more}", left.join(", ")) }
        }
    }
}

/// Undo steps for what may have had an effect, in the order of the steps: the last is undone first.
fn list_undo(run: &mut Run) -> Vec<StepId> {
    if run.transferred {
        return Vec::new();
    }
    let mut listed = Vec::new();
    let plan = Arc::clone(&run.plan);
    for step in plan.stages.iter().take(run.stage + 1).flat_map(|stage| &stage.steps) {
        let touched: Vec<HostName> = run.steps.get(&step.id).map_or(Vec::new(), |state| {
            state.tasks.iter().filter(|task| may_have_had_an_effect(task)).map(|task| task.host.clone()).collect()
        });
        for (number, chunk) in undo_in_turns(step, &touched).into_iter().enumerate().rev() {
            let id = undo_id(&step.id, number);
            let mut scope = if chunk.iter().any(|task| task.deferred) { scope(run, step) } else { Scope::new() };
            let tasks = chunk
                .into_iter()
                .map(|task| TaskState {
                    params: resolved(run, &mut scope, &task),
                    host: task.host,
                    action: task.action,
                    timeout: step.timeout,
                    attempt: 0,
                    dispatched: false,
                    status: TaskStatus::Pending,
                    report: None,
                })
                .collect();
            run.steps.insert(id.clone(), StepState::new(tasks));
            listed.push(id);
        }
    }
    listed
}

/// An undo action may refer to what its step found. What is not there stays as it is written, and the agent refuses it.
fn resolved(run: &Run, scope: &mut Scope, task: &Task) -> Value {
    if !task.deferred {
        return task.params.clone();
    }
    enter(scope, run, &task.host);
    expression::render(&task.params, scope, &BTreeSet::new())
        .map_or_else(|_| task.params.clone(), |rendered| rendered.value)
}

/// A step may undo with several actions, one after the other; each turn holds at most one task a host.
fn undo_in_turns(step: &Step, hosts: &[HostName]) -> Vec<Vec<Task>> {
    let mut turns: Vec<Vec<Task>> = Vec::new();
    for task in step.undo.iter().filter(|task| hosts.contains(&task.host)) {
        match turns.iter_mut().find(|turn| turn.iter().all(|other| other.host != task.host)) {
            Some(turn) => turn.push(task.clone()),
            None => turns.push(vec![task.clone()]),
        }
    }
    turns
}

/// Any attempt counts, not only the last: what a first attempt did before it failed, the second finds in place.
fn may_have_had_an_effect(task: &TaskState) -> bool {
    match task.attempt {
        0 => false,
        1 => {
            let said = task.report.as_ref().map(|report| report.outcome);
            !(task.status.is_over() && matches!(said, Some(Outcome::Unchanged | Outcome::Refused)))
        }
        _ => true,
    }
}
