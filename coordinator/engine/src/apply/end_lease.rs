//! The lease of one of the old primary's hosts has ended, or did not end in time. The transfer that waits for it goes on when all have.

use std::sync::Arc;

use baton_model::{
    ids::{Epoch, GroupName, HostName, RunId, StepId},
    outcome::Fault,
};

use crate::{
    assign,
    command::Answer,
    progress,
    state::{Phase, State, run::Verdict},
};

use super::{Context, with_run};

pub(super) fn end(
    state: &mut State,
    context: &Context<'_>,
    id: &RunId,
    step: &StepId,
    since: u64,
    host: &HostName,
    how: &str,
) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        if run.phase.is_over() || run.phase.is_abort() {
            return Ok(Answer::Already);
        }
        let Some(Verdict::AwaitsLease { index, ended, .. }) = run.steps.get_mut(step).map(|step| &mut step.verdict)
        else {
            return Ok(Answer::Already);
        };
        // What was proven for an earlier wait says nothing about this one: the lease was renewed in between.
        if *index != since || ended.contains_key(host) {
            return Ok(Answer::Already);
        }
        let Some(group) = state.groups.get(&id.group) else { return Ok(Answer::Already) };
        if !assign::holders(group).any(|holder| holder == host) {
            return Ok(Answer::Already);
        }
        ended.insert(host.clone(), how.to_owned());
        let all = assign::holders(group).all(|holder| ended.contains_key(holder));
        run.note(context.author, format!("the lease of {host} has ended: {how}"));
        if all {
            let plan = Arc::clone(&run.plan);
            if let Some(planned) = plan.steps().find(|planned| planned.id == *step) {
                progress::transfer_now(state, run, planned, context.author);
            }
        }
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// Its agent said that it holds the lease: from now on its silence says something.
pub(super) fn hold(state: &mut State, name: &GroupName, host: &HostName, epoch: Epoch) -> Result<Answer, Fault> {
    let Some(group) = state.groups.get_mut(name) else { return Ok(Answer::Already) };
    if group.epoch != epoch || !assign::holders(group).any(|holder| holder == host) {
        return Ok(Answer::Already);
    }
    Ok(if group.holding.insert(host.clone()) { Answer::Done } else { Answer::Already })
}

pub(super) fn give_up(
    state: &mut State,
    context: &Context<'_>,
    id: &RunId,
    step: &StepId,
    since: u64,
    why: &str,
) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        let Some(current) = run.steps.get_mut(step) else { return Ok(Answer::Already) };
        let waits = matches!(current.verdict, Verdict::AwaitsLease { index, .. } if index == since);
        if !waits || !matches!(run.phase, Phase::Running | Phase::Halted { .. }) {
            return Ok(Answer::Already);
        }
        current.verdict = Verdict::Failed { why: why.to_owned() };
        current.ended = Some(context.author.when);
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}
