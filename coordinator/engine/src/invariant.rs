//! What must hold after every entry. Checked in tests and simulation after each apply; a file each.

use crate::state::State;

pub mod authority;
pub mod bounded;
pub mod counting;
pub mod lease;
pub mod one_primary;
pub mod one_run;
pub mod order;
pub mod window;

/// A broken promise, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

/// Every invariant over the state after an entry, and over the change from `before`.
pub fn check(before: &State, after: &State) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut say = |invariant: &'static str, whats: Vec<String>| {
        found.extend(whats.into_iter().map(|what| Violation { invariant, what }));
    };
    say("one primary", one_primary::check(before, after));
    say("lease", lease::check(before, after));
    say("one run at a time", one_run::check(after));
    say("order", order::check(after));
    say("authority", authority::check(before, after));
    say("window", window::check(before, after));
    say("counting", counting::check(before, after));
    say("bounded", bounded::check(after));
    found
}
