//! What a secondary knows of its log shipping, and keeping it: the procedure that removes log shipping erases all of it.
//!
//! Apart because it outlives what it describes. The kept file is written, and on the disk, before anything is erased; it is
//! never overwritten with less.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::PathBuf,
};

use baton_model::outcome::Fault;
use serde::{Deserialize, Serialize};

use super::super::instance::Instance;
use crate::{action::Context, host::sqlserver::Row};

/// The tables `log_shipping_secondary`, `log_shipping_secondary_databases` and the monitor's, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub secondary_id: String,
    pub primary_server: String,
    pub primary_database: String,
    /// The share that files are copied from.
    pub source: String,
    /// The secondary's own directory.
    pub destination: String,
    pub retention_minutes: Option<i64>,
    pub restore_delay_minutes: Option<i64>,
    pub standby: bool,
    pub disconnect_users: bool,
    pub last_copied_file: Option<String>,
    pub last_copied: Option<String>,
    pub last_restored_file: Option<String>,
    pub last_restored: Option<String>,
    /// What the primary said that it backed up last, where this instance is its monitor.
    pub last_backup_file: Option<String>,
    pub last_backup: Option<String>,
    pub copy_job: Option<String>,
    pub restore_job: Option<String>,
}

/// None: the database is no log shipping secondary here.
pub async fn read(instance: &mut Instance<'_>, database: &str) -> Result<Option<Record>, Fault> {
    const SECONDARY: &str = "SELECT s.secondary_id, s.primary_server, s.primary_database, s.backup_source_directory, s.backup_destination_directory, \
         s.file_retention_period, s.copy_job_id, s.restore_job_id, s.last_copied_file, s.last_copied_date, d.restore_delay, \
         d.restore_mode, d.disconnect_users, d.last_restored_file, d.last_restored_date \
         FROM msdb.dbo.log_shipping_secondary_databases d \
         JOIN msdb.dbo.log_shipping_secondary s ON s.secondary_id = d.secondary_id WHERE d.secondary_database = @P1";
    const MONITOR: &str = "SELECT last_backup_file, last_backup_date FROM msdb.dbo.log_shipping_monitor_primary \
                           WHERE primary_server = @P1 AND primary_database = @P2";
    let rows = instance.rows(SECONDARY, &[database.into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut record = Record {
        secondary_id: row.text("secondary_id").unwrap_or_default(),
        primary_server: row.text("primary_server").unwrap_or_default(),
        primary_database: row.text("primary_database").unwrap_or_default(),
        source: row.text("backup_source_directory").unwrap_or_default(),
        destination: row.text("backup_destination_directory").unwrap_or_default(),
        retention_minutes: row.int("file_retention_period"),
        restore_delay_minutes: row.int("restore_delay"),
        standby: row.flag("restore_mode").unwrap_or(false),
        disconnect_users: row.flag("disconnect_users").unwrap_or(false),
        last_copied_file: filled(row, "last_copied_file"),
        last_copied: filled(row, "last_copied_date"),
        last_restored_file: filled(row, "last_restored_file"),
        last_restored: filled(row, "last_restored_date"),
        last_backup_file: None,
        last_backup: None,
        copy_job: row.text("copy_job_id"),
        restore_job: row.text("restore_job_id"),
    };
    let primary = [record.primary_server.as_str().into(), record.primary_database.as_str().into()];
    if let Some(row) = instance.rows(MONITOR, &primary).await?.first() {
        record.last_backup_file = filled(row, "last_backup_file");
        record.last_backup = filled(row, "last_backup_date");
    }
    Ok(Some(record))
}

fn filled(row: &Row, column: &str) -> Option<String> {
    row.text(column).filter(|text| !text.is_empty())
}

/// What was kept of the database's log shipping by this group's runs on this host.
pub fn kept(context: &Context, instance: &Instance<'_>, database: &str) -> Result<Option<Record>, Fault> {
    let Some(path) = path(context, instance, database) else { return Ok(None) };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(&path, &error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&path, &error.to_string())),
    }
}

/// Keeps it, on the disk when this returns.
pub fn keep(context: &Context, instance: &Instance<'_>, database: &str, record: &Record) -> Result<PathBuf, Fault> {
    let path =
        path(context, instance, database).ok_or_else(|| unusable(&PathBuf::from("?"), "a dry run has no directory"))?;
    let parent = path.parent().expect("it is in the group's directory").to_owned();
    let written = (|| -> std::io::Result<()> {
        fs::create_dir_all(&parent)?;
        let mut file = tempfile::NamedTempFile::new_in(&parent)?;
        file.write_all(serde_json::to_string_pretty(record).expect("text and numbers").as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(&parent)?.sync_all()?;
        // The directory's own name too, which may be new.
        parent.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
    })();
    written.map(|()| path.clone()).map_err(|error| unusable(&path, &error.to_string()))
}

fn path(context: &Context, instance: &Instance<'_>, database: &str) -> Option<PathBuf> {
    let name = format!("{}-{database}", instance.name());
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c.to_ascii_lowercase() } else { '_' })
        .collect();
    // Two names that only differ in what was replaced are two files.
    let digest = baton_model::digest::Digest::of(&name.to_lowercase()).0;
    Some(context.group_directory()?.join("log-shipping").join(format!("{plain}-{}.json", &digest[..8])))
}

fn unusable(path: &std::path::Path, why: &str) -> Fault {
    Fault::new(
        "BTN-0664",
        format!("the record of log shipping {} cannot be kept or read: {why}", path.display()),
        "Make room on the disk or mend the file; nothing was removed.",
    )
}
