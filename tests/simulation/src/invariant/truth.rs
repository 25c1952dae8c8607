//! What is committed about an effect is so: what is called failed or refused has not happened, what is called done has. Unknown may be
//! either. A service that is called started (stopped) has run (been down) at some moment since that was wanted.

use baton_engine::state::State;
use baton_model::{ids::TaskId, outcome::Outcome};
use serde_json::Value;

use super::Violation;
use crate::ground::Ground;

/// `due`: the tick since which it is wanted.
pub fn check(task: &TaskId, outcome: Outcome, due: u64, state: &State, ground: &Ground) -> Option<Violation> {
    let ordered = state.runs.get(&task.run)?.task(task)?;
    if let Some((service, runs)) = wished(&ordered.action, &ordered.params) {
        return of_service(task, outcome, due, service, runs, ground);
    }
    let key = key(&ordered.action, &ordered.params)?;
    let happened = ground.happened_for(task);
    match outcome {
        // The author of the runbook says of it that twice does no harm: a second try may fail after a first one that did not.
        Outcome::Failed | Outcome::Refused if happened > 0 && !key.ends_with("-c") => {
            Some(Violation::new("truth", format!("{task} is called {}, and {key} has happened", outcome.as_str())))
        }
        Outcome::Changed | Outcome::Unchanged if !ground.is_marked(task.host.as_str(), key) => {
            Some(Violation::new("truth", format!("{task} is called {}, and {key} has not happened", outcome.as_str())))
        }
        _ => None,
    }
}

/// The service, and whether it is to run.
fn wished<'a>(action: &str, params: &'a Value) -> Option<(&'a str, bool)> {
    let runs = match action {
        "service.start" | "service.running" => true,
        "service.stop" | "service.stopped" => false,
        _ => return None,
    };
    Some((params.get("name")?.as_str()?, runs))
}

/// Of what is called failed nothing follows: a second try after a crash may fail where the first one did not, and what somebody else
/// undid at once has happened and differs.
fn of_service(
    task: &TaskId,
    outcome: Outcome,
    due: u64,
    service: &str,
    runs: bool,
    ground: &Ground,
) -> Option<Violation> {
    if !outcome.is_success() || ground.has_been(task.host.as_str(), service, runs, due) {
        return None;
    }
    let never = if runs { "has not run" } else { "has run all the time" };
    Some(Violation::new("truth", format!("{task} is called {}, and {service} {never} since", outcome.as_str())))
}

/// What is counted where a task does something that is; none for services.
fn key<'a>(action: &str, params: &'a Value) -> Option<&'a str> {
    match action {
        "exec.run" => params.get("argv")?.get(1)?.as_str(),
        "sql.exec" => params.get("statements")?.get(0)?.get("params")?.get(0)?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;

    #[test]
    fn a_start_that_is_called_done_was_seen_to_run_since_it_was_due() {
        let ground = Ground::new(1, &["e1"], Story::default());
        let task: TaskId =
            serde_json::from_value(serde_json::json!({ "run": "g-1", "step": "1", "host": "e1", "attempt": 1 }))
                .expect("a task");
        let judge = |outcome, due, runs| of_service(&task, outcome, due, "solo", runs, &ground);
        assert!(judge(Outcome::Changed, 0, true).is_some() && judge(Outcome::Unchanged, 0, true).is_some());
        assert_eq!(judge(Outcome::Unknown, 0, true), None);
        assert_eq!(judge(Outcome::Failed, 0, true), None);
        assert_eq!(judge(Outcome::Changed, 0, false), None);
        ground.step(5);
        ground.set_running("e1", "solo", true);
        assert_eq!(judge(Outcome::Changed, 0, true), None);
        ground.step(9);
        ground.power_off("e1");
        assert_eq!(judge(Outcome::Changed, 8, true), None, "it ran when it was wanted");
        assert!(judge(Outcome::Changed, 10, true).is_some(), "it was down before that");
    }
}
