//! An operator's words on failing over without a person: pause it, go on, arm it again.

use baton_model::{ids::GroupName, outcome::Fault};

use crate::{
    command::{Answer, AutomaticWord},
    state::State,
};

use super::{Context, define_group::busy, no_group};

pub(super) fn say(
    state: &mut State,
    context: &Context<'_>,
    name: &GroupName,
    word: AutomaticWord,
) -> Result<Answer, Fault> {
    let group = state.groups.get_mut(name).ok_or_else(|| no_group(name))?;
    if context.author.why.trim().is_empty() && word != AutomaticWord::Resume {
        return Err(Fault::new(
            "BTN-0122",
            format!("to {} the automatic failover of {name} needs a reason.", word.as_str()),
            "Give one with --reason.",
        ));
    }
    match word {
        AutomaticWord::Pause => {
            if group.automatic.paused.is_some() {
                return Ok(Answer::Already);
            }
            group.automatic.paused = Some(context.author.clone());
        }
        AutomaticWord::Resume => {
            if group.automatic.paused.take().is_none() {
                return Ok(Answer::Already);
            }
        }
        AutomaticWord::Rearm => {
            // The run that it is limited by must be over: a second one beside it would be no rearming.
            if let Some(open) = &group.open_run {
                return Err(busy(name, open));
            }
            let Some(limited) = group.automatic.limited.take() else { return Ok(Answer::Already) };
            let what = format!("armed again by {} ({}), after {}", context.author.who, context.author.why, limited.by);
            group.automatic.judge(context.author.when, super::confirm_cause::within(&what));
        }
    }
    Ok(Answer::Done)
}

/// What a policy that only observes would have done.
pub(super) fn judge(state: &mut State, context: &Context<'_>, name: &GroupName, what: &str) -> Result<Answer, Fault> {
    let group = state.groups.get_mut(name).ok_or_else(|| no_group(name))?;
    group.automatic.judge(context.author.when, super::confirm_cause::within(what));
    Ok(Answer::Done)
}
