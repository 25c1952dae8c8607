//! Fencing, dispatch and the lease as models that are explored completely: every order in which anything can happen, within bounds
//! that are told, with what must stay true looked at in each state.
//!
//! Apart from the tests of single parts because these are faults of interleaving, and apart from the seeded simulation because that
//! tries many worlds and this one tries all of a small one. What decides is the product's own code wherever it is pure; what is a model
//! of it says so at its head. Each model has switches that take one safeguard out: a test asserts that its absence is found, since a
//! model that cannot fail shows nothing.
//!
//! - [`orders`]: three coordinators, a leader and deposed ones, two hosts, one switchover (or two): engine, ledger and decisions of the
//!   agent are the real ones.
//! - [`lease`]: two hosts and time; what an agent makes of assignments and renewals, and what the engine makes of a transfer that
//!   waits, are the real ones.
//!
//! It must never be made to pass by telling an agent or a leader what it could not know.

pub mod extents;

pub mod procedure;

pub mod orders;
pub mod lease;

pub mod exploration;
pub mod interned;
