//! Which member the role moves to. A refusal lists every candidate and why it is out.

use baton_model::{group::Group, ids::MemberName, outcome::Fault, runbook::Runbook};

use crate::request::{Request, Situation};

/// `None` where the runbook leaves the role where it is and no member was named.
pub(crate) fn choose(
    group: &Group,
    runbook: &Runbook,
    situation: &Situation,
    request: &Request,
) -> Result<Option<MemberName>, Fault> {
    if let Some(wanted) = &request.to {
        if !group.members.contains_key(wanted) {
            return Err(Fault::new(
                "BTN-0132",
                format!("group {} has no member {wanted}; candidates: {}.", group.name, candidates(group, situation)),
                "Name one with --to.",
            ));
        }
        if runbook.transfers()
            && let Some(why) = why_not(wanted, situation)
        {
            return Err(Fault::new(
                "BTN-0133",
                format!("{wanted} cannot become primary: {why}; candidates: {}.", candidates(group, situation)),
                "Choose another member with --to.",
            ));
        }
        return Ok(Some(wanted.clone()));
    }
    if !runbook.transfers() {
        return Ok(None);
    }
    let mut fit = group.members.keys().filter(|member| why_not(member, situation).is_none());
    match (fit.next(), fit.next()) {
        (Some(only), None) => Ok(Some(only.clone())),
        (None, _) => Err(Fault::new(
            "BTN-0134",
            format!("no member of {} can become primary: {}.", group.name, candidates(group, situation)),
            "Bring one back with its rejoin runbook, or name one with --to.",
        )),
        (Some(_), Some(_)) => Err(Fault::new(
            "BTN-0135",
            format!("several members of {} can become primary: {}.", group.name, candidates(group, situation)),
            "Choose one with --to.",
        )),
    }
}

fn why_not(member: &MemberName, situation: &Situation) -> Option<String> {
    if *member == situation.primary {
        return Some(format!("it is primary already (epoch {})", situation.epoch));
    }
    situation.standings.get(member).map(|standing| format!("it is {standing}"))
}

fn candidates(group: &Group, situation: &Situation) -> String {
    let words: Vec<String> = group
        .members
        .keys()
        .map(|member| match why_not(member, situation) {
            None => format!("{member} (fit)"),
            Some(why) => format!("{member} (out: {why})"),
        })
        .collect();
    words.join(", ")
}
