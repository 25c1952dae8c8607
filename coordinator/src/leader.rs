//! What only the leader does: announce its reign, send what is due, watch deadlines and reachability.

pub mod dispatcher;
pub mod reachability;

pub use dispatcher::Dispatcher;
pub use reachability::Reachability;
