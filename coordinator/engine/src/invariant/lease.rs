//! The role leaves the primary of a group with a lease only once each of its holders had let go of it.

use std::collections::BTreeSet;

use baton_model::ids::HostName;

use crate::{
    assign::holders,
    state::{State, run::Verdict},
};

pub(super) fn check(before: &State, after: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, group) in &before.groups {
        let Some(now) = after.groups.get(name).filter(|now| now.primary != group.primary) else { continue };
        let wanted: BTreeSet<&HostName> = holders(group).collect();
        if wanted.is_empty() {
            continue;
        }
        // An operator's word, for this one run.
        let runs = after.runs.values().filter(|run| run.id.group == *name && run.id.number == now.last_run);
        if runs.into_iter().any(|run| run.overridden("lease").is_some()) {
            continue;
        }
        // The entry that moved the role names the last of them; all others had let go before.
        let run = before.open_run(name);
        let waits = run.into_iter().flat_map(|run| run.steps.values()).find_map(|step| match &step.verdict {
            Verdict::AwaitsLease { ended, .. } => Some(ended),
            _ => None,
        });
        let missing = waits.map(|ended| wanted.iter().filter(|host| !ended.contains_key(**host)).count());
        if missing != Some(1) {
            wrong.push(format!(
                "{name}: {} became primary after {}, with {missing:?} leases of {} not ended",
                now.primary,
                group.primary,
                wanted.len()
            ));
        }
    }
    wrong
}
