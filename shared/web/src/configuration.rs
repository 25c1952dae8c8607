//! The `[http]` table of agent.toml and coordinator.toml.

use std::net::SocketAddr;

use serde::Deserialize;

/// Without it nothing listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// An IP address and a port. There is no TLS and no password: whoever reaches it may read names of groups and members.
    pub listen: SocketAddr,
}
