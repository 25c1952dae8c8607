//! msdb's tables: backups, restores, jobs.

use super::{GUID, LSN, SYSNAME, nvarchar};
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, maybe, text};
use crate::world::SqlError;
use crate::world::msdb::Msdb;
use crate::world::server::Right;

pub(super) fn msdb<'a>(reader: &'a Reader<'_>) -> &'a Msdb {
    &reader.server().msdb
}

/// Log shipping's and the Agent's tables belong to sysadmin.
pub(super) fn need_administrator(reader: &Reader<'_>, table: &str) -> Result<(), SqlError> {
    if reader.may(Right::Sysadmin) {
        return Ok(());
    }
    Err(SqlError::new(229, &["SELECT", table, "msdb", "dbo"]))
}

pub(super) fn when(at: Option<i64>) -> Value {
    maybe(at, Value::DateTime)
}

pub(super) fn file(name: &Option<String>) -> Value {
    maybe(name.as_deref(), text)
}

pub fn backups(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("backup_set_id", Type::Int),
        ("backup_set_uuid", GUID),
        ("media_set_id", Type::Int),
        ("name", SYSNAME),
        ("position", Type::Int),
        ("first_lsn", LSN),
        ("last_lsn", LSN),
        ("checkpoint_lsn", LSN),
        ("database_backup_lsn", LSN),
        ("backup_start_date", Type::DateTime),
        ("backup_finish_date", Type::DateTime),
        ("type", Type::Char { length: 1 }),
        ("backup_size", Type::Numeric { precision: 20 }),
        ("database_name", SYSNAME),
        ("server_name", SYSNAME),
        ("machine_name", SYSNAME),
        ("recovery_model", nvarchar(60)),
        ("is_copy_only", Type::Bit),
        ("begins_log_chain", Type::Bit),
        ("is_force_offline", Type::Bit),
        ("is_damaged", Type::Bit),
        ("has_incomplete_metadata", Type::Bit),
        ("first_recovery_fork_guid", GUID),
        ("last_recovery_fork_guid", GUID),
        ("fork_point_lsn", LSN),
        ("family_guid", GUID),
        ("user_name", SYSNAME),
    ]);
    for set in &msdb(reader).backups {
        rows.push(vec![
            Value::Int(set.id),
            Value::Guid(set.set),
            Value::Int(set.media_set),
            Value::Null,
            Value::Int(set.position),
            Value::Numeric(set.first),
            Value::Numeric(set.last),
            Value::Numeric(set.checkpoint),
            Value::Numeric(set.database_backup),
            Value::DateTime(set.started),
            Value::DateTime(set.finished),
            text(set.kind.to_string()),
            Value::Numeric(i128::from(set.size)),
            text(&set.database),
            text(&set.server),
            text(&set.server),
            text(&set.recovery_model),
            Value::Bit(set.copy_only),
            Value::Bit(set.begins_log_chain),
            Value::Bit(set.force_offline),
            Value::Bit(false),
            Value::Bit(false),
            Value::Guid(set.first_fork),
            Value::Guid(set.last_fork),
            maybe(set.fork_point, Value::Numeric),
            Value::Guid(set.family),
            text("sa"),
        ]);
    }
    Ok(rows)
}

pub fn media(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("media_set_id", Type::Int),
        ("family_sequence_number", Type::TinyInt),
        ("physical_device_name", nvarchar(260)),
        ("device_type", Type::TinyInt),
    ]);
    let mut seen = Vec::new();
    for set in &msdb(reader).backups {
        if !seen.contains(&set.media_set) {
            seen.push(set.media_set);
            rows.push(vec![Value::Int(set.media_set), Value::TinyInt(1), text(&set.device), Value::TinyInt(2)]);
        }
    }
    Ok(rows)
}

pub fn restores(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("restore_history_id", Type::Int),
        ("restore_date", Type::DateTime),
        ("destination_database_name", SYSNAME),
        ("user_name", SYSNAME),
        ("backup_set_id", Type::Int),
        ("restore_type", Type::Char { length: 1 }),
        ("replace", Type::Bit),
        ("recovery", Type::Bit),
        ("restart", Type::Bit),
        ("stop_at", Type::DateTime),
        ("device_count", Type::TinyInt),
        ("stop_at_mark_name", SYSNAME),
        ("stop_before", Type::Bit),
    ]);
    for restore in &msdb(reader).restores {
        rows.push(vec![
            Value::Int(restore.id),
            Value::DateTime(restore.at),
            text(&restore.database),
            text(&restore.user),
            maybe(restore.backup, Value::Int),
            text(restore.kind.to_string()),
            Value::Bit(restore.replace),
            Value::Bit(restore.recovery),
            Value::Bit(false),
            Value::Null,
            Value::TinyInt(1),
            Value::Null,
            Value::Null,
        ]);
    }
    Ok(rows)
}

pub fn jobs(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "sysjobs")?;
    let mut rows = Rows::of(&[
        ("job_id", GUID),
        ("name", SYSNAME),
        ("enabled", Type::TinyInt),
        ("description", nvarchar(512)),
        ("date_created", Type::DateTime),
        ("date_modified", Type::DateTime),
    ]);
    for job in &msdb(reader).jobs {
        rows.push(vec![
            Value::Guid(job.id),
            text(&job.name),
            Value::TinyInt(u8::from(job.enabled)),
            text("Log Shipping job"),
            Value::DateTime(job.created),
            Value::DateTime(job.created),
        ]);
    }
    Ok(rows)
}

pub fn job_schedules(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "sysjobschedules")?;
    let mut rows = Rows::of(&[
        ("schedule_id", Type::Int),
        ("job_id", GUID),
        ("next_run_date", Type::Int),
        ("next_run_time", Type::Int),
    ]);
    for job in &msdb(reader).jobs {
        for schedule in &job.schedules {
            rows.push(vec![Value::Int(*schedule), Value::Guid(job.id), Value::Int(0), Value::Int(0)]);
        }
    }
    Ok(rows)
}

pub fn job_activity(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "sysjobactivity")?;
    let mut rows = Rows::of(&[
        ("session_id", Type::Int),
        ("job_id", GUID),
        ("run_requested_date", Type::DateTime),
        ("start_execution_date", Type::DateTime),
        ("last_executed_step_id", Type::Int),
        ("stop_execution_date", Type::DateTime),
        ("job_history_id", Type::Int),
        ("next_scheduled_run_date", Type::DateTime),
    ]);
    for job in &msdb(reader).jobs {
        rows.push(vec![
            Value::Int(1),
            Value::Guid(job.id),
            when(job.started),
            when(job.started),
            maybe(job.stopped, |_| Value::Int(1)),
            when(job.stopped),
            maybe(job.stopped, |_| Value::Int(job.runs)),
            Value::Null,
        ]);
    }
    Ok(rows)
}

/// The last run of each job.
pub fn job_history(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    need_administrator(reader, "sysjobhistory")?;
    let mut rows = Rows::of(&[
        ("instance_id", Type::Int),
        ("job_id", GUID),
        ("step_id", Type::Int),
        ("step_name", SYSNAME),
        ("run_status", Type::Int),
        ("run_date", Type::Int),
        ("run_time", Type::Int),
        ("message", nvarchar(4000)),
    ]);
    for job in &msdb(reader).jobs {
        let Some(stopped) = job.stopped else { continue };
        let stamp = crate::sql::value::write_stamp(stopped);
        rows.push(vec![
            Value::Int(job.runs),
            Value::Guid(job.id),
            Value::Int(0),
            text("(Job outcome)"),
            Value::Int(i32::from(job.succeeded)),
            Value::Int(stamp[..8].parse().unwrap_or(0)),
            Value::Int(stamp[8..].parse().unwrap_or(0)),
            text(if job.succeeded { "The job succeeded." } else { "The job failed." }),
        ]);
    }
    Ok(rows)
}
