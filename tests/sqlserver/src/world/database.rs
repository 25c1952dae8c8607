//! A database on one instance: how far it has come in its family's log, its state, and its place in a group.
//!
//! Apart from the group, because a database lives on without one. It must never say SYNCHRONIZED while it is suspended.

use super::log::{ForkId, Guid};
use super::lsn::Lsn;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Database {
    pub name: String,
    pub id: i32,
    pub created: i64,
    /// The log in `World::logs`.
    pub family: Guid,
    pub fork: ForkId,
    /// What is hardened here; on a writable database the end of the log.
    pub end: Lsn,
    pub redone: Lsn,
    pub state: State,
    /// STANDBY: online, read-only, restorable.
    pub standby: Option<String>,
    /// RESTORING by a restore sequence that may go on.
    pub ready_to_roll_forward: bool,
    pub read_only: bool,
    pub access: Access,
    pub recovery: RecoveryModel,
    /// Where the next log backup begins; none: no full backup yet.
    pub log_backed_up_to: Option<Lsn>,
    pub last_full_backup: Option<Lsn>,
    pub hadr: Option<Membership>,
    /// Raised whenever sessions in it must be cut.
    pub epoch: u64,
    /// On a writable database the records that the write load owes, on a secondary the KB that may still come; in thousandths.
    pub owed: u64,
    /// KB that may still be redone, in thousandths.
    pub redo_owed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Online,
    Restoring,
    Recovering { until: i64 },
    RecoveryPending,
    Suspect,
    Offline,
}

impl State {
    pub fn code(self) -> u8 {
        match self {
            State::Online => 0,
            State::Restoring => 1,
            State::Recovering { .. } => 2,
            State::RecoveryPending => 3,
            State::Suspect => 4,
            State::Offline => 6,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            State::Online => "ONLINE",
            State::Restoring => "RESTORING",
            State::Recovering { .. } => "RECOVERING",
            State::RecoveryPending => "RECOVERY_PENDING",
            State::Suspect => "SUSPECT",
            State::Offline => "OFFLINE",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    Multi,
    Single,
    Restricted,
}

impl Access {
    pub fn code(self) -> u8 {
        match self {
            Access::Multi => 0,
            Access::Single => 1,
            Access::Restricted => 2,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Access::Multi => "MULTI_USER",
            Access::Single => "SINGLE_USER",
            Access::Restricted => "RESTRICTED_USER",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveryModel {
    Full,
    BulkLogged,
    Simple,
}

impl RecoveryModel {
    pub fn code(self) -> u8 {
        match self {
            RecoveryModel::Full => 1,
            RecoveryModel::BulkLogged => 2,
            RecoveryModel::Simple => 3,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            RecoveryModel::Full => "FULL",
            RecoveryModel::BulkLogged => "BULK_LOGGED",
            RecoveryModel::Simple => "SIMPLE",
        }
    }
}

/// What a database knows of its movement in a group. On a primary only `suspended` and `recovery` mean something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    pub group: String,
    pub database: Guid,
    pub movement: Movement,
    pub suspended: Option<Suspension>,
    /// `recovery_lsn`.
    pub recovery: Lsn,
    pub times: Times,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub sent: i64,
    pub received: i64,
    pub hardened: i64,
    pub redone: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Movement {
    NotSynchronizing,
    /// A session with the primary begins.
    Connecting {
        until: i64,
    },
    /// Undoing what the primary does not have.
    Reverting {
        until: i64,
        to: Lsn,
    },
    Initializing {
        until: i64,
    },
    /// Not SYNCHRONIZED before `since` plus the time that the world asks for.
    Synchronizing {
        since: i64,
    },
    Synchronized,
}

impl Movement {
    pub fn code(self) -> u8 {
        match self {
            Movement::NotSynchronizing | Movement::Connecting { .. } => 0,
            Movement::Synchronizing { .. } => 1,
            Movement::Synchronized => 2,
            Movement::Reverting { .. } => 3,
            Movement::Initializing { .. } => 4,
        }
    }

    pub fn words(self) -> &'static str {
        movement_words(self.code())
    }

    /// Log comes in.
    pub fn moves(self) -> bool {
        matches!(self, Movement::Synchronizing { .. } | Movement::Synchronized)
    }
}

pub fn movement_words(code: u8) -> &'static str {
    match code {
        0 => "NOT SYNCHRONIZING",
        1 => "SYNCHRONIZING",
        2 => "SYNCHRONIZED",
        3 => "REVERTING",
        _ => "INITIALIZING",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    pub reason: SuspendReason,
    /// By a SUSPEND on the primary: a RESUME there ends it.
    pub by_primary: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuspendReason {
    User,
    Partner,
    Redo,
    Restart,
}

impl SuspendReason {
    pub fn code(self) -> u8 {
        match self {
            SuspendReason::User => 0,
            SuspendReason::Partner => 1,
            SuspendReason::Redo => 2,
            SuspendReason::Restart => 5,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            SuspendReason::User => "SUSPEND_FROM_USER",
            SuspendReason::Partner => "SUSPEND_FROM_PARTNER",
            SuspendReason::Redo => "SUSPEND_FROM_REDO",
            SuspendReason::Restart => "SUSPEND_FROM_RESTART",
        }
    }
}

impl Database {
    pub fn is_online(&self) -> bool {
        self.state == State::Online
    }

    /// In a restore sequence: RESTORING or STANDBY.
    pub fn can_roll_forward(&self) -> bool {
        self.ready_to_roll_forward && (self.state == State::Restoring || self.standby.is_some())
    }

    pub fn suspend(&mut self, suspension: Suspension) {
        if let Some(hadr) = &mut self.hadr {
            hadr.suspended = Some(suspension);
            hadr.movement = Movement::NotSynchronizing;
        }
    }
}
