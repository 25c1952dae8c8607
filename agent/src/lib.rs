//! The agent: does local actions on one host, in the order and under the fence that the coordinator gives.
//!
//! guard → journal → action → journal → report. Read in this order. What is deliberately absent: any decision about the
//! cluster (who is primary, what comes next), and any way to act without the journal.

pub mod decide;
pub mod journal;
pub mod ledger;

pub mod executor;
pub mod session;

pub mod action;
pub mod host;
pub mod output;
pub mod policy;
pub mod probe;
pub mod secrets;

pub mod configuration;
