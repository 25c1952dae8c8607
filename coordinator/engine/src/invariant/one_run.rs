//! One run at a time for each group.

use crate::state::State;

pub(super) fn check(state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for run in state.runs.values().filter(|run| !run.phase.is_over()) {
        let open = state.groups.get(&run.id.group).and_then(|group| group.open_run.as_ref());
        if open != Some(&run.id) {
            wrong.push(format!("{} is not over, but its group's open run is {open:?}", run.id));
        }
    }
    for (name, group) in &state.groups {
        if let Some(open) = &group.open_run
            && state.runs.get(open).is_none_or(|run| run.phase.is_over())
        {
            wrong.push(format!("{name} is held by {open}, which is over or gone"));
        }
    }
    wrong
}
