//! Where a host stands with a group: what is asked of the agent or the coordinator behind the pages.
//!
//! Apart because it is the whole of what they must know of each other.

use async_trait::async_trait;
use serde::Serialize;

/// Of a group, seen from one host of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub group: String,
    /// The host's member holds the role, and its lease lives where the group has one.
    pub primary: bool,
    /// The host's member; none where it is of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    pub epoch: u64,
    /// What is left of the lease, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_left_ms: Option<u64>,
    /// Where it is not primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// Who knows it. An answer is what is true now: it must come from memory, and soon.
#[async_trait]
pub trait Standings: Send + Sync + 'static {
    /// `host`: another than this one. `None` where the group or the host is not known here.
    async fn of(&self, group: &str, host: Option<&str>) -> Option<Standing>;
    /// Whether this process can do its work; else why not.
    async fn healthy(&self) -> Result<(), String>;
}
