//! What a group's hosts are to it now: derived from the committed state, so that every leader tells an agent the same.

use std::collections::BTreeSet;

use baton_model::{
    assignment::Part,
    ids::{GroupName, HostName, MemberName},
    time::Span,
};

use crate::state::{Group, Phase, State, run::Verdict};

/// The member that the role is about to leave: a transfer waits for its lease to end.
pub fn yielding(state: &State, name: &GroupName) -> bool {
    state.open_run(name).is_some_and(|run| {
        let awaits = |step| run.steps.get(step).is_some_and(|step| matches!(step.verdict, Verdict::AwaitsLease { .. }));
        matches!(run.phase, Phase::Running | Phase::Halted { .. }) && run.current_steps().iter().any(awaits)
    })
}

/// What a host of `member` (none: a shared one) is.
pub fn part_of(state: &State, name: &GroupName, group: &Group, member: Option<&MemberName>) -> Part {
    part(group, yielding(state, name), member)
}

/// As [`part_of`], where it is known whether the primary yields.
pub fn part(group: &Group, yielding: bool, member: Option<&MemberName>) -> Part {
    match member {
        None => Part::Shared,
        Some(member) if *member != group.primary => Part::Standby,
        Some(_) if yielding => Part::Yielding,
        Some(_) => Part::Primary,
    }
}

/// The hosts whose lease must have ended before the role leaves the primary; none where the group has no lease.
pub fn holders(group: &Group) -> impl Iterator<Item = &HostName> {
    let rules = group.definition.lease.iter().chain(&group.lease_before);
    let named: BTreeSet<&HostName> = rules.flat_map(|rule| rule.holders.get(&group.primary)).flatten().collect();
    // Of a host that an operator has taken out of the group nothing is known any more, and nothing is waited for.
    named.into_iter().filter(|host| group.definition.hosts.contains(*host))
}

/// How long after the last word to it a holder may still rely on what it was promised; none where nothing was.
pub fn surely_over(group: &Group) -> Option<Span> {
    let rules = group.definition.lease.iter().chain(&group.lease_before);
    rules.map(|rule| rule.lease.surely_over()).max()
}
