//! The coordinator's configuration file. Strict: an unknown key is an error with the nearest right name.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// `coordinator.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The installation's name: nodes of another one are refused.
    #[serde(default = "cluster")]
    pub cluster: String,
    /// This node's number in the cluster; never given to another disk.
    pub id: u64,
    /// Where agents, operators and the other coordinators connect.
    pub listen: SocketAddr,
    /// `ca.pem`, `cert.pem`, `key.pem`.
    pub identity: PathBuf,
    /// The log and its snapshots.
    pub data: PathBuf,
    /// Every coordinator of the cluster, this one included, by number.
    pub members: BTreeMap<String, Member>,
    #[serde(default)]
    pub raft: Raft,
    #[serde(default)]
    pub delivery: Delivery,
    /// Pages for load balancers and scripts; none without it.
    #[serde(default)]
    pub http: Option<baton_web::Http>,
}

fn cluster() -> String {
    "baton".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub name: String,
    /// `host:port` that agents, operators and coordinators dial.
    pub address: String,
}

/// Timing of the log, in milliseconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    pub heartbeat_ms: u64,
    pub election_min_ms: u64,
    pub election_max_ms: u64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
}

impl Default for Raft {
    /// For a LAN: a killed leader is replaced within about a second.
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 500, snapshot_every: 2_000 }
    }
}

/// How orders reach agents.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// Between an agent's heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a host must be out of reach of a majority before `unreachable: skip` skips it, in milliseconds.
    pub unreachable_after_ms: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { heartbeat_ms: 2_000, unreachable_after_ms: 10_000 }
    }
}
