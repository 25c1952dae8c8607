//! The engine as the log's application: decode, apply, encode. Nothing is decided here.

use baton_engine::{
    apply::{Position, apply},
    codec,
    command::Answer,
    state::State,
};
use baton_log::{Application, AppliedEntry};
use baton_model::outcome::Fault;

/// This node's copy of the replicated state.
#[derive(Debug, Default)]
pub struct Replica {
    pub state: State,
}

impl Application for Replica {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Vec<u8> {
        let position = Position { index: entry.index, term: entry.term };
        let answer = match codec::decode_proposal(entry.payload) {
            Ok(proposal) => apply(&mut self.state, position, &proposal),
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
        Ok(())
    }
}
