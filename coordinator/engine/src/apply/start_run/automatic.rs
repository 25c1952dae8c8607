//! Whether a run may start by itself. Held against committed state, whoever proposes it: a leader that judged wrongly starts nothing.

use baton_model::{author::Actor, outcome::Fault, plan::Plan};

use crate::state::State;

use super::super::{Context, no_group};

pub(super) fn may_start(state: &State, context: &Context<'_>, plan: &Plan) -> Result<(), Fault> {
    let name = &plan.group;
    let group = state.groups.get(name).ok_or_else(|| no_group(name))?;
    let refuse = |code: &str, message: String, remedy: String| Err(Fault::new(code, message, remedy));
    if !matches!(context.author.who, Actor::Coordinator(_)) {
        return refuse(
            "BTN-0180",
            format!("{} says that {name} fails over by itself.", context.author.who),
            "Only coordinators judge that; start the runbook yourself.".to_owned(),
        );
    }
    let Some(rule) = group.definition.automatic.as_ref().filter(|rule| rule.runbook == plan.runbook) else {
        return refuse(
            "BTN-0181",
            format!("group {name} does not run {} by itself.", plan.runbook),
            "Its file says so under automatic; apply another one to change that.".to_owned(),
        );
    };
    if let Some(paused) = &group.automatic.paused {
        return refuse(
            "BTN-0182",
            format!("automatic failover of {name} is paused by {}: {}.", paused.who, paused.why),
            format!("Go on with \"baton auto resume {name}\"."),
        );
    }
    if let Some(limited) = &group.automatic.limited {
        return refuse(
            "BTN-0183",
            format!("group {name} is limited since {}: it failed over by itself ({}).", limited.by, limited.why),
            format!("Switch back, or arm it again with \"baton auto rearm {name} --reason …\"."),
        );
    }
    if let Some(fired) = group.automatic.fired {
        let since = context.author.when.since(fired);
        if since < rule.cooldown {
            return refuse(
                "BTN-0184",
                format!("group {name} started a run by itself {since} ago, and its cooldown is {}.", rule.cooldown),
                "It is judged again afterwards.".to_owned(),
            );
        }
    }
    Ok(())
}
