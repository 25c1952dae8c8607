//! SQL on PostgreSQL.

use baton_model::{
    action::sql::{Connection, Tls},
    outcome::Fault,
    time::Span,
};
use serde_json::Value;
use tokio_postgres::types::ToSql;

use super::{cell, limits, parameter::Parameter};
use crate::{
    action::Context,
    host::postgres::{Error, Session, Target},
};

/// What an operator reads when a server cannot be asked, or refuses.
pub(in crate::action) fn fault(error: &Error) -> Fault {
    let (code, remedy) = match error {
        Error::Connect { .. } => (
            "BTN-0710",
            "Check that the server runs, that the address is right, and that it admits this host and user.",
        ),
        Error::Authority { .. } => ("BTN-0711", "Correct ca_file of the connection."),
        Error::Statement { error, .. } if *error.code() == tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE => (
            "BTN-0712",
            "Another session holds the lock. Find it in pg_stat_activity (pg_blocking_pids), let it end, then retry.",
        ),
        Error::Statement { .. } => ("BTN-0713", ""),
        Error::Broken { .. } => {
            ("BTN-0714", "Check the server's log; whether the last statement took effect is not known.")
        }
        Error::Unsendable { .. } => ("BTN-0715", "Correct the statement's parameters."),
        Error::TooSlow { .. } => ("BTN-0716", "Find out what the server waits for, or give the step a longer timeout."),
        Error::Cancelled { .. } => ("BTN-0717", ""),
    };
    Fault::new(code, error.to_string(), remedy)
}

pub(super) async fn open(connection: &Connection, context: &Context) -> Result<Session, Fault> {
    let password = match &connection.password {
        Some(password) => Some(zeroize::Zeroizing::new(context.resolve(password).await?.expose().to_owned())),
        None => None,
    };
    let target = Target {
        host: connection.host.clone(),
        port: connection.port(),
        database: connection.database.clone(),
        user: connection.user.clone(),
        password,
        verify: match connection.tls {
            Tls::Off => None,
            Tls::Strict | Tls::Trust => {
                return Err(Fault::new(
                    "BTN-0711",
                    "PostgreSQL knows tls: off and verify",
                    "Give the connection tls: verify and a ca_file.",
                ));
            }
            Tls::Verify => Some(connection.ca_file.clone().ok_or_else(|| {
                Fault::new(
                    "BTN-0711",
                    "tls: verify needs the authority that signed the server's certificate",
                    "Give the connection a ca_file.",
                )
            })?),
        },
        connect_timeout: connection.connect_timeout.to_std(),
    };
    Session::open(&target, &limits(context)).await.map_err(|error| fault(&error))
}

/// The values of a statement, checked against the number that it takes.
pub(super) async fn execute(session: &Session, sql: &str, params: &[Value]) -> Result<u64, Fault> {
    let statement = session.prepare(sql).await.map_err(|error| fault(&error))?;
    count(sql, statement.params().len(), params.len())?;
    let values: Vec<Parameter> = params.iter().map(Parameter).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    session.execute_of(&statement, &values).await.map_err(|error| fault(&error))
}

pub(super) async fn rows(session: &Session, sql: &str, params: &[Value]) -> Result<Vec<Value>, Fault> {
    let statement = session.prepare(sql).await.map_err(|error| fault(&error))?;
    count(sql, statement.params().len(), params.len())?;
    let values: Vec<Parameter> = params.iter().map(Parameter).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    let found = session.rows_of(&statement, &values).await.map_err(|error| fault(&error))?;
    found.iter().map(|row| cell::object(row).map_err(|why| Fault::new("BTN-0718", why, ""))).collect()
}

fn count(sql: &str, takes: usize, given: usize) -> Result<(), Fault> {
    if takes == given {
        return Ok(());
    }
    Err(Fault::new(
        "BTN-0715",
        format!("{sql:?} takes {takes} parameters and {given} were given"),
        "Correct the step's params.",
    ))
}

/// `SET LOCAL lock_timeout`; a span is a number, so nothing can be put in here.
pub(in crate::action) fn lock_timeout(span: Span) -> String {
    format!("SET LOCAL lock_timeout = '{}ms'", span.as_millis())
}

/// An advisory lock of the session.
pub(super) async fn hold(session: &Session, number: i64, within: Span) -> Result<(), Fault> {
    let timeout = format!("SET lock_timeout = '{}ms'", within.as_millis());
    session.batch(&timeout).await.map_err(|error| fault(&error))?;
    session.rows("SELECT pg_advisory_lock($1)", &[&number]).await.map_err(|error| fault(&error))?;
    Ok(())
}

pub(super) async fn begin(session: &Session, within: Span) -> Result<(), Fault> {
    session.batch(&format!("BEGIN; {}", lock_timeout(within))).await.map_err(|error| fault(&error))
}
