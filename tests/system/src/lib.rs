//! What the system tests share: an installation of real processes on loopback, its hosts, its group's files, and what
//! the `baton` command said. Effects are counted by the files that they leave, never by what Baton says of them.

pub mod calls;
pub mod procedure;
pub mod search;
pub mod small_disk;
pub mod stand_in;
pub mod stricken;
pub mod world;

pub use world::{PATIENCE, Said, World, eventually};
