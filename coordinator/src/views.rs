//! The documents that people and scripts are shown, made from the replicated state and from what the sessions say.
//! Nothing here is kept.

pub mod cluster;
pub mod group;
pub mod health;
pub mod plan;
pub mod run;
