//! The member will not come back as it was; the role may move without waiting for it.

use baton_model::{
    ids::{GroupName, MemberName},
    outcome::Fault,
};

use crate::{
    command::Answer,
    state::{Standing, State},
};

use super::{Context, define_group::busy, no_group};

pub(super) fn declare(
    state: &mut State,
    context: &Context<'_>,
    name: &GroupName,
    member: &MemberName,
) -> Result<Answer, Fault> {
    let group = state.groups.get_mut(name).ok_or_else(|| no_group(name))?;
    if let Some(open) = &group.open_run {
        return Err(busy(name, open));
    }
    if context.author.why.trim().is_empty() {
        return Err(Fault::new(
            "BTN-0122",
            format!("declaring {member} lost needs a reason."),
            "Give one with --reason.",
        ));
    }
    if *member == group.primary || !group.definition.members.contains(member) {
        return Err(Fault::new(
            "BTN-0124",
            format!("{member} cannot be declared lost: it is primary of {name}, or not a member."),
            format!("Members: {}.", join(group.definition.members.iter())),
        ));
    }
    if matches!(group.standings.get(member), Some(Standing::Lost { .. })) {
        return Ok(Answer::Already);
    }
    group
        .standings
        .insert(member.clone(), Standing::Lost { since: context.author.when, why: context.author.why.clone() });
    group.revision += 1;
    Ok(Answer::Done)
}

fn join<'a>(members: impl Iterator<Item = &'a MemberName>) -> String {
    members.map(|member| member.as_str()).collect::<Vec<_>>().join(", ")
}
