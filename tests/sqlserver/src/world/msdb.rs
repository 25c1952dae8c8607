//! What an instance's msdb remembers: backups, restores, log shipping and its jobs.
//!
//! Apart from the databases it speaks of, which may be gone. Restoring copies a backup's header rows into the msdb of the
//! instance that restores, as the real one does.

use super::log::Guid;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Msdb {
    pub backups: Vec<BackupSet>,
    pub restores: Vec<Restore>,
    pub shipped_from: Vec<ShippingPrimary>,
    /// A source that this instance copies from, with its databases.
    pub shipped_to: Vec<ShippingSecondary>,
    pub history: Vec<HistoryDetail>,
    pub jobs: Vec<Job>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupSet {
    pub id: i32,
    pub set: Guid,
    pub media_set: i32,
    pub position: i32,
    pub first: i128,
    pub last: i128,
    pub checkpoint: i128,
    pub database_backup: i128,
    pub started: i64,
    pub finished: i64,
    /// D, I, L.
    pub kind: char,
    pub database: String,
    pub server: String,
    pub copy_only: bool,
    pub begins_log_chain: bool,
    pub force_offline: bool,
    pub first_fork: Guid,
    pub last_fork: Guid,
    pub fork_point: Option<i128>,
    pub family: Guid,
    pub recovery_model: String,
    pub size: i64,
    pub device: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    pub id: i32,
    pub at: i64,
    pub database: String,
    pub user: String,
    pub backup: Option<i32>,
    pub kind: char,
    pub replace: bool,
    pub recovery: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShippingPrimary {
    pub id: Guid,
    pub database: String,
    pub backup_directory: String,
    pub backup_share: String,
    pub retention_minutes: i32,
    pub backup_job: Guid,
    pub backup_job_name: String,
    pub monitor: String,
    pub last_backup_file: Option<String>,
    pub last_backup: Option<i64>,
    pub threshold_minutes: i32,
    pub history_retention_minutes: i32,
    pub secondaries: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShippingSecondary {
    pub id: Guid,
    pub primary_server: String,
    pub primary_database: String,
    pub source_directory: String,
    pub destination_directory: String,
    pub retention_minutes: i32,
    pub copy_job: Guid,
    pub restore_job: Guid,
    pub copy_job_name: String,
    pub restore_job_name: String,
    pub monitor: String,
    pub last_copied_file: Option<String>,
    pub last_copied: Option<i64>,
    pub databases: Vec<ShippedDatabase>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShippedDatabase {
    pub name: String,
    pub restore_delay_minutes: i32,
    pub restore_all: bool,
    pub standby: bool,
    pub disconnect_users: bool,
    pub restore_threshold_minutes: i32,
    pub history_retention_minutes: i32,
    pub last_restored_file: Option<String>,
    pub last_restored: Option<i64>,
    pub last_restored_latency_minutes: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryDetail {
    pub agent: Guid,
    /// 0 backup, 1 copy, 2 restore.
    pub kind: u8,
    pub session: i32,
    pub database: String,
    pub status: u8,
    pub at: i64,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: Guid,
    pub name: String,
    pub enabled: bool,
    pub what: JobKind,
    pub created: i64,
    pub started: Option<i64>,
    pub stopped: Option<i64>,
    pub succeeded: bool,
    pub runs: i32,
    /// Numbers of its schedules. None runs by itself.
    pub schedules: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Of a shipping primary, by database.
    Backup(String),
    /// Of a shipping secondary, by its id.
    Copy(Guid),
    Restore(Guid),
}

impl Msdb {
    pub fn job_named(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name.eq_ignore_ascii_case(name))
    }

    pub fn secondary_of(&self, database: &str) -> Option<(&ShippingSecondary, &ShippedDatabase)> {
        self.shipped_to.iter().find_map(|secondary| {
            let found = secondary.databases.iter().find(|one| one.name.eq_ignore_ascii_case(database))?;
            Some((secondary, found))
        })
    }
}
