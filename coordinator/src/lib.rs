//! The coordinator: the shell around the pure crates.
//!
//! Only the proposer writes the log, only the engine changes state, only the dispatcher sends orders. This crate moves
//! bytes between them and decides nothing that `baton-engine` or `baton-planner` could decide. Read in this order:

pub mod config;
pub mod replica;
pub mod stamps;
pub mod proposer;
pub mod definitions;
pub mod probes;
pub mod sessions;
pub mod look;
pub mod leader;
pub mod views;
pub mod api;
pub mod pages;
mod breakdown;
pub mod node;
