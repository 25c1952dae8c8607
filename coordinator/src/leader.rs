//! What only the leader does: announce its reign, send what is due, watch deadlines and reachability, ask for samples.

pub mod dispatcher;
pub mod questions;
pub mod reachability;
pub mod sampler;

pub use dispatcher::Dispatcher;
pub use questions::Questions;
pub use reachability::Reachability;
pub use sampler::Sampler;
