//! The lab: a whole world on one machine, with real servers, in which Baton is tried and judged.
//!
//! Apart from Baton's own crates, because it plays everything that is not Baton: other people's databases,
//! services and accidents. It must never rely on what Baton says about itself.

pub mod cluster;
pub mod data_mover;
pub mod genesys;
pub mod horizon;
pub mod installation;
pub mod ledger;
pub mod machine;
pub mod namespaces;
pub mod packages;
pub mod persistent_chat;
pub mod pom;
pub mod processes;
pub mod sqlserver;
pub mod story;
