//! An availability group: its configuration, as each replica knows it, and what each replica is.
//!
//! Apart because there is no single truth about a group: a replica that is cut off goes by its own stale copy, and two replicas
//! may both be primary. What the cluster's store knows is one more copy. Nothing here changes by itself; see `advance`.

use super::database::{Movement, Suspension};
use super::log::{ForkId, Guid};
use super::lsn::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub id: Guid,
    pub name: String,
    pub cluster: ClusterType,
    /// By instance.
    pub replicas: BTreeMap<String, Replica>,
    /// WSFC: which instance the cluster last made primary.
    pub owner: Option<String>,
    /// WSFC: what the cluster's store holds.
    pub store: Config,
    /// WSFC: since when no living instance is primary.
    pub leaderless_since: Option<i64>,
    pub listener: Option<Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    /// `host:port`; the primary's process listens there.
    pub address: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterType {
    Wsfc,
    External,
    None,
}

impl ClusterType {
    pub fn code(self) -> u8 {
        match self {
            ClusterType::Wsfc => 0,
            ClusterType::External => 1,
            ClusterType::None => 2,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            ClusterType::Wsfc => "wsfc",
            ClusterType::External => "external",
            ClusterType::None => "none",
        }
    }
}

/// What a configuration change raises, pushes and keeps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// High 32 bits: failovers; low 32 bits: changes.
    pub sequence: u64,
    pub members: BTreeMap<String, Member>,
    /// Databases by name.
    pub databases: BTreeMap<String, Guid>,
    pub required_synchronized: i32,
    pub health_check_timeout_ms: i32,
    pub failure_condition_level: i32,
    pub database_failover: bool,
    pub backup_preference: u8,
    /// `is_failover_ready`, by replica and database.
    pub ready: BTreeSet<(String, String)>,
    /// `is_database_joined`.
    pub joined: BTreeSet<(String, String)>,
    /// `is_pending_secondary_suspend`.
    pub pending_suspend: BTreeSet<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub id: Guid,
    pub metadata_id: i32,
    pub endpoint: String,
    pub availability: Availability,
    pub failover: FailoverMode,
    pub session_timeout_seconds: i32,
    pub primary_allow: u8,
    pub secondary_allow: u8,
    pub created: i64,
    pub modified: i64,
    pub backup_priority: i32,
    pub routing_url: Option<String>,
    pub routing_list: Vec<String>,
    pub seeding_manual: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Availability {
    Asynchronous,
    Synchronous,
    ConfigurationOnly,
}

impl Availability {
    pub fn code(self) -> u8 {
        match self {
            Availability::Asynchronous => 0,
            Availability::Synchronous => 1,
            Availability::ConfigurationOnly => 4,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Availability::Asynchronous => "ASYNCHRONOUS_COMMIT",
            Availability::Synchronous => "SYNCHRONOUS_COMMIT",
            Availability::ConfigurationOnly => "CONFIGURATION_ONLY",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailoverMode {
    Automatic,
    Manual,
    External,
}

impl FailoverMode {
    pub fn code(self) -> u8 {
        match self {
            FailoverMode::Automatic => 0,
            FailoverMode::Manual => 1,
            FailoverMode::External => 2,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            FailoverMode::Automatic => "AUTOMATIC",
            FailoverMode::Manual => "MANUAL",
            FailoverMode::External => "EXTERNAL",
        }
    }
}

/// A group on one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    pub role: Role,
    pub operational: Operational,
    pub change: Option<RoleChange>,
    /// The configuration as this instance knows it.
    pub known: Config,
    /// The primary as this instance knows it.
    pub primary: Option<String>,
    /// Sessions with other replicas: on the primary with every secondary, on a secondary with its primary.
    pub sessions: BTreeMap<String, Session>,
    /// On the primary: what a secondary last said of a database, by instance and database.
    pub reports: BTreeMap<(String, String), Report>,
    /// It was primary when its process ended.
    pub was_primary: bool,
    /// RESOLVING after a start, until then.
    pub starting_until: Option<i64>,
    /// `OFFLINE` was said here: it waits to be told its role.
    pub taken_offline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Resolving,
    Primary,
    Secondary,
}

impl Role {
    pub fn code(self) -> u8 {
        match self {
            Role::Resolving => 0,
            Role::Primary => 1,
            Role::Secondary => 2,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Role::Resolving => "RESOLVING",
            Role::Primary => "PRIMARY",
            Role::Secondary => "SECONDARY",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operational {
    PendingFailover,
    Pending,
    Online,
    Offline,
    Failed,
    FailedNoQuorum,
}

impl Operational {
    pub fn code(self) -> u8 {
        match self {
            Operational::PendingFailover => 0,
            Operational::Pending => 1,
            Operational::Online => 2,
            Operational::Offline => 3,
            Operational::Failed => 4,
            Operational::FailedNoQuorum => 5,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Operational::PendingFailover => "PENDING_FAILOVER",
            Operational::Pending => "PENDING",
            Operational::Online => "ONLINE",
            Operational::Offline => "OFFLINE",
            Operational::Failed => "FAILED",
            Operational::FailedNoQuorum => "FAILED_NO_QUORUM",
        }
    }
}

/// A change of role that has begun and is not yet complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RoleChange {
    /// RESOLVING / PENDING_FAILOVER until then, then PRIMARY / PENDING for `recovering_ms`.
    Promotion { until: i64, recovering_ms: i64, from: Option<String>, forced: bool },
    /// PRIMARY / PENDING until then.
    Recovery { until: i64 },
    /// Gives its role to `to`; RESOLVING meanwhile.
    Handover { to: String },
    /// `SET (ROLE = SECONDARY)`.
    Demotion { until: i64 },
}

/// A replica's session with another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub connected: bool,
    /// Since when nothing came, while it still counts as connected.
    pub silent_since: Option<i64>,
    pub error: Option<(i32, String, i64)>,
}

/// What a secondary last told its primary about one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub movement: Movement,
    pub suspended: Option<Suspension>,
    pub state: super::database::State,
    pub fork: ForkId,
    pub end: Lsn,
    pub redone: Lsn,
    pub recovery: Lsn,
    pub times: super::database::Times,
    /// Of the last record that it has, by the primary's clock.
    pub last_commit: Option<(Lsn, i64)>,
    pub redo_commit: Option<(Lsn, i64)>,
    /// What the primary had not yet sent when it said so.
    pub unsent_kb: i64,
    pub unredone_kb: i64,
}

impl Config {
    pub fn raise(&mut self) {
        self.sequence += 1;
    }

    pub fn raise_epoch(&mut self) {
        self.sequence = ((self.sequence >> 32) + 1) << 32 | 1;
    }

    pub fn is_ready(&self, instance: &str, database: &str) -> bool {
        self.ready.contains(&(instance.to_owned(), database.to_owned()))
    }

    /// All its databases could be taken over by `instance` without loss.
    pub fn all_ready(&self, instance: &str) -> bool {
        self.databases.keys().all(|database| self.is_ready(instance, database))
    }
}

impl Replica {
    pub fn new(known: Config) -> Replica {
        Replica {
            role: Role::Secondary,
            operational: Operational::Online,
            change: None,
            known,
            primary: None,
            sessions: BTreeMap::new(),
            reports: BTreeMap::new(),
            was_primary: false,
            starting_until: None,
            taken_offline: false,
        }
    }

    /// PRIMARY and past its recovery.
    pub fn leads(&self) -> bool {
        self.role == Role::Primary
    }
}
