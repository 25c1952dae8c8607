//! What agents and people remember by number is never counted backwards, not even over a removed group.

use baton_model::ids::GroupName;

use crate::state::State;

pub(super) fn check(before: &State, after: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    if after.index < before.index || after.generation < before.generation || after.audit.entries < before.audit.entries
    {
        wrong.push("index, generation or audit trail went back".to_owned());
    }
    for name in before.groups.keys().chain(before.removed.keys()) {
        let (Some(old), Some(new)) = (counts(before, name), counts(after, name)) else {
            wrong.push(format!("{name}: forgotten how far it had counted"));
            continue;
        };
        for (what, old, new) in [("epoch", old.0, new.0), ("revision", old.1, new.1), ("run number", old.2, new.2)] {
            if new < old {
                wrong.push(format!("{name}: {what} went from {old} to {new}"));
            }
        }
        if before.groups.contains_key(name) && after.groups.contains_key(name) && after.floor(name) < before.floor(name)
        {
            wrong.push(format!("{name}: the floor fell"));
        }
    }
    for (name, group) in &after.groups {
        let primary =
            |state: &State| state.groups.get(name).map(|group| (group.primary.clone(), group.standings.clone()));
        let moved = before.groups.contains_key(name) && primary(before) != primary(after);
        if moved && before.groups.get(name).is_some_and(|earlier| earlier.revision >= group.revision) {
            wrong.push(format!("{name}: role or standing changed under the same revision"));
        }
    }
    wrong
}

fn counts(state: &State, name: &GroupName) -> Option<(u64, u64, u64)> {
    let group = state.groups.get(name).map(|group| (group.epoch.0, group.revision, group.last_run));
    group.or_else(|| state.removed.get(name).map(|left| (left.epoch.0, left.revision, left.last_run)))
}
