//! Replicated state stays small.

use baton_model::group::{SAMPLE_BYTES_MAX, SAMPLED_MAX};

use crate::state::{
    BECAUSE_BYTES_MAX, ENDED_RUNS_MAX, FACTS_MAX, FOUND_BYTES_MAX, REMOVED_MAX, REQUESTS_MAX, Standing, State,
    run::HISTORY_MAX,
};

pub(super) fn check(state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    if state.requests.len() > REQUESTS_MAX {
        wrong.push(format!("{} remembered requests", state.requests.len()));
    }
    for name in state.groups.keys() {
        let ended = state.runs.values().filter(|run| run.id.group == *name && run.phase.is_over()).count();
        if ended > ENDED_RUNS_MAX {
            wrong.push(format!("{name} keeps {ended} ended runs"));
        }
    }
    for run in state.runs.values().filter(|run| run.history.len() > HISTORY_MAX) {
        wrong.push(format!("{} has a history of {}", run.id, run.history.len()));
    }
    for (name, group) in &state.groups {
        if group.facts.len() > FACTS_MAX || group.facts.values().any(|fact| fact.to_string().len() > FOUND_BYTES_MAX) {
            wrong.push(format!("{name} keeps {} facts, or a large one", group.facts.len()));
        }
        let long = |standing: &Standing| matches!(standing, Standing::Detached { because, .. } if because.len() > BECAUSE_BYTES_MAX);
        if group.standings.values().any(long) {
            wrong.push(format!("{name} says at length why a member is detached"));
        }
    }
    for run in state.runs.values() {
        if run.registered.values().any(|value| value.to_string().len() > FOUND_BYTES_MAX) {
            wrong.push(format!("{} registered something large", run.id));
        }
    }
    for (name, group) in &state.groups {
        let kept = group.samples.values().flat_map(|hosts| hosts.values());
        let said = kept.clone().flat_map(|kept| kept.as_primary.iter().chain([&kept.latest]));
        if kept.count() > SAMPLED_MAX || said.into_iter().any(|one| one.data.to_string().len() > SAMPLE_BYTES_MAX) {
            wrong.push(format!("{name} keeps too many samples, or a large one"));
        }
    }
    if state.removed.len() > REMOVED_MAX {
        wrong.push(format!("{} removed groups", state.removed.len()));
    }
    wrong
}
