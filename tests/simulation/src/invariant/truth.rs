//! What is committed about an effect is so: what is called failed or refused has not happened, what is called done has. Unknown may be
//! either.

use baton_engine::state::State;
use baton_model::{ids::TaskId, outcome::Outcome};
use serde_json::Value;

use super::Violation;
use crate::ground::Ground;

pub fn check(task: &TaskId, outcome: Outcome, state: &State, ground: &Ground) -> Option<Violation> {
    let ordered = state.runs.get(&task.run)?.task(task)?;
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

/// What is counted where a task does something that is; none for services.
fn key<'a>(action: &str, params: &'a Value) -> Option<&'a str> {
    match action {
        "exec.run" => params.get("argv")?.get(1)?.as_str(),
        "sql.exec" => params.get("statements")?.get(0)?.get("params")?.get(0)?.as_str(),
        _ => None,
    }
}
