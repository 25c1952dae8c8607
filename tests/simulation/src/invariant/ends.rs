//! Once nothing is broken any more and an operator says what is asked, every run comes to its end, and all coordinators to the same
//! entry; and it stays so.

use std::collections::BTreeMap;

use baton_engine::state::State;

use super::Violation;
use crate::{coordinator::NAMES, world::TICK_MS};

/// What is not at its end now; none: it is at rest. `applied`: how far each coordinator has come.
pub fn unrest(state: &State, applied: &BTreeMap<String, u64>) -> Option<String> {
    open(state).or_else(|| apart(applied))
}

/// It was not at rest for as long as it must be. `last`: what kept it from that, so many ticks ago.
pub fn violation(last: &str, ago: u64) -> Violation {
    let what = match ago {
        0 => last.to_owned(),
        _ => format!("it is at rest now, and not for long enough: {} ms ago {last}", ago * TICK_MS),
    };
    Violation::new("ends", what)
}

fn open(state: &State) -> Option<String> {
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
    Some(format!("{} does not end: {} at {}", open.id, open.phase.as_str(), steps.join("; ")))
}

fn apart(applied: &BTreeMap<String, u64>) -> Option<String> {
    let mut indices = applied.values();
    let first = indices.next();
    let together = applied.len() == NAMES.len() && indices.all(|index| Some(index) == first);
    (!together).then(|| format!("the coordinators do not come together: {applied:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(indices: &[u64]) -> BTreeMap<String, u64> {
        NAMES.iter().map(|name| (*name).to_owned()).zip(indices.iter().copied()).collect()
    }

    #[test]
    fn only_what_is_apart_is_called_apart() {
        assert_eq!(unrest(&State::default(), &applied(&[47, 47, 47])), None);
        for apart in [&[47, 47, 46][..], &[47, 47]] {
            let told = unrest(&State::default(), &applied(apart)).expect("they are not together");
            assert!(told.contains("\"c2\": 47"), "{told}");
        }
    }

    #[test]
    fn what_is_at_rest_too_late_is_not_called_open() {
        assert_eq!(violation("pom-1 does not end", 0).what, "pom-1 does not end");
        let late = violation("pom-1 does not end", 3).what;
        assert_eq!(late, "it is at rest now, and not for long enough: 30 ms ago pom-1 does not end");
    }
}
