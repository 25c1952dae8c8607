//! The only way the replicated state changes: one file a command.
//!
//! Every node applies the same entries in the same order and must come to the same bytes. Nothing here may read a clock,
//! draw a random number or do I/O.

use baton_model::{
    author::Author,
    digest::Digest,
    ids::{GroupName, RunId},
    outcome::Fault,
};

use crate::{
    command::{Answer, Command, Proposal},
    state::{ENDED_RUNS_MAX, REQUESTS_MAX, Run, State},
};

mod abort_run;
mod acknowledge_fence;
mod confirm_cause;
mod confirm_step;
mod declare_lost;
mod define_group;
mod end_lease;
mod expire_task;
mod open_window;
mod override_guard;
mod pause_automatic;
mod raise_generation;
mod record_deeds;
mod record_dispatch;
mod record_sample;
mod report_sightings;
mod report_task;
mod resume_run;
mod retry_tasks;
mod skip_tasks;
mod skip_unreachable;
mod start_run;

/// Where an entry stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// What a command's file is given besides the state.
struct Context<'a> {
    index: u64,
    author: &'a Author,
}

/// Applies one entry. A refusal changes nothing but the index and the record of requests.
pub fn apply(state: &mut State, position: Position, proposal: &Proposal) -> Answer {
    assert!(position.index > state.index, "entry {} after {} was applied", position.index, state.index);
    state.index = position.index;
    state.latest = state.latest.max(proposal.author.when);
    if let Some(request) = &proposal.request
        && let Some(answer) = state.answer_of(request)
    {
        return answer.clone();
    }
    let context = Context { index: position.index, author: &proposal.author };
    let answer = match dispatch(state, &context, &proposal.command) {
        Ok(answer) => answer,
        Err(fault) => Answer::Refused { fault },
    };
    if !matches!(answer, Answer::Refused { .. } | Answer::Already) {
        let record = serde_json::to_string(&(&state.audit.digest, position.index, proposal))
            .expect("proposals have string keys and no failing serializers");
        state.audit.entries += 1;
        state.audit.digest = Digest::of_bytes(record.as_bytes());
    }
    if let Some(request) = &proposal.request {
        if state.requests.len() == REQUESTS_MAX {
            state.requests.pop_front();
        }
        state.requests.push_back((request.clone(), answer.clone()));
    }
    answer
}

fn dispatch(state: &mut State, context: &Context<'_>, command: &Command) -> Result<Answer, Fault> {
    match command {
        Command::DefineGroup { group, definition } => define_group::define(state, context, group, definition),
        Command::RemoveGroup { group } => define_group::remove(state, group),
        Command::StartRun { plan, digest, acceptance, cause } => {
            let said = start_run::Said { acceptance: acceptance.as_deref(), cause: cause.as_deref() };
            start_run::start(state, context, plan, digest, &said)
        }
        Command::RecordSample { group, sample, host, sampled } => {
            record_sample::record(state, group, sample, host, sampled)
        }
        Command::ConfirmCause { run, evidence } => confirm_cause::confirm(state, context, run, evidence),
        Command::CallOffRun { run, why } => confirm_cause::call_off(state, context, run, why),
        Command::EndLease { run, step, index, host, how } => {
            end_lease::end(state, context, run, step, *index, host, how)
        }
        Command::RecordHolding { group, host, epoch } => end_lease::hold(state, group, host, *epoch),
        Command::GiveUpLease { run, step, index, why } => end_lease::give_up(state, context, run, step, *index, why),
        Command::SetAutomatic { group, word } => pause_automatic::say(state, context, group, *word),
        Command::RecordJudgement { group, what } => pause_automatic::judge(state, context, group, what),
        Command::RecordDeeds { host, deeds } => record_deeds::record(state, context, host, deeds),
        Command::ReportTask { task, report } => report_task::report(state, context, task, report),
        Command::DeclineTask { task, fault } => report_task::decline(state, context, task, fault),
        Command::ExpireTask { task } => expire_task::expire(state, context, task),
        Command::RecordDispatch { tasks } => record_dispatch::record(state, tasks),
        Command::SkipUnreachable { task, evidence, at_rest } => {
            skip_unreachable::skip(state, context, task, evidence, *at_rest)
        }
        Command::AcknowledgeFence { run, host, index } => {
            acknowledge_fence::acknowledge(state, context, run, host, *index)
        }
        Command::ConfirmStep { run, step } => confirm_step::confirm(state, context, run, step),
        Command::OpenWindow { run, stage, clocks, coordinators } => {
            open_window::open(state, context, run, *stage, clocks, *coordinators)
        }
        Command::ReportSightings { run, step, index, sightings, coordinators } => {
            let said = report_sightings::Said { index: *index, sightings, coordinators: *coordinators };
            report_sightings::report(state, context, run, step, &said)
        }
        Command::OverrideGuard { run, guard } => override_guard::override_guard(state, context, run, guard),
        Command::RetryTasks { run, target } => retry_tasks::retry(state, context, run, target),
        Command::SkipTasks { run, target } => skip_tasks::skip(state, context, run, target),
        Command::ResumeRun { run } => resume_run::resume(state, context, run),
        Command::AbortRun { run } => abort_run::abort(state, context, run),
        Command::DeclareLost { group, member } => declare_lost::declare(state, context, group, member),
        Command::RaiseGeneration { generation } => raise_generation::raise(state, *generation),
    }
}

/// Takes a run out of the state to work on it beside its group, and puts it back.
fn with_run<T>(
    state: &mut State,
    id: &RunId,
    work: impl FnOnce(&mut State, &mut Run) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut run = state.runs.remove(id).ok_or_else(|| no_run(id))?;
    let result = work(state, &mut run);
    let over = run.phase.is_over();
    state.runs.insert(id.clone(), run);
    if over {
        close(state, id);
    }
    result
}

/// A run that is over frees its group; the oldest ended runs leave the state.
fn close(state: &mut State, id: &RunId) {
    if let Some(group) = state.groups.get_mut(&id.group)
        && group.open_run.as_ref() == Some(id)
    {
        group.open_run = None;
    }
    let ended: Vec<RunId> = state
        .runs
        .values()
        .filter(|run| run.id.group == id.group && run.phase.is_over())
        .map(|run| run.id.clone())
        .collect();
    for old in ended.iter().take(ended.len().saturating_sub(ENDED_RUNS_MAX)) {
        state.runs.remove(old);
    }
}

fn no_run(id: &RunId) -> Fault {
    Fault::new("BTN-0111", format!("there is no run {id}."), "List the runs with \"baton runs\".")
}

fn no_group(group: &GroupName) -> Fault {
    Fault::new("BTN-0110", format!("there is no group {group}."), "List the groups with \"baton status\".")
}
