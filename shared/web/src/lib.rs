//! What load balancers and scripts are told over plain HTTP: who is primary, with a live lease, and who is not.
//!
//! Apart so that agent and coordinator answer alike, and so that neither the platform knows of groups nor the model of HTTP. It must
//! never change anything, never say more than a load balancer needs, and never say "primary" for want of an answer: whatever
//! cannot be told is 503.
//!
//! | path | 200 | 503 |
//! | --- | --- | --- |
//! | `/groups/GROUP/primary[/HOST]` | the host's member is primary, with a live lease where the group has one | it is not, and why |
//! | `/groups/GROUP/standby[/HOST]` | the host is of a member that is not primary | it is primary, or of no member |
//! | `/health` | the process can do its work | it cannot, and why |
//!
//! GET, HEAD and OPTIONS alike; a group or host that is not known is 404, another method 405.

mod answer;
mod configuration;
mod server;
mod standing;

pub use configuration::Http;
pub use server::{Bounds, serve, serve_within};
pub use standing::{Standing, Standings};
