//! The agent: does local actions on one host, in the order and under the fence that the coordinator gives.
//!
//! guard → journal → action → journal → report. Read in this order. What is deliberately absent: any decision about the
//! cluster (who is primary, what comes next), and any way to act without the journal. What it does without an order, it does by the
//! assignment on its disk, and only ever to stop something.

pub mod decide;
pub mod journal;
pub mod ledger;

pub mod assignments;
pub mod deeds;
pub mod freshness;
pub mod lease;
pub mod standing;

pub mod executor;
pub mod guard;
pub mod session;
pub mod watchdog;

pub mod action;
pub mod host;
pub mod output;
pub mod probe;
pub mod policy;
pub mod secrets;

pub mod pages;

pub mod configuration;
