//! Who is connected and what they do, on this instance.

use super::{GUID, SYSNAME, nvarchar};
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, maybe, text};
use crate::sql::session::{Running, Session};
use crate::world::SqlError;
use crate::world::server::Right;

fn database_id(reader: &Reader<'_>, session: &Session) -> i32 {
    reader.world.database(reader.instance, &session.database).map_or(1, |database| database.id)
}

/// Without VIEW SERVER STATE everybody sees their own session only.
fn visible<'a>(reader: &'a Reader<'_>) -> impl Iterator<Item = &'a Session> {
    let all = reader.may(Right::ViewServerState);
    reader.sessions.all.values().filter(move |session| all || session.spid == reader.spid)
}

fn spid(session: &Session) -> Value {
    Value::SmallInt(i16::try_from(session.spid).unwrap_or(i16::MAX))
}

pub fn sessions(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("session_id", Type::SmallInt),
        ("login_time", Type::DateTime),
        ("host_name", SYSNAME),
        ("program_name", SYSNAME),
        ("host_process_id", Type::Int),
        ("client_version", Type::Int),
        ("client_interface_name", nvarchar(32)),
        ("login_name", SYSNAME),
        ("original_login_name", SYSNAME),
        ("status", nvarchar(30)),
        ("cpu_time", Type::Int),
        ("last_request_start_time", Type::DateTime),
        ("last_request_end_time", Type::DateTime),
        ("is_user_process", Type::Bit),
        ("database_id", Type::SmallInt),
        ("open_transaction_count", Type::Int),
        ("row_count", Type::BigInt),
    ]);
    if reader.may(Right::ViewServerState) {
        for system in [1_i16, 9, 14] {
            let mut row = vec![Value::SmallInt(system), Value::DateTime(reader.server().started_at)];
            row.resize(rows.columns.len(), Value::Null);
            row[7] = text("sa");
            row[8] = text("sa");
            row[9] = text("background");
            row[10] = Value::Int(0);
            row[13] = Value::Bit(false);
            row[14] = Value::SmallInt(1);
            row[15] = Value::Int(0);
            row[16] = Value::BigInt(0);
            rows.push(row);
        }
    }
    for session in visible(reader) {
        let count = session.transaction.as_ref().map_or(0, |one| i32::try_from(one.count).unwrap_or(0));
        rows.push(vec![
            spid(session),
            Value::DateTime(session.connected_at),
            text(&session.client_host),
            text(&session.application),
            Value::Null,
            Value::Int(7),
            text("TDS"),
            text(&session.user),
            text(&session.user),
            text(if session.running.is_some() { "running" } else { "sleeping" }),
            Value::Int(0),
            Value::DateTime(session.last_batch),
            Value::DateTime(session.last_batch),
            Value::Bit(true),
            Value::SmallInt(i16::try_from(database_id(reader, session)).unwrap_or(1)),
            Value::Int(count),
            Value::BigInt(session.row_count),
        ]);
    }
    Ok(rows)
}

fn percent(reader: &Reader<'_>, running: &Running) -> f64 {
    let now = reader.world.clock;
    match running.until {
        Some(until) if until > running.since => {
            let part = (now - running.since) as f64 / (until - running.since) as f64;
            (part * 100.0).clamp(0.0, 99.9)
        }
        _ => 0.0,
    }
}

pub fn requests(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("session_id", Type::SmallInt),
        ("request_id", Type::Int),
        ("start_time", Type::DateTime),
        ("status", nvarchar(30)),
        ("command", nvarchar(32)),
        ("database_id", Type::SmallInt),
        ("blocking_session_id", Type::SmallInt),
        ("wait_type", nvarchar(60)),
        ("wait_time", Type::Int),
        ("percent_complete", Type::Float),
        ("estimated_completion_time", Type::BigInt),
        ("cpu_time", Type::Int),
        ("total_elapsed_time", Type::Int),
        ("sql_handle", Type::VarBinary { length: 64 }),
        ("row_count", Type::BigInt),
    ]);
    for session in visible(reader) {
        let Some(running) = &session.running else { continue };
        let elapsed = i32::try_from(reader.world.clock - running.since).unwrap_or(i32::MAX);
        let left = running.until.map_or(0, |until| (until - reader.world.clock).max(0));
        rows.push(vec![
            spid(session),
            Value::Int(0),
            Value::DateTime(running.since),
            text(if running.until.is_some() { "suspended" } else { "running" }),
            text(&running.command),
            Value::SmallInt(i16::try_from(database_id(reader, session)).unwrap_or(1)),
            Value::SmallInt(0),
            maybe(running.until, |_| text("BACKUPTHREAD")),
            Value::Int(0),
            Value::Float(percent(reader, running)),
            Value::BigInt(left),
            Value::Int(0),
            Value::Int(elapsed),
            Value::Binary(session.spid.to_be_bytes().to_vec()),
            Value::BigInt(session.row_count),
        ]);
    }
    Ok(rows)
}

/// `sys.dm_exec_sql_text(sql_handle)`.
fn text_of(reader: &Reader<'_>, handle: &[u8]) -> Option<String> {
    let spid = u16::from_be_bytes(handle.try_into().ok()?);
    Some(reader.sessions.all.get(&spid)?.running.as_ref()?.text.clone())
}

fn text_rows(found: Option<String>) -> Rows {
    let mut rows = Rows::of(&[
        ("dbid", Type::SmallInt),
        ("objectid", Type::Int),
        ("number", Type::SmallInt),
        ("encrypted", Type::Bit),
        ("text", nvarchar(0)),
    ]);
    if let Some(found) = found {
        rows.push(vec![Value::Null, Value::Null, Value::Null, Value::Bit(false), text(found)]);
    }
    rows
}

pub fn connections(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("session_id", Type::Int),
        ("connect_time", Type::DateTime),
        ("net_transport", nvarchar(40)),
        ("protocol_type", nvarchar(40)),
        ("encrypt_option", nvarchar(40)),
        ("auth_scheme", nvarchar(40)),
        ("client_net_address", Type::VarChar { length: 48 }),
        ("local_net_address", Type::VarChar { length: 48 }),
        ("local_tcp_port", Type::Int),
        ("connection_id", GUID),
    ]);
    let (host, port) = reader.server().address.rsplit_once(':').unwrap_or(("127.0.0.1", "1433"));
    for session in reader.sessions.all.values() {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&session.spid.to_be_bytes());
        id[2..10].copy_from_slice(&session.connected_at.to_be_bytes());
        rows.push(vec![
            Value::Int(i32::from(session.spid)),
            Value::DateTime(session.connected_at),
            text("TCP"),
            text("TSQL"),
            text(if session.encrypted { "TRUE" } else { "FALSE" }),
            text("SQL"),
            text("127.0.0.1"),
            text(host),
            Value::Int(port.parse().unwrap_or(1433)),
            Value::Guid(id),
        ]);
    }
    Ok(rows)
}

/// Every session holds its database; that is all the locks there are.
pub fn locks(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("resource_type", nvarchar(60)),
        ("resource_database_id", Type::Int),
        ("request_mode", nvarchar(60)),
        ("request_type", nvarchar(60)),
        ("request_status", nvarchar(60)),
        ("request_session_id", Type::Int),
        ("request_owner_type", nvarchar(60)),
    ]);
    for session in reader.sessions.all.values() {
        let mut ids = vec![database_id(reader, session)];
        for name in session.transaction.iter().flat_map(|one| one.touched.keys()) {
            ids.extend(reader.world.database(reader.instance, name).map(|database| database.id));
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            rows.push(vec![
                text("DATABASE"),
                Value::Int(id),
                text("S"),
                text("LOCK"),
                text("GRANT"),
                Value::Int(i32::from(session.spid)),
                text("SHARED_TRANSACTION_WORKSPACE"),
            ]);
        }
    }
    Ok(rows)
}

pub fn statement_text(reader: &Reader<'_>, arguments: &[Value]) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    match arguments {
        [Value::Binary(handle)] => Ok(text_rows(text_of(reader, handle))),
        [Value::Null] => Ok(text_rows(None)),
        _ => Err(SqlError::new(174, &["dm_exec_sql_text", "1"])),
    }
}
