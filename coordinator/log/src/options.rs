//! How a node of the log behaves: numbers with their reasons, and where it keeps its data.
//!
//! Apart because operators see some of these in the coordinator's configuration file. Nothing is read from the
//! environment, and nothing has a meaning that depends on another process.

use std::path::PathBuf;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::error::Error;

/// Everything that can be chosen about a node of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// This node. Never reuse the id of a node whose disk was lost: it may have promised something.
    pub node_id: u64,
    /// The name in this node's certificate.
    pub name: String,
    /// Which installation this is; peers of another one are refused.
    pub cluster: String,
    /// How often a leader shows itself. Default 100 ms.
    pub heartbeat_ms: u64,
    /// Shortest wait before an election. Default 300 ms: three heartbeats.
    pub election_min_ms: u64,
    /// Longest wait before an election, and the lease. Default 500 ms: a leader's death is noticed after this plus
    /// a random wait up to it, so about 0.8 s in the median on a local network. Raise all three between distant sites.
    pub election_max_ms: u64,
    /// Entries between two snapshots. Default 10,000.
    pub snapshot_every: u64,
    /// Entries kept although a snapshot has them, so that a follower that was away for a moment
    /// needs no snapshot. Default 5,000.
    pub keep_entries: u64,
    /// Largest payload of one entry. Default 4 MiB; bounded because every node holds it in memory several times.
    pub payload_bytes_max: usize,
    /// Largest snapshot that is accepted from a leader. Default 1 GiB.
    pub snapshot_bytes_max: u64,
    /// Deadline of an append that carries entries. Default 2 s: a slow fsync must not look like a dead peer.
    pub append_deadline_ms: u64,
    /// Deadline of sending a whole snapshot. Default 60 s.
    pub snapshot_deadline_ms: u64,
    /// Deadline of [`crate::Log::read_index`] and of a leadership transfer. Default 2 s.
    pub read_deadline_ms: u64,
}

impl Options {
    /// The defaults, for this node.
    pub fn new(node_id: u64, name: impl Into<String>) -> Self {
        Self {
            node_id,
            name: name.into(),
            cluster: "baton".to_owned(),
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 500,
            snapshot_every: 10_000,
            keep_entries: 5_000,
            payload_bytes_max: 4 * 1024 * 1024,
            snapshot_bytes_max: 1024 * 1024 * 1024,
            append_deadline_ms: 2_000,
            snapshot_deadline_ms: 60_000,
            read_deadline_ms: 2_000,
        }
    }

    pub(crate) fn read_deadline(&self) -> Duration {
        Duration::from_millis(self.read_deadline_ms)
    }

    pub(crate) fn raft_config(&self) -> Result<openraft::Config, Error> {
        let config = openraft::Config {
            cluster_name: self.cluster.clone(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_entries,
            // A follower is sent entries as long as they are there, and a snapshot beyond that.
            replication_lag_threshold: self.snapshot_every + self.keep_entries,
            install_snapshot_timeout: self.snapshot_deadline_ms,
            enable_pre_vote: Some(true),
            // A restarted leader stands for election again instead of resuming its term. Otherwise one term could
            // stand for two processes, and what the first one still had on its way would carry a valid fence.
            enable_leader_restore: Some(false),
            // A peer that is back is found within half a second, as fast as an election would be.
            backoff: "50ms 100ms 200ms ...500ms".to_owned(),
            ..openraft::Config::default()
        };
        config.validate().map_err(|e| Error::Options(e.to_string()))
    }
}

/// Where the log is kept.
pub struct Storage {
    pub(crate) medium: Medium,
    pub(crate) inline_commit: bool,
    pub(crate) tail_bytes_max: usize,
}

pub(crate) enum Medium {
    File(PathBuf),
    Backend(CreateDatabase),
}

/// Boxed, because redb takes backends by value and by type.
pub(crate) type CreateDatabase = Box<dyn FnOnce(&redb::Builder) -> Result<redb::Database, redb::DatabaseError> + Send>;

impl Storage {
    /// 64 MiB: what the log keeps in memory of entries that are already on disk.
    const TAIL_BYTES_MAX: usize = 64 * 1024 * 1024;

    /// A file, created if it is not there.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { medium: Medium::File(path.into()), inline_commit: false, tail_bytes_max: Self::TAIL_BYTES_MAX }
    }

    /// A backend of the caller's: memory, or a disk that loses what was not synced.
    pub fn backend(backend: impl redb::StorageBackend) -> Self {
        Self {
            medium: Medium::Backend(Box::new(move |builder| builder.create_with_backend(backend))),
            inline_commit: false,
            tail_bytes_max: Self::TAIL_BYTES_MAX,
        }
    }

    /// Commits in the caller's task instead of in a writer thread, for a simulation, where a thread would be
    /// outside the simulated time.
    pub fn inline_commit(mut self) -> Self {
        self.inline_commit = true;
        self
    }

    /// Keeps at most about this much of the durable log in memory.
    pub fn tail_bytes_max(mut self, bytes: usize) -> Self {
        self.tail_bytes_max = bytes;
        self
    }
}
