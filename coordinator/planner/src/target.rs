//! Which member the role moves to. A refusal lists every candidate and why it is out.

use std::collections::BTreeMap;

use baton_model::{expression::Scope, group::Group, ids::MemberName, outcome::Fault, runbook::Runbook};
use serde_json::Value;

use crate::{
    request::{Request, Situation},
    rule::{broken, overridden, override_words},
    scope,
};

/// `None` where the runbook leaves the role where it is and no member was named.
pub(crate) fn choose(
    group: &Group,
    runbook: &Runbook,
    situation: &Situation,
    request: &Request,
    inputs: &BTreeMap<String, Value>,
) -> Result<Option<MemberName>, Fault> {
    let candidates =
        Candidates { group, runbook, situation, request, scope: scope::scope(group, runbook, situation, None, inputs) };
    if let Some(wanted) = &request.to {
        if !group.members.contains_key(wanted) {
            return Err(Fault::new(
                "BTN-0132",
                format!("group {} has no member {wanted}; candidates: {}.", group.name, candidates.told()),
                "Name one with --to.",
            ));
        }
        if let Some(why) = candidates.why_not(wanted) {
            let what = if runbook.transfers() { "become primary" } else { "be the target" };
            return Err(Fault::new(
                "BTN-0133",
                format!("{wanted} cannot {what}: {why}; candidates: {}.", candidates.told()),
                candidates.remedy("Choose another member with --to", Some(wanted)),
            ));
        }
        return Ok(Some(wanted.clone()));
    }
    if !runbook.transfers() {
        return Ok(None);
    }
    let mut fit = group.members.keys().filter(|member| candidates.why_not(member).is_none());
    match (fit.next(), fit.next()) {
        (Some(only), None) => Ok(Some(only.clone())),
        (None, _) => Err(Fault::new(
            "BTN-0134",
            format!("no member of {} can become primary: {}.", group.name, candidates.told()),
            candidates.remedy("Bring one back with its rejoin runbook, or name one with --to", None),
        )),
        (Some(_), Some(_)) => Err(Fault::new(
            "BTN-0135",
            format!("several members of {} can become primary: {}.", group.name, candidates.told()),
            "Choose one with --to.",
        )),
    }
}

/// The members, as one request sees them.
struct Candidates<'a> {
    group: &'a Group,
    runbook: &'a Runbook,
    situation: &'a Situation,
    request: &'a Request,
    /// Without `new`.
    scope: Scope,
}

impl Candidates<'_> {
    /// All that speaks against a member; of the runbook's rules those that nobody overrode.
    fn why_not(&self, member: &MemberName) -> Option<String> {
        let mut against = Vec::new();
        if self.runbook.transfers() {
            if *member == self.situation.primary {
                // Nothing else matters of it.
                return Some(format!("it is primary already (epoch {})", self.situation.epoch));
            }
            let standing = self.situation.standings.get(member);
            // A detached one may be the target of a runbook that brings it back first; one that was declared lost may not.
            let standing =
                standing.filter(|standing| !(self.runbook.rejoins_target() && standing.starts_with("detached")));
            against.extend(standing.map(|standing| format!("it is {standing}")));
        }
        against.extend(self.broken(member).into_iter().map(|(_, why)| why));
        (!against.is_empty()).then(|| against.join("; "))
    }

    /// The rules that the member does not satisfy, with the guard of each.
    fn broken(&self, member: &MemberName) -> Vec<(Option<&str>, String)> {
        if self.runbook.target.is_empty() {
            return Vec::new();
        }
        let mut scope = self.scope.clone();
        if let Some(members) = scope.get("group").and_then(|group| group.get("members")).cloned() {
            scope.insert("members".to_owned(), members);
        }
        scope.insert("candidate".to_owned(), scope::member(self.group, member));
        let rules = self.runbook.target.iter().filter(|rule| !overridden(rule, self.request));
        rules.filter_map(|rule| Some((rule.guard.as_deref(), broken(rule, &scope)?))).collect()
    }

    fn told(&self) -> String {
        let words: Vec<String> = self
            .group
            .members
            .keys()
            .map(|member| match self.why_not(member) {
                None => format!("{member} (fit)"),
                Some(why) => format!("{member} (out: {why})"),
            })
            .collect();
        words.join(", ")
    }

    /// What to do; and which guards stand in the way of the member, or of any, where guards are all that does.
    fn remedy(&self, otherwise: &str, of: Option<&MemberName>) -> String {
        let sound = |member: &&MemberName| {
            let standing = self.situation.standings.get(*member);
            let rejoins = self.runbook.rejoins_target();
            let out = standing.is_some_and(|standing| !(rejoins && standing.starts_with("detached")));
            !(self.runbook.transfers() && (out || **member == self.situation.primary))
        };
        let members = self.group.members.keys().filter(|member| of.is_none_or(|only| only == *member)).filter(sound);
        let mut guards: Vec<&str> = Vec::new();
        for broken in members.map(|member| self.broken(member)) {
            if let Some(all) = broken.iter().map(|(guard, _)| *guard).collect::<Option<Vec<&str>>>() {
                guards.extend(all);
            }
        }
        if guards.is_empty() {
            format!("{otherwise}.")
        } else {
            format!("{otherwise}, or {}.", override_words(&guards))
        }
    }
}
