//! What every Baton process stands on: certificates, connections, time, chance, configuration, logs, a clean end.
//!
//! Apart so that coordinator, agent and command share one way of doing each. It must never know what a group, a plan or
//! a run is, and nothing here decides: decisions are pure code elsewhere.
//!
//! Everything that touches the network, the clock or chance is handed in ([`dial::Dial`], [`listen::Listen`],
//! [`clock::Clock`], [`random::Random`]), so that a whole cluster runs in a simulation.

pub mod address;
pub mod dial;
pub mod listen;

pub mod ca;
pub mod identity;
pub mod tls;

pub mod backoff;
pub mod clock;
pub mod random;

pub mod atomic_file;
pub mod config;
pub mod shutdown;
pub mod telemetry;
