//! The outside world of the lab `genesys-framework`: two sites with SQL Server, Configuration Servers, Solution Control Servers, a
//! Message Server, proxies and components, each a real process on a machine of its own address.
//!
//! Apart, and without anything of Baton in it: what it says about a component is the component's own word. It must never know a
//! run or a plan.

pub mod component;
pub mod site;
pub mod installation;
pub mod world;

pub use component::Component;
pub use installation::Installation;
pub use site::Site;
pub use world::{Pace, World};
