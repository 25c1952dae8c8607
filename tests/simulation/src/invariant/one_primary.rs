//! An epoch of a group has one primary, by everything that any coordinator ever applied; and a new epoch comes only with a run that
//! moves the role, one at a time.

use std::collections::BTreeMap;

use baton_engine::state::State;
use baton_model::ids::{GroupName, MemberName};

use super::Violation;

pub type Primaries = BTreeMap<(GroupName, u64), MemberName>;

pub fn check(primaries: &mut Primaries, before: &State, after: &State) -> Option<Violation> {
    for (name, group) in &after.groups {
        let key = (name.clone(), group.epoch.0);
        let known = primaries.entry(key).or_insert_with(|| group.primary.clone());
        if *known != group.primary {
            let what = format!("epoch {} of {name} has two primaries: {known} and {}", group.epoch, group.primary);
            return Some(Violation::new("one primary", what));
        }
        let Some(was) = before.groups.get(name) else { continue };
        if was.epoch == group.epoch {
            continue;
        }
        let moved = |state: &State| state.runs.values().filter(|run| run.id.group == *name && run.transferred).count();
        if group.epoch.0 != was.epoch.0 + 1 || moved(after) != moved(before) + 1 {
            let what =
                format!("{name} went from epoch {} to {} without a run that moved the role", was.epoch, group.epoch);
            return Some(Violation::new("one primary", what));
        }
    }
    None
}
