//! The gRPC services: thin. They check who calls, translate, and hand on.

pub mod agent;
pub mod operator;
pub mod peer;
pub mod sighting;
pub mod refusal;
