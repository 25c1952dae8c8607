//! The engine as the log's application: decode, apply, encode. Nothing is decided here.

use std::sync::Arc;

use baton_engine::{
    apply::{Position, apply},
    codec,
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

impl Application for Replica {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Vec<u8> {
        let position = Position { index: entry.index, term: entry.term };
        let answer = match codec::decode_proposal(entry.payload) {
            Ok(proposal) => self.watched_apply(position, &proposal),
            Err(codec::CodecError::Version { found }) => {
                // Going on would make this node differ from those that understand it.
                panic!("entry {} is written in version {found}; this program knows {}", entry.index, codec::VERSION)
            }
            Err(error) => Answer::Refused {
                fault: Fault::new(
                    "BTN-0199",
                    format!("entry {} is {error}.", entry.index),
                    "This is a defect; report it.",
                ),
            },
        };
        codec::encode_answer(&answer)
    }

    fn snapshot(&self) -> Vec<u8> {
        codec::encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.state = codec::decode_state(snapshot).map_err(|error| error.to_string())?;
        if let Some(witness) = &self.witness {
            witness.restored(&self.state);
        }
        Ok(())
    }
}
