//! For each group and epoch at most one member is primary, and each change raises the epoch by one.

use crate::state::State;

pub(super) fn check(before: &State, after: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, group) in &after.groups {
        if !group.definition.members.contains(&group.primary) {
            wrong.push(format!("{name}: primary {} is not a member", group.primary));
        }
        let Some(earlier) = before.groups.get(name) else {
            let first = before.removed.get(name).map_or(1, |removed| removed.epoch.0 + 1);
            if group.epoch.0 != first {
                wrong.push(format!("{name}: first epoch is {}", group.epoch));
            }
            continue;
        };
        let moved = earlier.primary != group.primary;
        let raised = group.epoch.0.checked_sub(earlier.epoch.0);
        match (moved, raised) {
            (false, Some(0)) | (true, Some(1)) => {}
            _ => wrong.push(format!(
                "{name}: {} in epoch {} became {} in epoch {}",
                earlier.primary, earlier.epoch, group.primary, group.epoch
            )),
        }
        if moved {
            // Only an open run's transfer step moves the role, never a definition or a word.
            let by_run = earlier.open_run.as_ref().or(group.open_run.as_ref()).or_else(|| {
                after
                    .runs
                    .values()
                    .filter(|run| run.id.group == *name && run.id.number == group.last_run)
                    .map(|run| &run.id)
                    .next()
            });
            let transferred = by_run.and_then(|run| after.runs.get(run)).is_some_and(|run| run.transferred);
            if !transferred {
                wrong.push(format!("{name}: the role moved without a transfer step"));
            }
        }
    }
    wrong
}
