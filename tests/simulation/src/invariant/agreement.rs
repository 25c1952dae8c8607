//! Every coordinator applies the same: at each index the audit trail's head is the same on all of them, and so is the state in the end.

use std::collections::BTreeMap;

use baton_engine::state::State;
use baton_model::digest::Digest;

use super::Violation;

pub type Chain = BTreeMap<u64, Digest>;

pub fn check(chain: &mut Chain, who: &str, state: &State) -> Option<Violation> {
    let known = chain.entry(state.index).or_insert_with(|| state.audit.digest.clone());
    (*known != state.audit.digest)
        .then(|| Violation::new("agreement", format!("{who} has applied something else at {}", state.index)))
}

/// Of all coordinators, when nothing changes any more.
pub fn check_end(states: &BTreeMap<String, State>) -> Option<Violation> {
    let mut all = states.iter();
    let (first, state) = all.next()?;
    let other = all.find(|(_, other)| *other != state)?;
    Some(Violation::new("agreement", format!("{first} and {} differ in the end", other.0)))
}
