//! A group has one open run at most.

use baton_engine::state::State;

use super::Violation;

pub fn check(state: &State) -> Option<Violation> {
    for name in state.groups.keys() {
        let open: Vec<String> = (state.runs.values())
            .filter(|run| run.id.group == *name && !run.phase.is_over())
            .map(|run| run.id.to_string())
            .collect();
        if open.len() > 1 {
            return Some(Violation::new("one run", format!("{name} has {} open at once", open.join(" and "))));
        }
    }
    None
}
