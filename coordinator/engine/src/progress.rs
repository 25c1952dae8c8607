//! What follows from a change: the next stage, another attempt, a halt, the end.
//!
//! Runs inside `apply`, so that the entry which ends a stage is also the authority for the next one: one commit a step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_model::{
    author::Author,
    expression::{self, Expression, Scope},
    ids::{HostName, StepId},
    outcome::Outcome,
    plan::{Condition, OnFailure, Step, Work},
    time::Moment,
};
use serde_json::Value;

use crate::assign;
use crate::state::{
    FACTS_MAX, FOUND_BYTES_MAX, Phase, Run, State, StepState, TaskState, TaskStatus,
    run::{Intent, Verdict},
};

mod role;
mod undo;

/// Carries the run as far as it goes without news from outside.
pub(crate) fn advance(state: &mut State, run: &mut Run, author: &Author, index: u64) {
    loop {
        match run.phase {
            Phase::Running => {}
            // Nothing is done before it is known that it must be.
            Phase::Checking => return,
            Phase::Aborting => return undo::advance(run, author, index),
            Phase::Halted { .. }
            | Phase::AbortHalted { .. }
            | Phase::Succeeded
            | Phase::Aborted { .. }
            | Phase::RolledBack => return,
        }
        let plan = Arc::clone(&run.plan);
        let Some(stage) = plan.stages.get(run.stage) else {
            return end(run, author, Phase::Succeeded);
        };
        let steps = &stage.steps;
        if !run.stage_begun {
            let awaited = await_windows(run, steps, author);
            // Nothing of the stage begins before all may; what began before a retry goes on.
            let fresh = steps.iter().all(|step| run.steps.get(&step.id).is_none_or(|state| state.began.is_none()));
            if awaited && fresh {
                return;
            }
            run.stage_begun = !awaited;
            for step in steps {
                begin(state, run, step, author, index);
            }
        }
        // Before anything is made due: what is ordered in a run that halts would wait with its deadline running.
        if let Some(why) = held_up_by(run, steps) {
            run.note(author, format!("halted: {why}"));
            run.phase = Phase::Halted { why };
            return;
        }
        for step in steps {
            try_again(run, step, author, index);
            fill(run, &step.id, step.parallel, author.when, index);
        }
        if !steps.iter().all(|step| run.steps.get(&step.id).is_some_and(StepState::is_over)) {
            return;
        }
        let mut kept_all = true;
        for step in steps {
            kept_all &= finish(state, run, step, author.when);
        }
        if kept_all {
            run.stage += 1;
            run.stage_begun = false;
        }
    }
}

/// A task of this step, the one at `position`, has just gone well, and the run still waits for others of the step, so that
/// nothing can follow: [`advance`] looks at every task of a stage, and with thousands of hosts that is too much for each
/// report. `false` promises nothing.
pub(crate) fn others_are_awaited(run: &Run, step: &StepId, position: usize) -> bool {
    let stage = run.plan.stages.get(run.stage);
    let planned = stage.and_then(|stage| stage.steps.iter().find(|planned| planned.id == *step));
    let (Some(planned), Some(state)) = (planned, run.steps.get(step)) else { return false };
    // With `parallel`, the end of one task makes another one due.
    if run.phase != Phase::Running || planned.parallel.is_some() || state.verdict != Verdict::Open {
        return false;
    }
    // Beginning behind this one: reports come roughly in the order of the orders, so those behind are the open ones.
    let (before, after) = state.tasks.split_at(position);
    after.iter().skip(1).chain(before).any(|task| !task.status.is_over())
}

/// [`advance`] would change nothing. What the short cut of [`others_are_awaited`] promises, checked where assertions are.
/// A large run is not looked at: it would be copied with each report.
pub(crate) fn is_at_rest(state: &State, run: &Run, author: &Author, index: u64) -> bool {
    const TASKS_MAX: usize = 64;
    if run.steps.values().map(|step| step.tasks.len()).sum::<usize>() > TASKS_MAX {
        return true;
    }
    let (mut state_after, mut run_after) = (state.clone(), run.clone());
    advance(&mut state_after, &mut run_after, author, index);
    (&state_after, &run_after) == (state, run)
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
    steps.iter().find_map(|step| {
        let state = run.steps.get(&step.id)?;
        if let Verdict::Failed { why } = &state.verdict
            && must_succeed(step)
        {
            return Some(format!("step {} \"{}\": {why}", step.id, step.name));
        }
        // A step that may fail may not be of unknown end: what may still be at work is not stepped over.
        let holds = |task: &&TaskState| {
            let unknown = task.status == TaskStatus::Ended { outcome: Outcome::Unknown };
            task.status.is_bad() && !tries_again(step, task) && (must_succeed(step) || unknown)
        };
        let bad = state.tasks.iter().find(holds);
        bad.map(|task| bad_end(&step.id, &step.name, task))
    })
}

/// A role that did not move never lets the run go on as if it had.
fn must_succeed(step: &Step) -> bool {
    step.on_failure == OnFailure::Halt || matches!(step.work, Work::Transfer { .. })
}

/// The step's own `retry` covers it.
fn tries_again(step: &Step, task: &TaskState) -> bool {
    task.status == TaskStatus::Ended { outcome: Outcome::Failed } && task.attempt < step.retry.attempts
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
    // Others of the stage may have begun before a retry: what is at work is not begun again, nor what was left out meanwhile.
    if run.steps.get(&step.id).is_none_or(|current| current.began.is_some() || current.verdict != Verdict::Open) {
        return;
    }
    let verdict = match condition_holds(run, step) {
        Err(why) => Verdict::Failed { why },
        Ok(Some(why_not)) => Verdict::Skipped { why: why_not },
        Ok(None) => match &step.work {
            Work::Act { tasks } if tasks.is_empty() => Verdict::Done { note: "no host".to_owned(), by: None },
            Work::Act { .. } => match resolve(run, step) {
                Ok(()) => Verdict::Open,
                Err(why) => Verdict::Failed { why },
            },
            Work::Transfer { detach_old, because } => {
                let group = state.groups.get(&run.plan.group);
                let held = group.is_some_and(|group| assign::holders(group).next().is_some());
                let overridden = run.overridden("lease").map(str::to_owned);
                if let Some(why) = overridden.as_ref().filter(|_| held) {
                    run.note(author, format!("the old primary's lease is not waited for: lease is overridden: {why}"));
                }
                let waits = held && overridden.is_none();
                match waits {
                    true => Verdict::AwaitsLease { index, since: now, ended: BTreeMap::new() },
                    false => role::transfer(state, run, step, *detach_old, because.as_ref(), author),
                }
            }
            Work::Rearm => role::rearm(state, run, author),
            Work::Rejoin { member } => role::rejoin(state, run, member),
            Work::Detach { member, because } => role::detach(state, run, step, member, because, author),
            Work::ProveUnreachable { guard, .. } => {
                let overridden = guard.as_ref().and_then(|guard| Some((guard, run.overridden(guard)?)));
                match overridden {
                    Some((guard, why)) => Verdict::Skipped { why: format!("{guard} is overridden: {why}") },
                    None => Verdict::Probing { index },
                }
            }
            Work::Confirm { .. } | Work::Approval { .. } => Verdict::Waiting,
        },
    };
    run.mark = index;
    let Some(current) = run.steps.get_mut(&step.id) else { return };
    current.began = Some(now);
    if !matches!(verdict, Verdict::Open | Verdict::Waiting | Verdict::Probing { .. } | Verdict::AwaitsLease { .. }) {
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

/// The old primary's lease has ended everywhere: the role moves, or it is said why not.
pub(crate) fn transfer_now(state: &mut State, run: &mut Run, step: &Step, author: &Author) {
    let Work::Transfer { detach_old, because } = &step.work else { return };
    let verdict = role::transfer(state, run, step, *detach_old, because.as_ref(), author);
    let Some(current) = run.steps.get_mut(&step.id) else { return };
    current.verdict = verdict;
    current.ended = Some(author.when);
}

/// Marks the steps that must wait for their windows, and no others. Answers whether one waits.
fn await_windows(run: &mut Run, steps: &[Step], author: &Author) -> bool {
    let mut one_waits = false;
    for step in steps {
        let waits = must_wait(run, step);
        one_waits |= waits;
        let Some(state) = run.steps.get_mut(&step.id) else { continue };
        match (waits, &state.verdict) {
            (true, Verdict::Open) => {
                state.verdict = Verdict::AwaitsWindow;
                if let Some(window) = step.window.as_ref().filter(|window| !window.is_open(author.when)) {
                    run.note(author, format!("step {} waits for {}", step.id, window.wait(author.when)));
                }
            }
            (false, Verdict::AwaitsWindow) => state.verdict = Verdict::Open,
            _ => {}
        }
    }
    one_waits
}

/// The step's window has not been found open yet, and nothing speaks against waiting: only an entry that says so ends it.
fn must_wait(run: &Run, step: &Step) -> bool {
    let Some(state) = run.steps.get(&step.id) else { return false };
    step.window.is_some()
        && state.began.is_none()
        && state.window_opened.is_none()
        && matches!(state.verdict, Verdict::Open | Verdict::AwaitsWindow)
        && run.overridden("window").is_none()
        // What is left out needs no window. A condition without a value is told when the step begins.
        && !matches!(condition_holds(run, step), Ok(Some(_)))
}

/// `None`: it holds. `Some`: why the step is left out.
fn condition_holds(run: &Run, step: &Step) -> Result<Option<String>, String> {
    match &step.condition {
        Condition::Always => Ok(None),
        Condition::Never(expression) => Ok(Some(format!("when: {expression} is false"))),
        Condition::Deferred(text) => {
            let expression = Expression::parse(text).map_err(|error| error.to_string())?;
            match expression.evaluate(&scope(run, step)).map_err(|error| error.to_string())? {
                Value::Bool(true) => Ok(None),
                Value::Bool(false) => Ok(Some(format!("when: {text} is false"))),
                other => Err(format!("when: {text} is {other}, not true or false")),
            }
        }
    }
}

/// What expressions that had to wait see.
fn scope(run: &Run, step: &Step) -> Scope {
    let mut scope: Scope = run.plan.scope.clone();
    scope.extend(run.registered.iter().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(item) = &step.item {
        scope.insert("item".to_owned(), item.clone());
    }
    scope
}

/// Makes `scope` the one of a task on `host`.
fn enter(scope: &mut Scope, run: &Run, host: &HostName) {
    match run.plan.scope.get("hosts").and_then(|hosts| hosts.get(host.as_str())) {
        Some(value) => scope.insert("host".to_owned(), value.clone()),
        None => scope.remove("host"),
    };
}

/// Fills in what earlier steps registered.
fn resolve(run: &mut Run, step: &Step) -> Result<(), String> {
    let Work::Act { tasks } = &step.work else { return Ok(()) };
    if tasks.iter().all(|task| !task.deferred) {
        return Ok(());
    }
    // One scope for all hosts: a thousand hosts must not make a thousand copies of a scope that holds a thousand hosts.
    let mut scope = scope(run, step);
    let mut rendered = Vec::new();
    for planned in tasks.iter().filter(|task| task.deferred) {
        enter(&mut scope, run, &planned.host);
        let params = expression::render(&planned.params, &scope, &BTreeSet::new())
            .map_err(|error| format!("on {}: {error}", planned.host))?;
        rendered.push((&planned.host, params.value));
    }
    let Some(state) = run.steps.get_mut(&step.id) else { return Ok(()) };
    let mut tasks: BTreeMap<HostName, &mut TaskState> =
        state.tasks.iter_mut().map(|task| (task.host.clone(), task)).collect();
    for (host, params) in rendered {
        if let Some(task) = tasks.get_mut(host) {
            task.params = params;
        }
    }
    Ok(())
}

/// The step's own `retry`: what failed and is certainly over gets another attempt.
fn try_again(run: &mut Run, step: &Step, author: &Author, index: u64) {
    let again: BTreeSet<HostName> = run.steps.get(&step.id).map_or(BTreeSet::new(), |state| {
        state.tasks.iter().filter(|task| tries_again(step, task)).map(|task| task.host.clone()).collect()
    });
    new_attempts(run, &step.id, &again, author.when.plus(step.retry.delay), index);
    for host in again {
        run.note(author, format!("step {} tries again on {host} in {}", step.id, step.retry.delay));
    }
}

/// Makes pending tasks due, as many at once as the step allows.
fn fill(run: &mut Run, step: &StepId, parallel: Option<u32>, now: Moment, index: u64) {
    let limit = parallel.map_or(usize::MAX, |limit| limit as usize);
    let Some(state) = run.steps.get(step) else { return };
    if state.verdict != Verdict::Open || state.began.is_none() {
        return;
    }
    let at_work =
        state.tasks.iter().filter(|task| !task.status.is_over() && task.status != TaskStatus::Pending).count();
    let next: BTreeSet<HostName> = state
        .tasks
        .iter()
        .filter(|task| task.status == TaskStatus::Pending)
        .take(limit.saturating_sub(at_work))
        .map(|task| task.host.clone())
        .collect();
    new_attempts(run, step, &next, now, index);
}

/// Another attempt on each host, with `index` as its authority. Every order still open on these hosts is raised to it,
/// because an agent refuses an index older than one that it has seen.
fn new_attempts(run: &mut Run, step: &StepId, hosts: &BTreeSet<HostName>, not_before: Moment, index: u64) {
    if hosts.is_empty() {
        return;
    }
    raise_open_orders(run, hosts, index);
    let Some(state) = run.steps.get_mut(step) else { return };
    for task in state.tasks.iter_mut().filter(|task| hosts.contains(&task.host)) {
        task.set(TaskStatus::Due { index, since: not_before, not_before });
        task.attempt += 1;
        task.dispatched = false;
    }
}

/// What is still wanted on these hosts is wanted under the newest authority.
fn raise_open_orders(run: &mut Run, hosts: &BTreeSet<HostName>, index: u64) {
    run.mark = index;
    for task in run.steps.values_mut().flat_map(|state| &mut state.tasks) {
        if let TaskStatus::Due { index: authority, .. } = &mut task.status
            && hosts.contains(&task.host)
        {
            *authority = index;
        }
    }
}

/// Asks for a fence on the host before `intent` takes effect.
pub(crate) fn fence(run: &mut Run, step: &StepId, host: &HostName, intent: Intent, now: Moment, index: u64) {
    set(run, step, host, TaskStatus::Fencing { index, since: now, intent });
    // The host will refuse what is older than the fence; another step's order there is still wanted.
    raise_open_orders(run, &BTreeSet::from([host.clone()]), index);
}

pub(crate) fn set(run: &mut Run, step: &StepId, host: &HostName, status: TaskStatus) {
    if let Some(task) = run.steps.get_mut(step).and_then(|state| state.tasks.iter_mut().find(|task| task.host == *host))
    {
        task.set(status);
    }
}

/// A stage is over: keep what its steps found. `false` where that is more than the state may hold: the step has failed then.
fn finish(state: &mut State, run: &mut Run, step: &Step, now: Moment) -> bool {
    let Some(step_state) = run.steps.get_mut(&step.id) else { return true };
    step_state.ended.get_or_insert(now);
    if step.register.is_none() && step.keep.is_none() {
        return true;
    }
    let found: Vec<(&HostName, &Value)> = match step_state.verdict {
        Verdict::Open => step_state
            .tasks
            .iter()
            .filter_map(|task| task.report.as_ref().map(|report| (&task.host, &report.data)))
            .collect(),
        Verdict::Waiting
        | Verdict::AwaitsWindow
        | Verdict::Probing { .. }
        | Verdict::AwaitsLease { .. }
        | Verdict::Done { .. }
        | Verdict::Skipped { .. }
        | Verdict::Failed { .. } => Vec::new(),
    };
    let nothing = found.is_empty();
    let value = match found.as_slice() {
        [] => Value::Null,
        [(_, only)] if step_state.tasks.len() == 1 => (*only).clone(),
        several => several.iter().map(|(host, data)| (host.to_string(), (*data).clone())).collect(),
    };
    let bytes = value.to_string().len();
    if bytes > FOUND_BYTES_MAX {
        let why = format!("its hosts found {bytes} bytes of data together; at most {FOUND_BYTES_MAX} are kept");
        step_state.verdict = Verdict::Failed { why };
        return false;
    }
    if let Some(name) = &step.keep
        && let Some(group) = state.groups.get_mut(&run.plan.group)
        // A step that was left out found nothing, and what an earlier run found still holds.
        && !nothing
    {
        if !group.facts.contains_key(name) && group.facts.len() >= FACTS_MAX {
            let why =
                format!("the group keeps {} facts already; at most {FACTS_MAX}, so {name} is not kept", FACTS_MAX);
            step_state.verdict = Verdict::Failed { why };
            return false;
        }
        group.facts.insert(name.clone(), value.clone());
        group.revision += 1;
    }
    if let Some(name) = &step.register {
        run.registered.insert(name.clone(), value);
    }
    true
}

fn end(run: &mut Run, author: &Author, phase: Phase) {
    run.note(author, phase.as_str());
    run.phase = phase;
    run.ended = Some(author.when);
}
