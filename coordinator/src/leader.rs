//! What only the leader does: announce its reign, send what is due, watch deadlines and reachability, ask for samples,
//! renew leases, watch the groups that fail over by themselves, and hand over to who reaches more.

pub mod assigner;
pub mod dispatcher;
pub mod holders;
pub mod lessor;
pub mod questions;
pub mod reachability;
pub mod sampler;
pub mod successor;
pub mod watchman;

pub use assigner::Assigner;
pub use dispatcher::{Dispatcher, Means};
pub use lessor::Lessor;
pub use questions::Questions;
pub use reachability::Reachability;
pub use sampler::Sampler;
pub use successor::Successor;
pub use watchman::Watchman;
