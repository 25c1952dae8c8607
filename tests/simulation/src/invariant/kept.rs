//! What an operator was told to be taken is in the record in the end.

use baton_engine::state::State;

use super::Violation;
use crate::{operator::Desk, record::Words};

pub fn check(desk: &Desk, words: &Words, state: &State) -> Option<Violation> {
    for pressed in desk.all().into_iter().filter(|pressed| pressed.taken) {
        let Some(changed) = words.get(&pressed.token) else {
            let what = format!(
                "{} of {} ({}) was taken, and nobody has committed it",
                pressed.verb, pressed.who, pressed.token
            );
            return Some(Violation::new("kept", what));
        };
        let Some(run) = &pressed.run else { continue };
        let Some(kept) = state.runs.get(run) else {
            // Older ones leave the state, the newest never.
            if state.groups.get(&run.group).is_some_and(|group| group.last_run >= run.number + 25) {
                continue;
            }
            return Some(Violation::new("kept", format!("{run} was started ({}), and nobody knows it", pressed.token)));
        };
        let said =
            kept.started.why == pressed.token || kept.history.iter().any(|line| line.author.why == pressed.token);
        if *changed && !said {
            let what = format!(
                "{} of {} on {run} ({}) was taken, and is not in its record",
                pressed.verb, pressed.who, pressed.token
            );
            return Some(Violation::new("kept", what));
        }
    }
    None
}
