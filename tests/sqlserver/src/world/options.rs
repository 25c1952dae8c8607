//! How long things take in a world, and the points about which nobody could be sure.
//!
//! Apart because tests run with both settings of every doubt. Nothing in here may be read from a clock or a file.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long things take, in milliseconds unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// RESOLVING / PENDING_FAILOVER on the target of a failover; each failover takes between half and all of it, by the seed.
    pub failover_resolving_ms: i64,
    /// PRIMARY / PENDING with databases RECOVERING after that, likewise.
    pub failover_recovering_ms: i64,
    /// From the loss of a primary to its automatic failover.
    pub failure_detection_ms: i64,
    /// NOT SYNCHRONIZING after a session with the primary has begun.
    pub connect_ms: i64,
    /// SYNCHRONIZING at least, before a synchronous copy is SYNCHRONIZED.
    pub synchronize_ms: i64,
    /// REVERTING, where log must be undone.
    pub revert_ms: i64,
    /// INITIALIZING after a join.
    pub initialize_ms: i64,
    /// How far an asynchronous copy lags behind.
    pub asynchronous_lag_ms: i64,
    /// How far redo lags behind hardening.
    pub redo_lag_ms: i64,
    /// A backup or restore takes this long and a little for every record.
    pub backup_ms: i64,
    pub restore_ms: i64,
    /// An instance that starts shows RESOLVING for this long.
    pub start_ms: i64,
    /// A silent process (stopped, not killed) is taken for hung after this.
    pub hung_after_ms: i64,
    /// Built-in write load: records per second, by database name.
    pub load: BTreeMap<String, u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            failover_resolving_ms: 1500,
            failover_recovering_ms: 1500,
            failure_detection_ms: 2000,
            connect_ms: 400,
            synchronize_ms: 600,
            revert_ms: 600,
            initialize_ms: 300,
            asynchronous_lag_ms: 300,
            redo_lag_ms: 100,
            backup_ms: 200,
            restore_ms: 200,
            start_ms: 500,
            hung_after_ms: 3000,
            load: BTreeMap::new(),
        }
    }
}

impl Options {
    /// For tests that step their clock, or wait for real processes and have no time.
    pub fn quick() -> Options {
        Options {
            failover_resolving_ms: 300,
            failover_recovering_ms: 300,
            failure_detection_ms: 500,
            connect_ms: 100,
            synchronize_ms: 150,
            revert_ms: 150,
            initialize_ms: 50,
            asynchronous_lag_ms: 100,
            redo_lag_ms: 20,
            backup_ms: 20,
            restore_ms: 20,
            start_ms: 150,
            hung_after_ms: 3000,
            load: BTreeMap::new(),
        }
    }
}

/// Points of the fact sheet that nobody could confirm (its section 10, and the marks inside 2 and 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Doubts {
    /// FAILOVER or FORCE without quorum: 35220, 41131 or 41134.
    pub without_quorum: i32,
    /// An unknown group: 15151 or 41100.
    pub unknown_group: i32,
    /// EXTERNAL without the session context: 47104 or 41105.
    pub without_context: i32,
    /// `SET SINGLE_USER` works on a STANDBY database; otherwise 5063.
    pub single_user_on_standby: bool,
    /// What a RESOLVING replica shows as synchronization_health: 0, or what it last was.
    pub resolving_health_kept: bool,
    /// A secondary without its primary shows the name that it last knew in primary_replica; otherwise NULL.
    pub stale_primary_name: bool,
    /// FORCE on a synchronized replica of a NONE group takes the role away from a living primary (seen once with 2025).
    pub none_force_swaps_roles: bool,
    /// After a planned failover of an EXTERNAL group the old primary still says PRIMARY until it is told.
    pub external_old_primary_stays: bool,
    /// A restarted primary of a NONE group is primary again; otherwise it is RESOLVING.
    pub none_primary_returns: bool,
    /// Secondaries of a WSFC group whose primary died show RESOLVING; otherwise SECONDARY.
    pub leaderless_resolving: bool,
    /// Reading a database without quorum: 988 or 983.
    pub read_without_quorum: i32,
    /// SET HADR on a database in no group: 35242 or 35239.
    pub hadr_without_group: i32,
    /// 41131 and 41149 after a failover come as errors (16) or as information (10).
    pub late_failure_is_error: bool,
    /// A planned failover leaves the old primary's databases suspended, as Avaya's page says it does for POM.
    pub planned_failover_suspends_old_primary: bool,
}

impl Default for Doubts {
    fn default() -> Doubts {
        Doubts {
            without_quorum: 41131,
            unknown_group: 15151,
            without_context: 47104,
            single_user_on_standby: true,
            resolving_health_kept: false,
            stale_primary_name: true,
            none_force_swaps_roles: false,
            external_old_primary_stays: false,
            none_primary_returns: true,
            leaderless_resolving: false,
            read_without_quorum: 983,
            hadr_without_group: 35242,
            late_failure_is_error: true,
            planned_failover_suspends_old_primary: false,
        }
    }
}

impl Doubts {
    /// Every doubt the other way.
    pub fn opposite() -> Doubts {
        Doubts {
            without_quorum: 35220,
            unknown_group: 41100,
            without_context: 41105,
            single_user_on_standby: false,
            resolving_health_kept: true,
            stale_primary_name: false,
            none_force_swaps_roles: true,
            external_old_primary_stays: true,
            none_primary_returns: false,
            leaderless_resolving: true,
            read_without_quorum: 988,
            hadr_without_group: 35239,
            late_failure_is_error: false,
            planned_failover_suspends_old_primary: true,
        }
    }
}
