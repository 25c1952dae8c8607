//! What must be true after every event, one file each. Judged by the ground's own counters and by what all coordinators have
//! committed together; what one process believes counts for nothing.

pub mod agreement;
pub mod ends;
pub mod exclusive;
pub mod intent;
pub mod kept;
pub mod once;
pub mod one_primary;
pub mod one_run;
pub mod order;
pub mod truth;

/// Their names in a verdict. A failure by any other name is the simulation's own, and says nothing of what is promised.
pub const PROMISES: [&str; 10] =
    ["agreement", "ends", "exclusive", "intent", "kept", "once", "one primary", "one run", "order", "truth"];

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: String,
    pub what: String,
}

impl Violation {
    pub fn new(invariant: &str, what: impl Into<String>) -> Self {
        Self { invariant: invariant.to_owned(), what: what.into() }
    }
}
