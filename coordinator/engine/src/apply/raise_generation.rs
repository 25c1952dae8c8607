//! A generation above everything seen: the deliberate act after a lost quorum.

use baton_model::outcome::Fault;

use crate::{command::Answer, state::State};

pub(super) fn raise(state: &mut State, generation: u64) -> Result<Answer, Fault> {
    if generation <= state.generation {
        return Err(Fault::new(
            "BTN-0125",
            format!("generation {generation} is not above the present {}.", state.generation),
            "Choose a higher one.",
        ));
    }
    state.generation = generation;
    Ok(Answer::Done)
}
