//! Simulated instances as the tests of one action have them, which are inside of the crate.

pub use baton_agent::action::{Context, ContextOptions, Note, Perform, bind};

#[path = "../../src/action/mssql/trial.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
pub mod lab;
#[path = "../../src/action/trial.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
pub mod trial;
