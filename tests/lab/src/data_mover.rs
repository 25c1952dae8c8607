//! The outside world of the lab `teradata-data-mover`: primary and secondary servers, each with a daemon, a REST service, an ActiveMQ
//! broker, three agents, a bundled DSA, a service that synchronizes, and a real PostgreSQL as its repository.
//!
//! Apart, and without anything of Baton in it, so that it can judge Baton: who was active when is told by what clients were
//! answered. It must never know a run or a plan.
//!
//! ```text
//! client ─POST▶ REST ─▶ daemon ─▶ repository ─▶ dmsync ─▶ repository of the other side
//!                         └─▶ broker ◀─ agents
//! ```

pub mod client;
pub mod component;
pub mod judge;
pub mod side;

mod agent;
mod broker;
mod daemon;
mod rest;
mod sync;

pub mod installation;
pub mod repository;
pub mod world;

pub use client::Client;
pub use component::Component;
pub use installation::Installation;
pub use repository::Repository;
pub use side::Side;
pub use world::{Fault, World};
