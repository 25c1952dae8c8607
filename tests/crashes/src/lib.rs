//! The crash matrix: every shipped runbook over real processes, with each party killed before, during and after each step, and once
//! more in the recovery; what the outside world says at the end is compared with the run that nobody disturbed.
//!
//! A package of its own and not a part of the system tests, because it is also a command that takes hours, and because those tests
//! follow logs and drive runs with what is in here. It must never loosen a comparison without a word on why (see [`end_state::Loose`]),
//! and never call a cell green in which nobody was killed.
//!
//! ```text
//! log ─▶ news ─▶ drive ─▶ saboteur ─▶ cell ─▶ results, table
//! party   procedure/* ───────┘            ▲
//!                                       matrix
//! ```

pub mod agent_log;
pub mod log;
pub mod news;
pub mod drive;
pub mod first_orders;

pub mod limits;
pub mod party;
pub mod end_state;
pub mod procedure;
pub mod saboteur;
pub mod cell;

pub mod matrix;
pub mod results;
pub mod table;
pub mod workers;
