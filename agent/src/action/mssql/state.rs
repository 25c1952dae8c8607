//! What every replica of an availability group says of itself, at one time. Values only: no connection, no clock.
//!
//! Apart because a secondary knows only itself and a former primary may still believe in its role, so that no single
//! instance's word decides anything. What was not said is absent here, never filled in. Names and numbers of states are those
//! of Microsoft's pages on the `sys.dm_hadr_*` views.

use std::collections::BTreeMap;

use baton_model::outcome::Fault;
use serde_json::{Value, json};

use crate::host::sqlserver::Row;

/// `role` of `sys.dm_hadr_availability_replica_states`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Resolving,
    Primary,
    Secondary,
}

/// `operational_state` of the same view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    PendingFailover,
    Pending,
    Online,
    Offline,
    Failed,
    FailedNoQuorum,
}

/// Who moves the group's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// Windows Server Failover Clustering; also what instances before 2017 are, which know no other.
    Wsfc,
    /// Pacemaker.
    External,
    /// Nobody: read-scale.
    None,
}

/// `availability_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Asynchronous,
    Synchronous,
    ConfigurationOnly,
}

/// `failover_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    Automatic,
    Manual,
    External,
}

/// `synchronization_state` of a database's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    NotSynchronizing,
    Synchronizing,
    Synchronized,
    Reverting,
    Initializing,
}

macro_rules! words {
    ($kind:ident { $($number:literal => $variant:ident $word:literal),* $(,)? }) => {
        impl $kind {
            pub fn of(number: i64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
            /// As the views' `_desc` columns say it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words!(Role { 0 => Resolving "RESOLVING", 1 => Primary "PRIMARY", 2 => Secondary "SECONDARY" });
words!(Operation {
    0 => PendingFailover "PENDING_FAILOVER", 1 => Pending "PENDING", 2 => Online "ONLINE", 3 => Offline "OFFLINE",
    4 => Failed "FAILED", 5 => FailedNoQuorum "FAILED_NO_QUORUM",
});
words!(Cluster { 0 => Wsfc "WSFC", 1 => External "EXTERNAL", 2 => None "NONE" });
words!(Availability {
    0 => Asynchronous "ASYNCHRONOUS_COMMIT", 1 => Synchronous "SYNCHRONOUS_COMMIT", 4 => ConfigurationOnly "CONFIGURATION_ONLY",
});
words!(Failover { 0 => Automatic "AUTOMATIC", 1 => Manual "MANUAL", 2 => External "EXTERNAL" });
words!(Movement {
    0 => NotSynchronizing "NOT SYNCHRONIZING", 1 => Synchronizing "SYNCHRONIZING", 2 => Synchronized "SYNCHRONIZED",
    3 => Reverting "REVERTING", 4 => Initializing "INITIALIZING",
});

/// `synchronization_health`.
fn health(number: i64) -> &'static str {
    match number {
        0 => "NOT_HEALTHY",
        1 => "PARTIALLY_HEALTHY",
        2 => "HEALTHY",
        _ => "UNKNOWN",
    }
}

/// `database_state`.
pub fn database_state(number: i64) -> &'static str {
    match number {
        0 => "ONLINE",
        1 => "RESTORING",
        2 => "RECOVERING",
        3 => "RECOVERY_PENDING",
        4 => "SUSPECT",
        5 => "EMERGENCY",
        6 => "OFFLINE",
        _ => "UNKNOWN",
    }
}

/// A database's copy as one instance sees it: its own, or, on the primary, another's last report.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    pub database: String,
    pub replica: String,
    pub local: bool,
    pub movement: Option<Movement>,
    pub suspended: Option<bool>,
    pub reason: Option<String>,
    pub state: Option<&'static str>,
    pub hardened: Option<u128>,
    pub end_of_log: Option<u128>,
    pub recovery: Option<u128>,
    pub last_commit: Option<String>,
    pub send_queue_kb: Option<i64>,
    pub send_rate_kb: Option<i64>,
    pub redo_queue_kb: Option<i64>,
}

impl Copy {
    pub fn is_suspended(&self) -> bool {
        self.suspended == Some(true)
    }

    /// `db1 NOT SYNCHRONIZING, suspended (SUSPEND_FROM_USER)`.
    pub fn describe(&self) -> String {
        let movement = self.movement.map_or("in an unknown state", Movement::word);
        let mut text = format!("{} {movement}", self.database);
        if let Some(state) = self.state.filter(|state| *state != "ONLINE") {
            text.push_str(&format!(", {state}"));
        }
        if self.is_suspended() {
            text.push_str(&format!(", suspended ({})", self.reason.as_deref().unwrap_or("no reason given")));
        }
        text
    }
}

/// A row of `sys.dm_hadr_database_replica_cluster_states`: what the cluster's store holds, on every instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Membership {
    pub database: String,
    pub replica: String,
    pub ready: Option<bool>,
    pub joined: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    pub availability: Option<Availability>,
    pub failover: Option<Failover>,
}

/// One instance's word.
#[derive(Debug, Clone, PartialEq)]
pub struct Replica {
    pub name: String,
    pub cluster: Cluster,
    pub role: Role,
    pub operation: Option<Operation>,
    pub connected: Option<bool>,
    pub health: Option<&'static str>,
    /// Whom it takes for the primary; a former primary may name itself.
    pub primary: Option<String>,
    /// Of every replica, as this instance's catalogue has it.
    pub modes: BTreeMap<String, Mode>,
    /// The group's databases, by the same catalogue.
    pub databases: Vec<String>,
    pub copies: Vec<Copy>,
    pub memberships: Vec<Membership>,
}

impl Replica {
    pub fn own_copies(&self) -> impl Iterator<Item = &Copy> {
        self.copies.iter().filter(|copy| copy.local)
    }

    pub fn own_copy(&self, database: &str) -> Option<&Copy> {
        self.own_copies().find(|copy| same(&copy.database, database))
    }

    /// The copy on another replica, as this one sees it.
    pub fn copy_on(&self, replica: &str, database: &str) -> Option<&Copy> {
        self.copies.iter().find(|copy| same(&copy.replica, replica) && same(&copy.database, database))
    }

    pub fn membership(&self, replica: &str, database: &str) -> Option<&Membership> {
        self.memberships.iter().find(|one| same(&one.replica, replica) && same(&one.database, database))
    }

    pub fn mode(&self, replica: &str) -> Option<Mode> {
        self.modes.iter().find(|(name, _)| same(name, replica)).map(|(_, mode)| *mode)
    }

    /// `SECONDARY, ONLINE`.
    pub fn standing(&self) -> String {
        match self.operation {
            Some(operation) => format!("{}, {}", self.role.word(), operation.word()),
            None => self.role.word().to_owned(),
        }
    }
}

/// What came of asking an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Said(Box<Replica>),
    /// It answers, and knows no such group, or the login may not see it.
    Absent,
    Silent(Fault),
}

/// Everybody's word. The first is the instance that the action is about.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupState {
    pub group: String,
    /// By what the connection calls the instance.
    pub told: Vec<(String, Told)>,
}

impl GroupState {
    pub fn said(&self) -> impl Iterator<Item = &Replica> {
        self.told.iter().filter_map(|(_, told)| match told {
            Told::Said(replica) => Some(replica.as_ref()),
            Told::Absent | Told::Silent(_) => None,
        })
    }

    pub fn primaries(&self) -> Vec<&Replica> {
        self.said().filter(|replica| replica.role == Role::Primary).collect()
    }

    /// The one that says so, where it is one.
    pub fn primary(&self) -> Option<&Replica> {
        match self.primaries().as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    pub fn of(&self, name: &str) -> Option<&Replica> {
        self.said().find(|replica| same(&replica.name, name))
    }

    /// `SQL1 PRIMARY, ONLINE; SQL2 silent`.
    pub fn sentence(&self) -> String {
        let parts = self.told.iter().map(|(name, told)| match told {
            Told::Said(replica) => format!("{} {}", replica.name, replica.standing()),
            Told::Absent => format!("{name} without the group"),
            Told::Silent(_) => format!("{name} cannot be asked"),
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    /// Suspended copies: each instance's own word, and the primary's for those that cannot be asked.
    pub fn paused(&self) -> Vec<(String, String, Option<String>)> {
        let mut paused: Vec<(String, String, Option<String>)> = Vec::new();
        let views = self.said().flat_map(Replica::own_copies).chain(
            self.primary()
                .into_iter()
                .flat_map(|primary| &primary.copies)
                .filter(|copy| self.of(&copy.replica).is_none()),
        );
        for copy in views.filter(|copy| copy.is_suspended()) {
            let entry = (copy.replica.clone(), copy.database.clone(), copy.reason.clone());
            if !paused.contains(&entry) {
                paused.push(entry);
            }
        }
        paused.sort();
        paused
    }

    pub fn paused_json(&self) -> Value {
        let entries = self.paused();
        entries
            .iter()
            .map(|(replica, database, reason)| json!({ "replica": replica, "database": database, "reason": reason }))
            .collect()
    }

    /// For `register`: primary, cluster type, every replica's word.
    pub fn json(&self) -> Value {
        let mut replicas = serde_json::Map::new();
        for (name, told) in &self.told {
            let (name, value) = match told {
                Told::Said(replica) => (replica.name.clone(), replica_json(replica)),
                Told::Absent => {
                    (name.clone(), json!({ "error": "the instance knows no such group, or the login may not see it" }))
                }
                Told::Silent(fault) => (name.clone(), json!({ "error": format!("{} {}", fault.code, fault.message) })),
            };
            replicas.insert(name, value);
        }
        json!({
            "primary": self.primary().map(|replica| replica.name.clone()),
            "cluster_type": self.said().next().map(|replica| replica.cluster.word()),
            "replicas": replicas,
            "paused": self.paused_json(),
        })
    }
}

fn replica_json(replica: &Replica) -> Value {
    let mode = replica.mode(&replica.name);
    let databases: serde_json::Map<String, Value> =
        replica.own_copies().map(|copy| (copy.database.clone(), copy_json(copy))).collect();
    json!({
        "role": replica.role.word(),
        "operational_state": replica.operation.map(Operation::word),
        "connected": replica.connected,
        "health": replica.health,
        "availability_mode": mode.and_then(|mode| mode.availability).map(Availability::word),
        "failover_mode": mode.and_then(|mode| mode.failover).map(Failover::word),
        "databases": databases,
    })
}

fn copy_json(copy: &Copy) -> Value {
    json!({
        "state": copy.state,
        "synchronization_state": copy.movement.map(Movement::word),
        "suspended": copy.suspended,
        "suspend_reason": copy.reason,
        "hardened_lsn": copy.hardened.map(|lsn| lsn.to_string()),
        "end_of_log_lsn": copy.end_of_log.map(|lsn| lsn.to_string()),
        "recovery_lsn": copy.recovery.map(|lsn| lsn.to_string()),
        "last_commit_time": copy.last_commit,
        "redo_queue_kb": copy.redo_queue_kb,
    })
}

/// Instance and database names: SQL Server compares them without regard to case.
pub fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// What an instance's views returned.
pub struct Views {
    pub own: Vec<Row>,
    pub modes: Vec<Row>,
    pub databases: Vec<Row>,
    pub copies: Vec<Row>,
    pub memberships: Vec<Row>,
}

impl Views {
    /// None where the instance has no replica of the group. A role of a number that is not known is no role: the instance is
    /// taken for resolving, on which nothing is decided.
    pub fn read(&self) -> Option<Replica> {
        let own = self.own.first()?;
        let modes = self.modes.iter().filter_map(|row| {
            let mode = Mode {
                availability: row.int("availability_mode").and_then(Availability::of),
                failover: row.int("failover_mode").and_then(Failover::of),
            };
            Some((row.text("replica_server_name")?, mode))
        });
        Some(Replica {
            name: own.text("replica_server_name")?,
            cluster: own.int("cluster_type").and_then(Cluster::of).unwrap_or(Cluster::Wsfc),
            role: own.int("role").and_then(Role::of).unwrap_or(Role::Resolving),
            operation: own.int("operational_state").and_then(Operation::of),
            connected: own.int("connected_state").map(|state| state == 1),
            health: own.int("synchronization_health").map(health),
            primary: own.text("primary_replica").filter(|name| !name.is_empty()),
            modes: modes.collect(),
            databases: self.databases.iter().filter_map(|row| row.text("database_name")).collect(),
            copies: self.copies.iter().filter_map(copy).collect(),
            memberships: self.memberships.iter().filter_map(membership).collect(),
        })
    }
}

fn copy(row: &Row) -> Option<Copy> {
    Some(Copy {
        database: row.text("database_name")?,
        replica: row.text("replica_server_name")?,
        local: row.flag("is_local") == Some(true),
        movement: row.int("synchronization_state").and_then(Movement::of),
        suspended: row.flag("is_suspended"),
        reason: row.text("suspend_reason_desc"),
        state: row.int("database_state").map(database_state),
        hardened: row.lsn("last_hardened_lsn"),
        end_of_log: row.lsn("end_of_log_lsn"),
        recovery: row.lsn("recovery_lsn"),
        last_commit: row.text("last_commit_time"),
        send_queue_kb: row.int("log_send_queue_size"),
        send_rate_kb: row.int("log_send_rate"),
        redo_queue_kb: row.int("redo_queue_size"),
    })
}

fn membership(row: &Row) -> Option<Membership> {
    Some(Membership {
        database: row.text("database_name")?,
        replica: row.text("replica_server_name")?,
        ready: row.flag("is_failover_ready"),
        joined: row.flag("is_database_joined"),
    })
}
