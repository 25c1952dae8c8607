//! `sql.exec` and `sql.query`: statements with bound parameters on a connection that the group defines.
//!
//! Apart from the Slony actions, which know what they do; these know only what the runbook's author wrote. A value never becomes
//! part of a statement's text, and one `sql.exec` is one transaction: all of its statements, or none.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::sql::{Connection, Exec, Query, Statement, Tls},
    outcome::{Fault, Observation},
    time::Span,
};
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;

use crate::{
    action::{Context, Effect, Failure, Perform},
    host::postgres::{Error, Limits, Session, Target},
};

mod cell;
mod parameter;

use parameter::Parameter;

/// Between two looks of a query that waits.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// The end of a task's work on servers: its deadline, or somebody's word.
pub(super) fn limits(context: &Context) -> Limits {
    Limits { cancel: context.cancel_token().clone(), deadline: context.deadline() }
}

/// What an operator reads when a server cannot be asked, or refuses.
pub(super) fn fault(error: &Error) -> Fault {
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

async fn open(connection: &Connection, context: &Context) -> Result<Session, Fault> {
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
async fn execute(session: &Session, sql: &str, params: &[Value]) -> Result<u64, Fault> {
    let statement = session.prepare(sql).await.map_err(|error| fault(&error))?;
    count(sql, statement.params().len(), params.len())?;
    let values: Vec<Parameter> = params.iter().map(Parameter).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    session.execute_of(&statement, &values).await.map_err(|error| fault(&error))
}

async fn rows(session: &Session, sql: &str, params: &[Value]) -> Result<Vec<Value>, Fault> {
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

/// A statement that would end the transaction behind its back.
fn ends_transaction(sql: &str) -> bool {
    let first =
        sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    matches!(first.as_str(), "begin" | "commit" | "end" | "rollback" | "abort" | "start" | "savepoint" | "release")
}

#[async_trait]
impl Perform for Exec {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let Some(unless) = &self.unless else {
            return Ok(Observation::CannotTell { why: "statements without `unless` cannot be observed".to_owned() });
        };
        let session = open(&self.connection, context).await?;
        Ok(match truth(&session, unless).await? {
            true => Observation::InPlace { note: format!("already so: {}", unless.sql) },
            false => Observation::Differs {
                change: self.statements.iter().map(|statement| statement.sql.as_str()).collect::<Vec<_>>().join("; "),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        if let Some(wrong) = self.statements.iter().find(|statement| ends_transaction(&statement.sql)) {
            let message = format!("{:?} does not belong here: sql.exec is one transaction of its own", wrong.sql);
            return Err(Fault::new("BTN-0719", message, "Take it out of the step.").into());
        }
        let session = open(&self.connection, context).await?;
        let lock_timeout = lock_timeout(self.lock_timeout);
        if let Some(unless) = &self.unless {
            // An agent that was killed may have left its COMMIT on the way: its session holds this lock until it is over, and
            // only then does the condition say whether it came through.
            let milliseconds = self.lock_timeout.as_millis();
            session.batch(&format!("SET lock_timeout = '{milliseconds}ms'")).await.map_err(|error| fault(&error))?;
            session.rows("SELECT pg_advisory_lock($1)", &[&self.lock()]).await.map_err(|error| fault(&error))?;
            if truth(&session, unless).await? {
                let summary = format!("{}: already so: {}", session.label(), unless.sql);
                return Ok(Effect { summary, data: Value::Null, changed: Some(false) });
            }
        }
        session.batch(&format!("BEGIN; {lock_timeout}")).await.map_err(|error| fault(&error))?;
        // An error from here to the COMMIT drops the session, and with it the transaction.
        let mut affected = Vec::with_capacity(self.statements.len());
        for (number, statement) in self.statements.iter().enumerate() {
            let rows = execute(&session, &statement.sql, &statement.params).await?;
            context.output().line(format!("{}: {rows} rows", statement.sql));
            if statement.rows.is_some_and(|expected| expected != rows) {
                let expected = statement.rows.unwrap_or_default();
                let message = format!(
                    "statement {} affected {rows} rows instead of {expected}, and the transaction was rolled back: {}",
                    number + 1,
                    statement.sql
                );
                return Err(Fault::new(
                    "BTN-0720",
                    message,
                    "Check the values it was given: a wrong name affects no row and is no error.",
                )
                .into());
            }
            affected.push(rows);
        }
        session.batch("COMMIT").await.map_err(|error| match error.is_uncertain() {
            true => Failure::Unclear(fault(&error)),
            false => Failure::Failed(fault(&error)),
        })?;
        let total: u64 = affected.iter().sum();
        Ok(Effect {
            summary: format!("{}: {} statements, {total} rows", session.label(), affected.len()),
            data: json!({ "rows": affected }),
            changed: None,
        })
    }

    /// With a condition, "differs" means that its transaction has not happened.
    fn repeatable(&self) -> bool {
        self.repeatable || self.unless.is_some()
    }

    fn repeatable_blind(&self) -> bool {
        self.repeatable
    }
}

trait Lock {
    fn lock(&self) -> i64;
}

impl Lock for Exec {
    /// A number for these very statements.
    fn lock(&self) -> i64 {
        let digest = baton_model::digest::Digest::of(&(&self.statements, &self.unless)).0;
        i64::from_str_radix(&digest[..15], 16).expect("a digest is hexadecimal, and 60 bits fit")
    }
}

/// `SET LOCAL lock_timeout`; a span is a number, so nothing can be put in here.
pub(super) fn lock_timeout(span: Span) -> String {
    format!("SET LOCAL lock_timeout = '{}ms'", span.as_millis())
}

async fn truth(session: &Session, statement: &Statement) -> Result<bool, Fault> {
    let found = rows(session, &statement.sql, &statement.params).await?;
    let value = found.first().and_then(Value::as_object).filter(|row| found.len() == 1 && row.len() == 1);
    let value = value.and_then(|row| row.values().next()).and_then(Value::as_bool);
    value.ok_or_else(|| {
        let message =
            format!("`unless` must return one row with one boolean, and returned {}", Value::Array(found.clone()));
        Fault::new("BTN-0721", message, "Correct the step's `unless`.")
    })
}

/// Whether the expectation holds over these rows; true without one.
fn holds(expect: Option<&str>, rows: &[Value]) -> Result<bool, Fault> {
    let Some(expect) = expect else { return Ok(true) };
    let wrong =
        |why: String| Fault::new("BTN-0722", format!("expect {expect:?}: {why}"), "Correct the step's `expect`.");
    let expression = baton_model::expression::Expression::parse(expect).map_err(|error| wrong(error.to_string()))?;
    let scope = [("rows".to_owned(), Value::Array(rows.to_vec()))].into_iter().collect();
    match expression.evaluate(&scope).map_err(|error| wrong(error.to_string()))? {
        Value::Bool(answer) => Ok(answer),
        other => Err(wrong(format!("is {other} and not true or false"))),
    }
}

#[async_trait]
impl Perform for Query {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let found = rows(&open(&self.connection, context).await?, &self.sql, &self.params).await?;
        Ok(match holds(self.expect.as_deref(), &found)? {
            true => Observation::InPlace { note: format!("{} rows, as expected", found.len()) },
            false => Observation::Differs { change: unexpected(self.expect.as_deref(), &found) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let limits = limits(context);
        let mut session = None;
        loop {
            // While it waits, a server that restarts is no reason to give up.
            let found = async {
                if session.is_none() {
                    session = Some(open(&self.connection, context).await?);
                }
                rows(session.as_ref().expect("opened just above"), &self.sql, &self.params).await
            };
            let seen = match found.await {
                Ok(found) if holds(self.expect.as_deref(), &found)? => {
                    let left_out = found.len().saturating_sub(self.rows_max as usize);
                    let kept: Vec<Value> = found.into_iter().take(self.rows_max as usize).collect();
                    let summary = format!("{} rows, as expected", kept.len() + left_out);
                    let data = json!({ "rows": kept, "left_out": left_out });
                    return Ok(Effect { summary, data, changed: Some(false) });
                }
                Ok(found) => Fault::new("BTN-0723", unexpected(self.expect.as_deref(), &found), ""),
                Err(fault) => {
                    session = None;
                    fault
                }
            };
            if !self.wait {
                return Err(seen.into());
            }
            context.progress(&seen.message, None);
            if limits.pause("sql.query", POLL_EVERY).await.is_err() {
                return Err(Fault::new(
                    &seen.code,
                    format!("{}, until the end of the step", seen.message),
                    seen.remedy,
                )
                .into());
            }
        }
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

fn unexpected(expect: Option<&str>, rows: &[Value]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = rows.iter().take(SHOWN).map(Value::to_string).collect();
    let more = if rows.len() > SHOWN { format!(" and {} more", rows.len() - SHOWN) } else { String::new() };
    format!("the query returned [{}]{more}, which is not {}", shown.join(", "), expect.unwrap_or("expected"))
}
