//! What the coordinators saw when they tried to connect. The verdict is reached here, on every node alike.

use std::sync::Arc;

use baton_model::{
    ids::{RunId, StepId},
    outcome::Fault,
    plan::Work,
};

use crate::{
    command::Answer,
    progress,
    sighting::{Connection, SIGHTINGS_MAX, Sighting, WHY_BYTES_MAX, unreachable},
    state::{State, run::Verdict},
};

use super::{Context, with_run};

/// What a proposal says.
pub(super) struct Said<'a> {
    pub index: u64,
    pub sightings: &'a [Sighting],
    pub coordinators: u32,
}

pub(super) fn report(
    state: &mut State,
    context: &Context<'_>,
    id: &RunId,
    step: &StepId,
    said: &Said<'_>,
) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        let plan = Arc::clone(&run.plan);
        let planned = plan.steps().find(|planned| planned.id == *step);
        let Some((endpoints, from)) = planned.and_then(|planned| match &planned.work {
            Work::ProveUnreachable { endpoints, from, .. } => Some((endpoints, *from)),
            _ => None,
        }) else {
            return Ok(Answer::Already);
        };
        // What an earlier question found says nothing about now.
        let asked = run.steps.get(step).is_some_and(|state| state.verdict == Verdict::Probing { index: said.index });
        if !asked || run.phase.is_over() || run.phase.is_abort() {
            return Ok(Answer::Already);
        }
        within_bounds(said.sightings, endpoints.len())?;
        let verdict = match unreachable(endpoints, said.sightings, from, said.coordinators) {
            Ok(note) => Verdict::Done { note, by: None },
            Err(why) => Verdict::Failed { why },
        };
        if let Verdict::Done { note: what, .. } | Verdict::Failed { why: what } = &verdict {
            run.note(context.author, format!("step {step}: {what}"));
        }
        if let Some(current) = run.steps.get_mut(step) {
            current.verdict = verdict;
            current.ended = Some(context.author.when);
        }
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

/// Replicated state stays small. Leaders cut before they propose; what is larger comes from a broken one.
fn within_bounds(sightings: &[Sighting], endpoints: usize) -> Result<(), Fault> {
    let long = |sighting: &Sighting| {
        let why = sighting.endpoints.iter().map(|seen| match &seen.connection {
            Connection::Made => 0,
            Connection::NotMade { why } | Connection::CannotTell { why } => why.len(),
        });
        sighting.endpoints.len() > endpoints || why.max().unwrap_or(0) > WHY_BYTES_MAX
    };
    if sightings.len() <= SIGHTINGS_MAX && !sightings.iter().any(long) {
        return Ok(());
    }
    Err(Fault::new(
        "BTN-0120",
        format!("what {} coordinators saw is more than {endpoints} short lines each.", sightings.len()),
        "This is a defect; report it.",
    ))
}
