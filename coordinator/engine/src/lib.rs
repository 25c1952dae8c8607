//! The engine: what the coordinators agree on, and what follows from it.
//!
//! Pure and deterministic. [`apply::apply`] is the only way the replicated state changes; [`due::due`] says what the state
//! asks to be done now. No clock, no randomness, no I/O, no runtime: time comes in with the entry, as its proposer's stamp.
//! Read in this order:

pub mod apply;
pub mod assign;
pub mod codec;
pub mod command;
pub mod due;
pub mod invariant;
pub mod progress;
pub mod sighting;
pub mod state;
pub mod vigil;
