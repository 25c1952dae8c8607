//! The engine as the log's application: decode, apply, encode. Nothing is decided here.

use std::sync::Arc;

use baton_engine::{
    apply::{Position, apply},
    codec::{self, CodecError},
    command::{Answer, Proposal},
    state::State,
};
use baton_log::{Application, AppliedEntry};
use baton_model::outcome::Fault;

/// This node's copy of the replicated state.
#[derive(Default)]
pub struct Replica {
    pub state: State,
    witness: Option<Arc<dyn Witness>>,
}

/// Sees what this node applies: for tests and simulation, which check every change. It must not call the log.
pub trait Witness: Send + Sync {
    fn applied(&self, position: Position, proposal: &Proposal, before: &State, after: &State, answer: &Answer);
    /// Of a snapshot, at the start or of a leader.
    fn restored(&self, state: &State);
}

impl Replica {
    /// One that is watched.
    pub fn watched(witness: Option<Arc<dyn Witness>>) -> Self {
        Self { state: State::default(), witness }
    }

    fn watched_apply(&mut self, position: Position, proposal: &Proposal) -> Answer {
        let Some(witness) = self.witness.clone() else { return apply(&mut self.state, position, proposal) };
        let before = self.state.clone();
        let answer = apply(&mut self.state, position, proposal);
        witness.applied(position, proposal, &before, &self.state, &answer);
        answer
    }
}

/// The fault of a coordinator that is too old for what is in its log.
fn not_understood(what: &str, error: &CodecError) -> String {
    let message = format!("{what} is not understood by this program, version {}: {error}.", env!("CARGO_PKG_VERSION"));
    let remedy = "Install the version that the other coordinators have, and start this one again: nothing was left out, and it goes \
                  on from there. If they have the same, this is a defect; report it.";
    Fault::new("BTN-0199", message, remedy).to_string()
}

impl Application for Replica {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Result<Vec<u8>, String> {
        let position = Position { index: entry.index, term: entry.term };
        // Left out, it would make this node differ from those that understand it.
        let proposal = codec::decode_proposal(entry.payload)
            .map_err(|error| not_understood(&format!("entry {} of the log", entry.index), &error))?;
        Ok(codec::encode_answer(&self.watched_apply(position, &proposal)))
    }

    fn snapshot(&self) -> Vec<u8> {
        codec::encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.state = codec::decode_state(snapshot).map_err(|error| not_understood("the snapshot", &error))?;
        if let Some(witness) = &self.witness {
            witness.restored(&self.state);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply_to(replica: &mut Replica, index: u64, command: serde_json::Value) -> Result<Vec<u8>, String> {
        let author = json!({ "who": { "kind": "coordinator", "name": "c1" }, "when": 1, "why": "" });
        let entry = json!({ "version": codec::VERSION, "body": { "author": author, "command": command } }).to_string();
        replica.apply(AppliedEntry { index, term: 1, payload: entry.as_bytes() })
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_it_and_changes_nothing() {
        let mut replica = Replica::default();
        let known = json!({ "command": "remove_group", "group": "shop" });
        apply_to(&mut replica, 1, known.clone()).expect("an answer");
        let before = replica.state.clone();
        for (command, word) in [
            (json!({ "command": "of_tomorrow" }), "of_tomorrow"),
            (json!({ "command": "remove_group", "group": "shop", "gently": true }), "command.gently"),
        ] {
            let why = apply_to(&mut replica, 2, command).expect_err("not known");
            for part in ["BTN-0199", "entry 2 of the log", word, "Install the version"] {
                assert!(why.contains(part), "no {part:?} in {why}");
            }
            assert_eq!(replica.state, before);
        }
        apply_to(&mut replica, 2, known).expect("it goes on there");
    }
}
