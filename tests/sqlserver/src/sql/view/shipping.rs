//! Log shipping's tables and what its procedures show of them.

use super::msdb::{file, msdb, need_administrator, when};
use super::{GUID, SYSNAME, nvarchar};
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, maybe, text};
use crate::world::SqlError;
use crate::world::msdb::{ShippedDatabase, ShippingPrimary, ShippingSecondary};

const FILE: Type = nvarchar(500);

pub fn secondary(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_secondary")?;
    let mut rows = Rows::of(&[
        ("secondary_id", GUID),
        ("primary_server", SYSNAME),
        ("primary_database", SYSNAME),
        ("backup_source_directory", FILE),
        ("backup_destination_directory", FILE),
        ("file_retention_period", Type::Int),
        ("copy_job_id", GUID),
        ("restore_job_id", GUID),
        ("monitor_server", SYSNAME),
        ("monitor_server_security_mode", Type::Bit),
        ("last_copied_file", FILE),
        ("last_copied_date", Type::DateTime),
    ]);
    for one in &msdb(reader).shipped_to {
        rows.push(vec![
            Value::Guid(one.id),
            text(&one.primary_server),
            text(&one.primary_database),
            text(&one.source_directory),
            text(&one.destination_directory),
            Value::Int(one.retention_minutes),
            Value::Guid(one.copy_job),
            Value::Guid(one.restore_job),
            text(&one.monitor),
            Value::Bit(true),
            file(&one.last_copied_file),
            when(one.last_copied),
        ]);
    }
    Ok(rows)
}

fn shipped<'a>(reader: &'a Reader<'_>) -> impl Iterator<Item = (&'a ShippingSecondary, &'a ShippedDatabase)> {
    msdb(reader).shipped_to.iter().flat_map(|one| one.databases.iter().map(move |database| (one, database)))
}

pub fn secondary_databases(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_secondary_databases")?;
    let mut rows = Rows::of(&[
        ("secondary_database", SYSNAME),
        ("secondary_id", GUID),
        ("restore_delay", Type::Int),
        ("restore_all", Type::Bit),
        ("restore_mode", Type::Bit),
        ("disconnect_users", Type::Bit),
        ("block_size", Type::Int),
        ("buffer_count", Type::Int),
        ("max_transfer_size", Type::Int),
        ("last_restored_file", FILE),
        ("last_restored_date", Type::DateTime),
    ]);
    for (one, database) in shipped(reader) {
        rows.push(vec![
            text(&database.name),
            Value::Guid(one.id),
            Value::Int(database.restore_delay_minutes),
            Value::Bit(database.restore_all),
            Value::Bit(database.standby),
            Value::Bit(database.disconnect_users),
            Value::Int(-1),
            Value::Int(-1),
            Value::Int(-1),
            file(&database.last_restored_file),
            when(database.last_restored),
        ]);
    }
    Ok(rows)
}

pub fn monitor_secondary(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_monitor_secondary")?;
    let mut rows = Rows::of(&[
        ("secondary_server", SYSNAME),
        ("secondary_database", SYSNAME),
        ("secondary_id", GUID),
        ("primary_server", SYSNAME),
        ("primary_database", SYSNAME),
        ("restore_threshold", Type::Int),
        ("threshold_alert", Type::Int),
        ("threshold_alert_enabled", Type::Bit),
        ("last_copied_file", FILE),
        ("last_copied_date", Type::DateTime),
        ("last_copied_date_utc", Type::DateTime),
        ("last_restored_file", FILE),
        ("last_restored_date", Type::DateTime),
        ("last_restored_date_utc", Type::DateTime),
        ("last_restored_latency", Type::Int),
        ("history_retention_period", Type::Int),
    ]);
    for (one, database) in shipped(reader) {
        rows.push(vec![
            text(reader.instance),
            text(&database.name),
            Value::Guid(one.id),
            text(&one.primary_server),
            text(&one.primary_database),
            Value::Int(database.restore_threshold_minutes),
            Value::Int(14421),
            Value::Bit(true),
            file(&one.last_copied_file),
            when(one.last_copied),
            when(one.last_copied),
            file(&database.last_restored_file),
            when(database.last_restored),
            when(database.last_restored),
            Value::Int(database.last_restored_latency_minutes),
            Value::Int(database.history_retention_minutes),
        ]);
    }
    Ok(rows)
}

pub fn primary_databases(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_primary_databases")?;
    let mut rows = Rows::of(&[
        ("primary_id", GUID),
        ("primary_database", SYSNAME),
        ("backup_directory", FILE),
        ("backup_share", FILE),
        ("backup_retention_period", Type::Int),
        ("backup_job_id", GUID),
        ("monitor_server", SYSNAME),
        ("monitor_server_security_mode", Type::Bit),
        ("last_backup_file", FILE),
        ("last_backup_date", Type::DateTime),
        ("user_specified_monitor", Type::Bit),
        ("backup_compression", Type::TinyInt),
    ]);
    for one in &msdb(reader).shipped_from {
        rows.push(vec![
            Value::Guid(one.id),
            text(&one.database),
            text(&one.backup_directory),
            text(&one.backup_share),
            Value::Int(one.retention_minutes),
            Value::Guid(one.backup_job),
            text(&one.monitor),
            Value::Bit(true),
            file(&one.last_backup_file),
            when(one.last_backup),
            Value::Bit(false),
            Value::TinyInt(2),
        ]);
    }
    Ok(rows)
}

pub fn primary_secondaries(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_primary_secondaries")?;
    let mut rows = Rows::of(&[("primary_id", GUID), ("secondary_server", SYSNAME), ("secondary_database", SYSNAME)]);
    for one in &msdb(reader).shipped_from {
        for (server, database) in &one.secondaries {
            rows.push(vec![Value::Guid(one.id), text(server), text(database)]);
        }
    }
    Ok(rows)
}

pub fn monitor_primary(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_monitor_primary")?;
    let mut rows = Rows::of(&[
        ("primary_id", GUID),
        ("primary_server", SYSNAME),
        ("primary_database", SYSNAME),
        ("backup_threshold", Type::Int),
        ("threshold_alert", Type::Int),
        ("threshold_alert_enabled", Type::Bit),
        ("last_backup_file", FILE),
        ("last_backup_date", Type::DateTime),
        ("last_backup_date_utc", Type::DateTime),
        ("history_retention_period", Type::Int),
    ]);
    for one in &msdb(reader).shipped_from {
        rows.push(vec![
            Value::Guid(one.id),
            text(reader.instance),
            text(&one.database),
            Value::Int(one.threshold_minutes),
            Value::Int(14420),
            Value::Bit(true),
            file(&one.last_backup_file),
            when(one.last_backup),
            when(one.last_backup),
            Value::Int(one.history_retention_minutes),
        ]);
    }
    Ok(rows)
}

pub fn history(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "log_shipping_monitor_history_detail")?;
    let mut rows = Rows::of(&[
        ("agent_id", GUID),
        ("agent_type", Type::TinyInt),
        ("session_id", Type::Int),
        ("database_name", SYSNAME),
        ("session_status", Type::TinyInt),
        ("log_time", Type::DateTime),
        ("log_time_utc", Type::DateTime),
        ("message", nvarchar(0)),
    ]);
    for one in &msdb(reader).history {
        rows.push(vec![
            Value::Guid(one.agent),
            Value::TinyInt(one.kind),
            Value::Int(one.session),
            text(&one.database),
            Value::TinyInt(one.status),
            Value::DateTime(one.at),
            Value::DateTime(one.at),
            text(&one.message),
        ]);
    }
    Ok(rows)
}

/// `sp_help_log_shipping_secondary_database`.
pub fn shipping_secondary(one: &ShippingSecondary, database: &ShippedDatabase) -> Rows {
    let mut rows = Rows::of(&[
        ("secondary_id", GUID),
        ("primary_server", SYSNAME),
        ("primary_database", SYSNAME),
        ("backup_source_directory", FILE),
        ("backup_destination_directory", FILE),
        ("file_retention_period", Type::Int),
        ("copy_job_id", GUID),
        ("restore_job_id", GUID),
        ("monitor_server", SYSNAME),
        ("monitor_server_security_mode", Type::Bit),
        ("secondary_database", SYSNAME),
        ("restore_delay", Type::Int),
        ("restore_all", Type::Bit),
        ("restore_mode", Type::Bit),
        ("disconnect_users", Type::Bit),
        ("block_size", Type::Int),
        ("buffer_count", Type::Int),
        ("max_transfer_size", Type::Int),
        ("restore_threshold", Type::Int),
        ("threshold_alert", Type::Int),
        ("threshold_alert_enabled", Type::Bit),
        ("last_copied_file", FILE),
        ("last_copied_date", Type::DateTime),
        ("last_copied_date_utc", Type::DateTime),
        ("last_restored_file", FILE),
        ("last_restored_date", Type::DateTime),
        ("last_restored_date_utc", Type::DateTime),
        ("history_retention_period", Type::Int),
        ("last_restored_latency", Type::Int),
    ]);
    rows.push(vec![
        Value::Guid(one.id),
        text(&one.primary_server),
        text(&one.primary_database),
        text(&one.source_directory),
        text(&one.destination_directory),
        Value::Int(one.retention_minutes),
        Value::Guid(one.copy_job),
        Value::Guid(one.restore_job),
        text(&one.monitor),
        Value::Bit(true),
        text(&database.name),
        Value::Int(database.restore_delay_minutes),
        Value::Bit(database.restore_all),
        Value::Bit(database.standby),
        Value::Bit(database.disconnect_users),
        Value::Int(-1),
        Value::Int(-1),
        Value::Int(-1),
        Value::Int(database.restore_threshold_minutes),
        Value::Int(14421),
        Value::Bit(true),
        file(&one.last_copied_file),
        when(one.last_copied),
        when(one.last_copied),
        file(&database.last_restored_file),
        when(database.last_restored),
        when(database.last_restored),
        Value::Int(database.history_retention_minutes),
        Value::Int(database.last_restored_latency_minutes),
    ]);
    rows
}

/// `sp_help_log_shipping_primary_database`.
pub fn shipping_primary(one: &ShippingPrimary) -> Rows {
    let mut rows = Rows::of(&[
        ("primary_id", GUID),
        ("primary_database", SYSNAME),
        ("backup_directory", FILE),
        ("backup_share", FILE),
        ("backup_retention_period", Type::Int),
        ("backup_compression", Type::TinyInt),
        ("backup_job_id", GUID),
        ("monitor_server", SYSNAME),
        ("monitor_server_security_mode", Type::Bit),
        ("backup_threshold", Type::Int),
        ("threshold_alert", Type::Int),
        ("threshold_alert_enabled", Type::Bit),
        ("last_backup_file", FILE),
        ("last_backup_date", Type::DateTime),
        ("last_backup_date_utc", Type::DateTime),
        ("history_retention_period", Type::Int),
    ]);
    rows.push(vec![
        Value::Guid(one.id),
        text(&one.database),
        text(&one.backup_directory),
        text(&one.backup_share),
        Value::Int(one.retention_minutes),
        Value::TinyInt(2),
        Value::Guid(one.backup_job),
        text(&one.monitor),
        Value::Bit(true),
        Value::Int(one.threshold_minutes),
        Value::Int(14420),
        Value::Bit(true),
        file(&one.last_backup_file),
        when(one.last_backup),
        when(one.last_backup),
        Value::Int(one.history_retention_minutes),
    ]);
    rows
}

/// `sp_help_log_shipping_monitor`.
pub fn monitor(reader: &Reader<'_>) -> Rows {
    let mut rows = Rows::of(&[
        ("status", Type::Bit),
        ("is_primary", Type::Bit),
        ("server", SYSNAME),
        ("database_name", SYSNAME),
        ("time_since_last_backup", Type::Int),
        ("last_backup_file", FILE),
        ("backup_threshold", Type::Int),
        ("is_backup_alert_enabled", Type::Bit),
        ("time_since_last_copy", Type::Int),
        ("last_copied_file", FILE),
        ("time_since_last_restore", Type::Int),
        ("last_restored_file", FILE),
        ("last_restored_latency", Type::Int),
        ("restore_threshold", Type::Int),
        ("is_restore_alert_enabled", Type::Bit),
    ]);
    let minutes = |at: Option<i64>| at.map(|at| i32::try_from((reader.world.clock - at) / 60_000).unwrap_or(i32::MAX));
    for one in &msdb(reader).shipped_from {
        let since = minutes(one.last_backup);
        let mut row = vec![
            Value::Bit(since.is_none_or(|since| since > one.threshold_minutes)),
            Value::Bit(true),
            text(reader.instance),
            text(&one.database),
            maybe(since, Value::Int),
            file(&one.last_backup_file),
            Value::Int(one.threshold_minutes),
            Value::Bit(true),
        ];
        row.resize(rows.columns.len(), Value::Null);
        rows.push(row);
    }
    for (one, database) in shipped(reader) {
        let since = minutes(database.last_restored);
        rows.push(vec![
            Value::Bit(since.is_none_or(|since| since > database.restore_threshold_minutes)),
            Value::Bit(false),
            text(reader.instance),
            text(&database.name),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            maybe(minutes(one.last_copied), Value::Int),
            file(&one.last_copied_file),
            maybe(since, Value::Int),
            file(&database.last_restored_file),
            Value::Int(database.last_restored_latency_minutes),
            Value::Int(database.restore_threshold_minutes),
            Value::Bit(true),
        ]);
    }
    rows
}
