//! A world in one thread: the real coordinators and the real agents over a simulated network, clock and disk, decided by one number.
//!
//! What is real: everything from the operator's client over gRPC and TLS, consensus, engine, dispatcher and sessions to the agents'
//! journal, executor, guard and lease. What is simulated: time, bytes on the way, disks, and what actions do to hosts. In reading
//! order; what is judged, and by what, is in [`invariant`].

pub mod entropy;
pub mod chance;
pub mod life;
pub mod story;
pub mod telling;

pub mod clock;
pub mod disk;
pub mod network;
pub mod process;

pub mod ground;
pub mod deed;
pub mod product;

pub mod agent;
pub mod coordinator;
pub mod operator;

pub mod record;
pub mod invariant;

pub mod plan;
pub mod seat;
pub mod world;
pub mod verdict;

pub mod driver;
pub mod shrink;
pub mod mutation;
