//! The instance itself: its databases, files, logins, services, endpoints.

use super::{GUID, LSN, SYSNAME, nvarchar};
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, maybe, text};
use crate::world::SqlError;
use crate::world::server::Right;

pub fn databases(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("name", SYSNAME),
        ("database_id", Type::Int),
        ("source_database_id", Type::Int),
        ("owner_sid", Type::VarBinary { length: 85 }),
        ("create_date", Type::DateTime),
        ("compatibility_level", Type::TinyInt),
        ("collation_name", SYSNAME),
        ("user_access", Type::TinyInt),
        ("user_access_desc", nvarchar(60)),
        ("is_read_only", Type::Bit),
        ("is_auto_close_on", Type::Bit),
        ("state", Type::TinyInt),
        ("state_desc", nvarchar(60)),
        ("is_in_standby", Type::Bit),
        ("is_cleanly_shutdown", Type::Bit),
        ("recovery_model", Type::TinyInt),
        ("recovery_model_desc", nvarchar(60)),
        ("log_reuse_wait", Type::TinyInt),
        ("log_reuse_wait_desc", nvarchar(60)),
        ("replica_id", GUID),
        ("group_database_id", GUID),
    ]);
    for database in reader.server().databases.values() {
        let hadr = database.hadr.as_ref();
        let member = hadr
            .and_then(|hadr| reader.world.replica(reader.instance, &hadr.group))
            .and_then(|replica| replica.known.members.get(reader.instance));
        let standby = database.standby.is_some();
        rows.push(vec![
            text(&database.name),
            Value::Int(database.id),
            Value::Null,
            Value::Binary(vec![1]),
            Value::DateTime(database.created),
            Value::TinyInt(u8::try_from(reader.server().version * 10).unwrap_or(160)),
            text("SQL_Latin1_General_CP1_CI_AS"),
            Value::TinyInt(database.access.code()),
            text(database.access.words()),
            Value::Bit(standby || database.read_only),
            Value::Bit(false),
            Value::TinyInt(database.state.code()),
            text(database.state.words()),
            Value::Bit(standby),
            Value::Bit(false),
            Value::TinyInt(database.recovery.code()),
            text(database.recovery.words()),
            Value::TinyInt(0),
            text("NOTHING"),
            maybe(member, |member| Value::Guid(member.id)),
            maybe(hadr, |hadr| Value::Guid(hadr.database)),
        ]);
    }
    Ok(rows)
}

pub fn files(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("database_id", Type::Int),
        ("file_id", Type::Int),
        ("type", Type::TinyInt),
        ("type_desc", nvarchar(60)),
        ("name", SYSNAME),
        ("physical_name", nvarchar(260)),
        ("state", Type::TinyInt),
        ("state_desc", nvarchar(60)),
        ("size", Type::Int),
    ]);
    for database in reader.server().databases.values() {
        for (id, kind, words, suffix) in [(1, 0, "ROWS", ".mdf"), (2, 1, "LOG", "_log.ldf")] {
            let logical = format!("{}{}", database.name, if kind == 1 { "_log" } else { "" });
            rows.push(vec![
                Value::Int(database.id),
                Value::Int(id),
                Value::TinyInt(kind),
                text(words),
                text(logical),
                text(format!("/var/opt/mssql/data/{}{suffix}", database.name)),
                Value::TinyInt(database.state.code()),
                text(database.state.words()),
                Value::Int(1024),
            ]);
        }
    }
    Ok(rows)
}

pub fn recovery_status(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("database_id", Type::Int),
        ("database_guid", GUID),
        ("family_guid", GUID),
        ("last_log_backup_lsn", LSN),
        ("recovery_fork_guid", GUID),
        ("first_recovery_fork_guid", GUID),
        ("fork_point_lsn", LSN),
    ]);
    for database in reader.server().databases.values() {
        let log = reader.world.log_of(database);
        let fork = &log.forks[database.fork];
        let first = fork.parent.map_or(fork.id, |(parent, _)| log.forks[parent].id);
        rows.push(vec![
            Value::Int(database.id),
            Value::Guid(database.family),
            Value::Guid(database.family),
            maybe(database.log_backed_up_to, |lsn| Value::Numeric(lsn.block())),
            Value::Guid(fork.id),
            Value::Guid(first),
            maybe(fork.parent, |(_, at)| Value::Numeric(at.block())),
        ]);
    }
    Ok(rows)
}

/// Mirroring is not modelled: every database is outside of it.
pub fn mirroring(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("database_id", Type::Int),
        ("mirroring_guid", GUID),
        ("mirroring_state", Type::TinyInt),
        ("mirroring_state_desc", nvarchar(60)),
        ("mirroring_role", Type::TinyInt),
        ("mirroring_role_desc", nvarchar(60)),
        ("mirroring_partner_name", SYSNAME),
    ]);
    for database in reader.server().databases.values() {
        let mut row = vec![Value::Int(database.id)];
        row.resize(rows.columns.len(), Value::Null);
        rows.push(row);
    }
    Ok(rows)
}

pub fn principals(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("name", SYSNAME),
        ("principal_id", Type::Int),
        ("sid", Type::VarBinary { length: 85 }),
        ("type", Type::Char { length: 1 }),
        ("type_desc", nvarchar(60)),
        ("is_disabled", Type::Bit),
        ("default_database_name", SYSNAME),
    ]);
    let all = reader.may(Right::ViewAnyDefinition);
    let own = reader.session().user.to_lowercase();
    for (at, (key, account)) in reader.server().logins.iter().enumerate() {
        if !all && *key != own {
            continue;
        }
        rows.push(vec![
            text(&account.name),
            Value::Int(i32::try_from(256 + at).unwrap_or(i32::MAX)),
            Value::Binary(account.name.as_bytes().to_vec()),
            text("S"),
            text("SQL_LOGIN"),
            Value::Bit(account.disabled),
            text(&account.default_database),
        ]);
    }
    Ok(rows)
}

pub fn services(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("servicename", nvarchar(256)),
        ("startup_type", Type::Int),
        ("startup_type_desc", nvarchar(256)),
        ("status", Type::Int),
        ("status_desc", nvarchar(256)),
        ("process_id", Type::Int),
        ("last_startup_time", Type::DateTime),
        ("service_account", nvarchar(256)),
        ("filename", nvarchar(256)),
        ("is_clustered", nvarchar(1)),
    ]);
    let instance = reader.instance.split_once('\\').map_or("MSSQLSERVER", |(_, name)| name);
    let all = [("SQL Server", true), ("SQL Server Agent", reader.server().agent_running)];
    for (service, running) in all {
        rows.push(vec![
            text(format!("{service} ({instance})")),
            Value::Int(2),
            text("Automatic"),
            Value::Int(if running { 4 } else { 1 }),
            text(if running { "Running" } else { "Stopped" }),
            Value::Null,
            if running { Value::DateTime(reader.server().started_at) } else { Value::Null },
            text(format!("NT Service\\{instance}")),
            Value::Null,
            text("N"),
        ]);
    }
    Ok(rows)
}

pub fn system(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[("sqlserver_start_time", Type::DateTime), ("cpu_count", Type::Int)]);
    rows.push(vec![Value::DateTime(reader.server().started_at), Value::Int(2)]);
    Ok(rows)
}

pub fn endpoints(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("name", SYSNAME),
        ("endpoint_id", Type::Int),
        ("protocol", Type::TinyInt),
        ("protocol_desc", nvarchar(60)),
        ("type", Type::TinyInt),
        ("type_desc", nvarchar(60)),
        ("state", Type::TinyInt),
        ("state_desc", nvarchar(60)),
    ]);
    rows.push(vec![
        text("TSQL Default TCP"),
        Value::Int(4),
        Value::TinyInt(2),
        text("TCP"),
        Value::TinyInt(2),
        text("TSQL"),
        Value::TinyInt(0),
        text("STARTED"),
    ]);
    if reader.server().hadr_enabled {
        rows.push(mirroring_endpoint());
    }
    Ok(rows)
}

fn mirroring_endpoint() -> Vec<Value> {
    vec![
        text("Hadr_endpoint"),
        Value::Int(65536),
        Value::TinyInt(2),
        text("TCP"),
        Value::TinyInt(4),
        text("DATABASE_MIRRORING"),
        Value::TinyInt(0),
        text("STARTED"),
    ]
}

pub fn mirroring_endpoints(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = endpoints(reader)?;
    rows.rows.retain(|row| row[4] == Value::TinyInt(4));
    rows.columns.extend(Rows::of(&[("role", Type::TinyInt), ("role_desc", nvarchar(60))]).columns);
    for row in &mut rows.rows {
        row.extend([Value::TinyInt(3), text("ALL")]);
    }
    Ok(rows)
}

pub fn tables(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("name", SYSNAME),
        ("object_id", Type::Int),
        ("type", Type::Char { length: 2 }),
        ("type_desc", nvarchar(60)),
    ]);
    for (at, table) in reader.tables(&reader.session().database.clone())?.values().enumerate() {
        rows.push(vec![
            text(&table.name),
            Value::Int(1_000_000 + i32::try_from(at).unwrap_or(0)),
            text("U"),
            text("USER_TABLE"),
        ]);
    }
    Ok(rows)
}

pub fn information_tables(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("TABLE_CATALOG", SYSNAME),
        ("TABLE_SCHEMA", SYSNAME),
        ("TABLE_NAME", SYSNAME),
        ("TABLE_TYPE", Type::VarChar { length: 10 }),
    ]);
    let database = reader.session().database.clone();
    for table in reader.tables(&database)?.values() {
        rows.push(vec![text(&database), text("dbo"), text(&table.name), text("BASE TABLE")]);
    }
    Ok(rows)
}
