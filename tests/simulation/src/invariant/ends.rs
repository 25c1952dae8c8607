//! Once nothing is broken any more and an operator says what is asked, every run comes to its end.

use baton_engine::state::State;

use super::Violation;

/// What is still open; none: steady.
pub fn open(state: &State) -> Option<Violation> {
    let open = state.runs.values().find(|run| !run.phase.is_over())?;
    let steps: Vec<String> = open
        .current_steps()
        .iter()
        .filter_map(|id| {
            Some(format!(
                "{}: {:?}",
                id.0,
                open.steps.get(id)?.tasks.iter().map(|task| &task.status).collect::<Vec<_>>()
            ))
        })
        .collect();
    Some(Violation::new("ends", format!("{} does not end: {} at {}", open.id, open.phase.as_str(), steps.join("; "))))
}
