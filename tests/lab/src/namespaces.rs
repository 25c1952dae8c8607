//! A world in network namespaces: three coordinators and two hosts that can be cut from each other, in each direction by itself.
//!
//! One component, which must never run on both hosts, is all that it has. It and its clients write down what they did, by the one
//! clock that all processes of a machine share; the judge goes by that alone. It must never ask Baton whether all went well.

pub mod clients;
pub mod clocks;
pub mod component;
pub mod group;
pub mod judge;
pub mod network;
pub mod watchdog;
pub mod world;

pub use clients::Clients;
pub use judge::{Ack, Tenancy, Verdict, judge};
pub use network::Network;
pub use watchdog::Watchdog;
pub use world::{Options, World};
