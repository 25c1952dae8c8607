//! A run that started by itself: before its first act the fault is looked at again. It is still there, or the run is called off.

use baton_model::{ids::RunId, outcome::Fault};

use crate::{
    command::Answer,
    progress,
    state::{Limited, Phase, State, automatic::WORDS_BYTES_MAX},
};

use super::{Context, with_run};

/// From here on the group is limited, whatever becomes of the run: it fires once.
pub(super) fn confirm(state: &mut State, context: &Context<'_>, id: &RunId, evidence: &str) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        if run.phase != Phase::Checking {
            return Ok(Answer::Already);
        }
        let evidence = within(evidence);
        run.note(context.author, format!("still so: {evidence}"));
        if let Some(group) = state.groups.get_mut(&id.group) {
            group.automatic.fired = Some(context.author.when);
            group.automatic.limited = Some(Limited { by: id.clone(), since: context.author.when, why: evidence });
        }
        run.phase = Phase::Running;
        progress::advance(state, run, context.author, context.index);
        Ok(Answer::Done)
    })
}

pub(super) fn call_off(state: &mut State, context: &Context<'_>, id: &RunId, why: &str) -> Result<Answer, Fault> {
    if !state.runs.contains_key(id) {
        return Ok(Answer::Already);
    }
    with_run(state, id, |state, run| {
        if run.phase != Phase::Checking {
            return Ok(Answer::Already);
        }
        let note = format!("called off before anything was done: {}", within(why));
        if let Some(group) = state.groups.get_mut(&id.group) {
            group.automatic.judge(context.author.when, format!("{id} {note}"));
        }
        run.note(context.author, note.clone());
        run.phase = Phase::Aborted { note };
        run.ended = Some(context.author.when);
        Ok(Answer::Done)
    })
}

/// Replicated state stays small.
pub(super) fn within(words: &str) -> String {
    let end = (0..=WORDS_BYTES_MAX.min(words.len())).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
    words[..end].to_owned()
}
