//! SQL Server: availability groups, backup and restore, log shipping (what each statement does, and does not, is in docs/actions).
//!
//! A statement's return is never success: every action reads the state afterwards, on every instance that it was told of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sql::Connection;
use crate::time::Span;

/// Parameters of an availability group action: the group, the instance that it is about, and every instance that is asked
/// what came of it.
macro_rules! of_group {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The availability group.
            pub group: String,
            /// The instance that the action is about.
            pub connection: Connection,
            /// Every replica's instance, this one too: names of the group's connections.
            #[serde(default)]
            pub replicas: Vec<Connection>,
            $($fields)*
        }
    };
}

/// Parameters of an action on one database of an instance.
macro_rules! of_database {
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            pub connection: Connection,
            pub database: String,
            $($fields)*
        }
    };
}

of_group!(
    /// The instance becomes primary, without loss.
    AgFailover {});
of_group!(
/// The instance becomes primary, whatever it lacks.
AgForceFailover {
    /// Only an operator's word for this run makes it true: `${accepted_data_loss}`.
    pub accept_data_loss: bool,
});
of_group!(
/// Data movement of the instance's copies goes on. What they have and the new primary never got is thrown away.
AgResume {
    /// All of the group's without it.
    #[serde(default)]
    pub databases: Vec<String>,
});
of_group!(AgSuspend {
    #[serde(default)]
    pub databases: Vec<String>,
});
of_group!(AgSetMode {
    /// The replica whose mode is set, by its instance's name; the connection's own without it.
    #[serde(default)]
    pub replica: Option<String>,
    pub availability: Availability,
    #[serde(default)]
    pub failover: Option<FailoverMode>,
});
of_group!(
/// Every database of the instance's replica has all that the primary acknowledged.
AgSynchronized {
    /// Wait for it, with progress, until the step's timeout.
    #[serde(default)]
    pub wait: bool,
    /// What is enough: `synchronized`, or `synchronizing` for a replica in asynchronous mode.
    #[serde(default)]
    pub state: Synchronization,
});
of_group!(
/// What every replica says of itself. Two that both say PRIMARY fail whatever was asked.
AgRole {
    /// The role that the instance must have.
    #[serde(default)]
    pub is: Option<Role>,
    /// A CEL expression over `primary`, `replicas` and `paused` that must be true.
    #[serde(default)]
    pub expect: Option<String>,
    /// Repeat until it holds or the step's timeout ends.
    #[serde(default)]
    pub wait: bool,
});
of_group!(
    /// What a later data-loss bill is made of.
    AgSample {});
of_group!(
    /// The database is one of the group's; said to the primary.
    AgAdd { pub database: String, });
of_group!(
    /// The instance's copy, restored without recovery, follows the primary.
    AgJoin { pub database: String, });
of_group!(
    /// The instance's copy no longer follows; it is left restoring.
    AgLeave { pub database: String, });

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    Synchronous,
    Asynchronous,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailoverMode {
    Automatic,
    Manual,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Synchronization {
    #[default]
    Synchronized,
    /// Or better.
    Synchronizing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Primary,
    Secondary,
}

of_database!(
/// A backup file that the server can read back.
Backup {
    /// As the server sees it. A file that is there already must be a good backup of the same database, not older than the run.
    pub path: String,
    #[serde(default)]
    pub kind: BackupKind,
    /// Outside the chain of backups that others rely on.
    #[serde(default)]
    pub copy_only: bool,
    /// RESTORE VERIFYONLY afterwards.
    #[serde(default = "yes")]
    pub verify: bool,
});
of_database!(
/// The database out of backup files: a full one, then log backups, whose chain is proven before the first restore.
Restore {
    /// As the server sees them, in any order.
    pub paths: Vec<String>,
    #[serde(default)]
    pub then: AfterRestore,
    /// Over a database of another backup set.
    #[serde(default)]
    pub replace: bool,
    /// A log that neither begins nor ends in the recovery fork of what it would follow, and so is not proven to go on from it, is left
    /// out instead of stopping the restore. Only where the database is left restoring: for a join to an availability group, in which
    /// the server judges whether the copy has all that it needs.
    #[serde(default)]
    pub leave_out_unproven: bool,
});
of_database!(
    /// Nobody is connected to the database.
    KillConnections {});
of_database!(
    /// What the secondary knows of its log shipping: directories, last files, the last applied LSN.
    LogShippingState {});
of_database!(
    /// The secondary's log shipping is removed, after what it knew has been kept on the host and given to `register`.
    LogShippingRemove {});
of_database!(
/// Backup files that are on the share and not yet in the secondary's directory are copied there: told by header and LSN.
LogShippingCopy {
    /// As this host sees it.
    pub source: String,
    /// As this host sees it.
    pub destination: String,
    /// The destination as the server sees it, where that differs.
    #[serde(default)]
    pub destination_at_server: Option<String>,
    /// A share that cannot be read is no failure: what is missing is listed.
    #[serde(default)]
    pub source_may_be_down: bool,
});
of_database!(
/// Log backups are applied in LSN order; nothing is restored unless the chain is complete.
LogShippingApply {
    /// As this host sees it.
    pub directory: String,
    #[serde(default)]
    pub directory_at_server: Option<String>,
    /// The last LSN that the chain must reach, where somebody knows it.
    #[serde(default)]
    pub until_lsn: Option<String>,
});
of_database!(
    /// The database is brought online with recovery: no further log can be applied.
    LogShippingRecover {});
of_database!(
/// The database's log is backed up for shipping.
LogShippingPrimary {
    pub backup_directory: String,
    pub backup_share: String,
    /// How often its log is backed up.
    #[serde(default = "every")]
    pub every: Span,
    #[serde(default = "retention")]
    pub retention: Span,
    /// The secondary's instance, which the primary lists for its monitoring.
    #[serde(default)]
    pub secondary_server: Option<String>,
    /// The same name without it.
    #[serde(default)]
    pub secondary_database: Option<String>,
});
of_database!(
/// The database, restored without recovery, is shipped to.
LogShippingSecondary {
    pub primary_server: String,
    pub primary_database: String,
    pub source: String,
    pub destination: String,
    /// How often files are copied and restored.
    #[serde(default = "every")]
    pub every: Span,
    #[serde(default = "retention")]
    pub retention: Span,
});

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    #[default]
    Full,
    Log,
    /// The last log of a database that is left restoring.
    Tail,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterRestore {
    /// Left restoring: more logs can be applied, and it can join a group.
    #[default]
    Norecovery,
    Recovery,
}

fn yes() -> bool {
    true
}

fn every() -> Span {
    Span::from_secs(15 * 60)
}

fn retention() -> Span {
    Span::from_secs(3 * 24 * 3600)
}
