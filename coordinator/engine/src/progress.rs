//! What follows from a change: the next stage, another attempt, a halt, the end.
//!
//! Runs inside `apply`, so that the entry which ends a stage is also the authority for the next one: one commit a step.

use std::{collections::BTreeSet, sync::Arc};

use baton_model::{
    author::Author,
    expression::{self, Expression, Scope},
    ids::{Epoch, HostName, StepId},
    outcome::Outcome,
    plan::{Condition, OnFailure, Step, Work},
    time::Moment,
};
use serde_json::Value;

use crate::state::{
    Phase, Run, Standing, State, StepState, TaskState, TaskStatus,
    run::{Intent, Verdict},
};

/// Carries the run as far as it goes without news from outside.
pub(crate) fn advance(state: &mut State, run: &mut Run, author: &Author, index: u64) {
    loop {
        match run.phase {
            Phase::Running => {}
            Phase::Aborting => return advance_abort(run, author, index),
            _ => return,
        }
        let plan = Arc::clone(&run.plan);
        let Some(stage) = plan.stages.get(run.stage) else {
            return end(run, author, Phase::Succeeded);
        };
        let steps = &stage.steps;
        if !run.stage_begun {
            run.stage_begun = true;
            for step in steps {
                begin(state, run, step, author, index);
            }
        }
        for step in steps {
            try_again(run, step, author, index);
            fill(run, step, author.when, index);
        }
        if let Some(why) = held_up_by(run, steps) {
            run.note(author, format!("halted: {why}"));
            run.phase = Phase::Halted { why };
            return;
        }
        if !steps.iter().all(|step| run.steps.get(&step.id).is_some_and(StepState::is_over)) {
            return;
        }
        for step in steps {
            finish(state, run, step, author.when);
        }
        run.stage += 1;
        run.stage_begun = false;
    }
}

/// Something in the current stage (or undo step) went wrong and nobody has decided about it.
pub(crate) fn held_up(run: &Run) -> bool {
    match &run.undo {
        Some(undo) => undo
            .last()
            .and_then(|step| run.steps.get(step))
            .is_some_and(|step| step.tasks.iter().any(|task| task.status.is_bad())),
        None => run.plan.stages.get(run.stage).is_some_and(|stage| held_up_by(run, &stage.steps).is_some()),
    }
}

fn held_up_by(run: &Run, steps: &[Step]) -> Option<String> {
    steps.iter().filter(|step| step.on_failure == OnFailure::Halt).find_map(|step| {
        let state = run.steps.get(&step.id)?;
        if let Verdict::Failed { why } = &state.verdict {
            return Some(format!("step {} \"{}\": {why}", step.id, step.name));
        }
        state.tasks.iter().find(|task| task.status.is_bad()).map(|task| bad_end(&step.id, &step.name, task))
    })
}

fn bad_end(step: &StepId, name: &str, task: &TaskState) -> String {
    let outcome = match &task.status {
        TaskStatus::Ended { outcome } => outcome.as_str(),
        _ => "open",
    };
    let why = task.report.as_ref().map_or(String::new(), |report| {
        format!(
            ": {}",
            report
                .fault
                .as_ref()
                .map_or_else(|| report.summary.clone(), |fault| format!("{} {}", fault.code, fault.message))
        )
    });
    format!("step {step} \"{name}\" {outcome} on {}{why}", task.host)
}

/// Begins a step: its condition, then its work.
fn begin(state: &mut State, run: &mut Run, step: &Step, author: &Author, index: u64) {
    let now = author.when;
    let Some(current) = run.steps.get(&step.id) else { return };
    if current.is_over() || current.began.is_some() && current.verdict == Verdict::Waiting {
        return;
    }
    let verdict = match condition_holds(run, &step.condition) {
        Err(why) => Verdict::Failed { why },
        Ok(Some(why_not)) => Verdict::Skipped { why: why_not },
        Ok(None) => match &step.work {
            Work::Act { tasks } if tasks.is_empty() => Verdict::Done { note: "no host".to_owned(), by: None },
            Work::Act { .. } => match resolve(run, step) {
                Ok(()) => Verdict::Open,
                Err(why) => Verdict::Failed { why },
            },
            Work::Transfer { detach_old } => transfer(state, run, *detach_old, author),
            Work::Rejoin { member } => rejoin(state, run, member),
            Work::Confirm { .. } | Work::Approval { .. } => Verdict::Waiting,
        },
    };
    run.mark = index;
    let Some(current) = run.steps.get_mut(&step.id) else { return };
    current.began = Some(now);
    if !matches!(verdict, Verdict::Open | Verdict::Waiting) {
        current.ended = Some(now);
        for task in &mut current.tasks {
            if task.status == TaskStatus::Pending
                && let Verdict::Skipped { why } = &verdict
            {
                task.set(TaskStatus::Skipped { why: why.clone() });
            }
        }
    }
    current.verdict = verdict;
}

/// `None`: it holds. `Some`: why the step is left out.
fn condition_holds(run: &Run, condition: &Condition) -> Result<Option<String>, String> {
    match condition {
        Condition::Always => Ok(None),
        Condition::Never(expression) => Ok(Some(format!("when: {expression} is false"))),
        Condition::Deferred(text) => {
            let expression = Expression::parse(text).map_err(|error| error.to_string())?;
            match expression.evaluate(&scope(run, None)).map_err(|error| error.to_string())? {
                Value::Bool(true) => Ok(None),
                Value::Bool(false) => Ok(Some(format!("when: {text} is false"))),
                other => Err(format!("when: {text} is {other}, not true or false")),
            }
        }
    }
}

/// What expressions that had to wait see.
fn scope(run: &Run, host: Option<&HostName>) -> Scope {
    let mut scope: Scope = run.plan.scope.clone();
    scope.extend(run.registered.iter().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(host) = host
        && let Some(value) = run.plan.scope.get("hosts").and_then(|hosts| hosts.get(host.as_str()))
    {
        scope.insert("host".to_owned(), value.clone());
    }
    scope
}

/// Fills in what earlier steps registered.
fn resolve(run: &mut Run, step: &Step) -> Result<(), String> {
    let Work::Act { tasks } = &step.work else { return Ok(()) };
    for planned in tasks.iter().filter(|task| task.deferred) {
        let scope = scope(run, Some(&planned.host));
        let rendered =
            expression::render(&planned.params, &scope, &BTreeSet::new()).map_err(|error| error.to_string())?;
        if let Some(task) =
            run.steps.get_mut(&step.id).and_then(|state| state.tasks.iter_mut().find(|task| task.host == planned.host))
        {
            task.params = rendered.value;
        }
    }
    Ok(())
}

/// The point of no return: the only place that changes a primary.
fn transfer(state: &mut State, run: &mut Run, detach_old: bool, author: &Author) -> Verdict {
    let Some(new) = run.plan.new.clone() else {
        return Verdict::Failed { why: "the plan names no target for the role".to_owned() };
    };
    let Some(group) = state.groups.get_mut(&run.plan.group) else {
        return Verdict::Failed { why: format!("group {} is gone", run.plan.group) };
    };
    if group.epoch != run.plan.epoch || group.primary != run.plan.old {
        return Verdict::Failed {
            why: format!(
                "the role moved meanwhile: {} is primary in epoch {}, the plan said {} in {}",
                group.primary, group.epoch, run.plan.old, run.plan.epoch
            ),
        };
    }
    let old = std::mem::replace(&mut group.primary, new.clone());
    group.epoch = Epoch(group.epoch.0 + 1);
    group.primary_since = author.when;
    group.revision += 1;
    group.standings.remove(&new);
    if detach_old {
        group.standings.insert(old.clone(), Standing::Detached { by: run.id.clone(), since: author.when });
    }
    let note = format!("{new} is primary of {} in epoch {}, after {old}", run.plan.group, group.epoch);
    run.transferred = true;
    run.note(author, note.clone());
    Verdict::Done { note, by: None }
}

fn rejoin(state: &mut State, run: &mut Run, member: &baton_model::ids::MemberName) -> Verdict {
    let Some(group) = state.groups.get_mut(&run.plan.group) else {
        return Verdict::Failed { why: format!("group {} is gone", run.plan.group) };
    };
    if *member == group.primary {
        return Verdict::Failed { why: format!("{member} is primary; only another member can rejoin") };
    }
    group.standings.remove(member);
    group.revision += 1;
    Verdict::Done { note: format!("{member} is a standby again"), by: None }
}

/// The step's own `retry`: what failed and is certainly over gets another attempt.
fn try_again(run: &mut Run, step: &Step, author: &Author, index: u64) {
    let again: Vec<HostName> = run.steps.get(&step.id).map_or(Vec::new(), |state| {
        state
            .tasks
            .iter()
            .filter(|task| {
                task.status == TaskStatus::Ended { outcome: Outcome::Failed } && task.attempt < step.retry.attempts
            })
            .map(|task| task.host.clone())
            .collect()
    });
    for host in again {
        new_attempt(run, &step.id, &host, author.when.plus(step.retry.delay), index);
        run.note(author, format!("step {} tries again on {host} in {}", step.id, step.retry.delay));
    }
}

/// Makes pending tasks due, as many at once as the step allows.
fn fill(run: &mut Run, step: &Step, now: Moment, index: u64) {
    let limit = step.parallel.map_or(usize::MAX, |limit| limit as usize);
    let Some(state) = run.steps.get(&step.id) else { return };
    if state.verdict != Verdict::Open {
        return;
    }
    let at_work =
        state.tasks.iter().filter(|task| !task.status.is_over() && task.status != TaskStatus::Pending).count();
    let next: Vec<HostName> = state
        .tasks
        .iter()
        .filter(|task| task.status == TaskStatus::Pending)
        .take(limit.saturating_sub(at_work))
        .map(|task| task.host.clone())
        .collect();
    for host in next {
        new_attempt(run, &step.id, &host, now, index);
    }
}

/// Another attempt, with `index` as its authority. Every order still open on the host is raised to it, because an agent
/// refuses an index older than one that it has seen.
pub(crate) fn new_attempt(run: &mut Run, step: &StepId, host: &HostName, not_before: Moment, index: u64) {
    run.mark = index;
    for (id, state) in &mut run.steps {
        for task in state.tasks.iter_mut().filter(|task| task.host == *host) {
            if id == step {
                let due = TaskStatus::Due { index, since: not_before, not_before };
                task.set(due);
                task.attempt += 1;
            } else if let TaskStatus::Due { index: authority, .. } = &mut task.status {
                *authority = index;
            }
        }
    }
}

/// Asks for a fence on the host before `intent` takes effect.
pub(crate) fn fence(run: &mut Run, step: &StepId, host: &HostName, intent: Intent, now: Moment, index: u64) {
    run.mark = index;
    set(run, step, host, TaskStatus::Fencing { index, since: now, intent });
}

pub(crate) fn set(run: &mut Run, step: &StepId, host: &HostName, status: TaskStatus) {
    if let Some(task) = run.steps.get_mut(step).and_then(|state| state.tasks.iter_mut().find(|task| task.host == *host))
    {
        task.set(status);
    }
}

/// A stage is over: keep what its steps found.
fn finish(state: &mut State, run: &mut Run, step: &Step, now: Moment) {
    let Some(step_state) = run.steps.get_mut(&step.id) else { return };
    step_state.ended.get_or_insert(now);
    if step.register.is_none() && step.keep.is_none() {
        return;
    }
    let found: Vec<(&HostName, &Value)> = step_state
        .tasks
        .iter()
        .filter_map(|task| task.report.as_ref().map(|report| (&task.host, &report.data)))
        .collect();
    let value = match found.as_slice() {
        [] => Value::Null,
        [(_, only)] if step_state.tasks.len() == 1 => (*only).clone(),
        several => several.iter().map(|(host, data)| (host.to_string(), (*data).clone())).collect(),
    };
    if let Some(name) = &step.register {
        run.registered.insert(name.clone(), value.clone());
    }
    if let Some(name) = &step.keep
        && let Some(group) = state.groups.get_mut(&run.plan.group)
    {
        group.facts.insert(name.clone(), value);
        group.revision += 1;
    }
}

fn end(run: &mut Run, author: &Author, phase: Phase) {
    run.note(author, phase.as_str());
    run.phase = phase;
    run.ended = Some(author.when);
}

/// Fences first, then undo steps in reverse order, then the end.
fn advance_abort(run: &mut Run, author: &Author, index: u64) {
    if run.undo.is_none() {
        if !run.fences_settled() {
            return;
        }
        run.undo = Some(list_undo(run));
    }
    loop {
        let Some(next) = run.undo.as_ref().and_then(|undo| undo.last().cloned()) else { break };
        let Some(state) = run.steps.get_mut(&next) else { break };
        if state.began.is_none() {
            state.began = Some(author.when);
            let hosts: Vec<HostName> = state.tasks.iter().map(|task| task.host.clone()).collect();
            for host in hosts {
                new_attempt(run, &next, &host, author.when, index);
            }
            return;
        }
        if let Some(task) = state.tasks.iter().find(|task| task.status.is_bad()) {
            let why = bad_end(&next, "undo", task);
            run.note(author, format!("abort halted: {why}"));
            run.phase = Phase::AbortHalted { why };
            return;
        }
        if !state.is_over() {
            return;
        }
        state.ended = Some(author.when);
        if let Some(undo) = run.undo.as_mut() {
            undo.pop();
        }
    }
    let undone = run.steps.iter().any(|(id, state)| id.0.ends_with("/undo") && state.ended.is_some());
    let phase = if run.transferred {
        let new = run.plan.new.as_ref().map_or("the target".to_owned(), ToString::to_string);
        Phase::Aborted {
            note: format!("the role has moved: {new} is primary; to go back, run a switchover to {}", run.plan.old),
        }
    } else if undone {
        Phase::RolledBack
    } else {
        Phase::Aborted { note: "nothing had to be undone".to_owned() }
    };
    end(run, author, phase);
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
            let id = if number == 0 {
                StepId(format!("{}/undo", step.id))
            } else {
                StepId(format!("{}.{number}/undo", step.id))
            };
            let tasks = chunk
                .into_iter()
                .map(|task| TaskState {
                    params: resolved(run, &task),
                    host: task.host,
                    action: task.action,
                    timeout: step.timeout,
                    attempt: 0,
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
fn resolved(run: &Run, task: &baton_model::plan::Task) -> Value {
    if !task.deferred {
        return task.params.clone();
    }
    expression::render(&task.params, &scope(run, Some(&task.host)), &BTreeSet::new())
        .map_or_else(|_| task.params.clone(), |rendered| rendered.value)
}

/// A step may undo with several actions, one after the other; each turn holds at most one task a host.
fn undo_in_turns(step: &Step, hosts: &[HostName]) -> Vec<Vec<baton_model::plan::Task>> {
    let mut turns: Vec<Vec<baton_model::plan::Task>> = Vec::new();
    for task in step.undo.iter().filter(|task| hosts.contains(&task.host)) {
        match turns.iter_mut().find(|turn| turn.iter().all(|other| other.host != task.host)) {
            Some(turn) => turn.push(task.clone()),
            None => turns.push(vec![task.clone()]),
        }
    }
    turns
}

fn may_have_had_an_effect(task: &TaskState) -> bool {
    match &task.status {
        TaskStatus::Pending => false,
        TaskStatus::Ended { outcome: Outcome::Unchanged | Outcome::Refused } => false,
        TaskStatus::Ended { .. } | TaskStatus::Due { .. } | TaskStatus::Fencing { .. } => true,
        TaskStatus::Skipped { .. } => task.report.as_ref().is_some_and(|report| report.outcome != Outcome::Unchanged),
    }
}
