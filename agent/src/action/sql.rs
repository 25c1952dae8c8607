//! `sql.exec` and `sql.query`: statements with bound parameters on a connection that the group defines.
//!
//! Apart from the Slony actions, which know what they do; these know only what the runbook's author wrote. A value never becomes
//! part of a statement's text, and one `sql.exec` is one transaction: all of its statements, or none.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use baton_model::{
    action::sql::{Exec, Query, Statement},
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use crate::{
    action::{Context, Effect, Failure, Perform},
    host::postgres::Limits,
};

mod cell;
mod parameter;
mod postgres;
mod server;
pub(super) mod sqlserver;
#[cfg(test)]
mod tests;

pub(super) use postgres::{fault, lock_timeout};
use server::Server;

/// Between two looks of a query that waits.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// The actions, unless a statement would force an availability group: only `mssql.ag.force_failover` does that, with an
/// operator's acceptance of the loss.
pub mod bind {
    use baton_model::{
        action::sql::{Exec, Query},
        outcome::Fault,
    };

    use crate::action::Perform;

    pub fn exec(params: &Exec) -> Result<Box<dyn Perform>, Fault> {
        params.statements.iter().chain(&params.unless).try_for_each(|statement| never_forces(&statement.sql))?;
        Ok(Box::new(params.clone()))
    }

    pub fn query(params: &Query) -> Result<Box<dyn Perform>, Fault> {
        never_forces(&params.sql)?;
        Ok(Box::new(params.clone()))
    }

    fn never_forces(sql: &str) -> Result<(), Fault> {
        if !sql.to_ascii_uppercase().contains("FORCE_FAILOVER_ALLOW_DATA_LOSS") {
            return Ok(());
        }
        let message = "a statement of the step holds FORCE_FAILOVER_ALLOW_DATA_LOSS";
        Err(Fault::new("BTN-0615", message, "Use mssql.ag.force_failover in a forced runbook."))
    }

    #[cfg(test)]
    mod tests {
        use serde_json::json;

        use super::*;

        #[test]
        fn no_statement_forces_a_group() {
            let exec = |sql: &str| -> Exec {
                let connection = json!({ "host": "a", "database": "master", "user": "u", "kind": "sqlserver" });
                serde_json::from_value(json!({ "connection": connection, "statements": [{ "sql": sql }] })).unwrap()
            };
            let forced = bind_code(exec("alter availability group [a] Force_Failover_Allow_Data_Loss"));
            assert_eq!(forced.as_deref(), Some("BTN-0615"));
            assert_eq!(bind_code(exec("alter availability group [a] failover")), None);
        }

        fn bind_code(params: Exec) -> Option<String> {
            super::exec(&params).err().map(|fault| fault.code)
        }
    }
}

/// The end of a task's work on servers: its deadline, or somebody's word.
pub(super) fn limits(context: &Context) -> Limits {
    Limits { cancel: context.cancel_token().clone(), deadline: context.deadline() }
}

/// A statement that would end the transaction behind its back.
fn ends_transaction(sql: &str) -> bool {
    let first =
        sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    matches!(
        first.as_str(),
        "begin" | "commit" | "end" | "rollback" | "abort" | "start" | "save" | "savepoint" | "release"
    )
}

#[async_trait]
impl Perform for Exec {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let Some(unless) = &self.unless else {
            return Ok(Observation::CannotTell { why: "statements without `unless` cannot be observed".to_owned() });
        };
        let mut session = Server::open(&self.connection, context).await?;
        Ok(match truth(&mut session, unless).await? {
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
        let mut session = Server::open(&self.connection, context).await?;
        if let Some(unless) = &self.unless {
            // An agent that was killed may have left its COMMIT on the way: its session holds this lock until it is over, and
            // only then does the condition say whether it came through.
            session.hold(self.lock(), self.lock_timeout).await?;
            if truth(&mut session, unless).await? {
                let summary = format!("{}: already so: {}", session.label(), unless.sql);
                return Ok(Effect { summary, data: Value::Null, changed: Some(false) });
            }
        }
        session.begin(self.lock_timeout).await?;
        // An error from here to the COMMIT drops the session, and with it the transaction.
        let mut affected = Vec::with_capacity(self.statements.len());
        for (number, statement) in self.statements.iter().enumerate() {
            let rows = session.execute(&statement.sql, &statement.params).await?;
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
        session.commit().await?;
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

async fn truth(session: &mut Server, statement: &Statement) -> Result<bool, Fault> {
    let found = session.rows(&statement.sql, &statement.params).await?;
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
    holds_over(expect, &[("rows".to_owned(), Value::Array(rows.to_vec()))].into_iter().collect())
}

/// Whether an expression is true over these names.
pub(super) fn holds_over(expect: &str, scope: &BTreeMap<String, Value>) -> Result<bool, Fault> {
    let wrong =
        |why: String| Fault::new("BTN-0722", format!("expect {expect:?}: {why}"), "Correct the step's `expect`.");
    let expression = baton_model::expression::Expression::parse(expect).map_err(|error| wrong(error.to_string()))?;
    match expression.evaluate(scope).map_err(|error| wrong(error.to_string()))? {
        Value::Bool(answer) => Ok(answer),
        other => Err(wrong(format!("is {other} and not true or false"))),
    }
}

#[async_trait]
impl Perform for Query {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let found = Server::open(&self.connection, context).await?.rows(&self.sql, &self.params).await?;
        Ok(match holds(self.expect.as_deref(), &found)? {
            true => Observation::InPlace { note: format!("{} rows, as expected", found.len()) },
            false => Observation::Differs { change: unexpected(self, &found) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let limits = limits(context);
        let mut session: Option<Server> = None;
        loop {
            // While it waits, a server that restarts is no reason to give up.
            let found = async {
                if session.is_none() {
                    session = Some(Server::open(&self.connection, context).await?);
                }
                session.as_mut().expect("opened just above").rows(&self.sql, &self.params).await
            };
            let seen = match found.await {
                Ok(found) if holds(self.expect.as_deref(), &found)? => {
                    let left_out = found.len().saturating_sub(self.rows_max as usize);
                    let kept: Vec<Value> = found.into_iter().take(self.rows_max as usize).collect();
                    let summary = format!("{} rows, as expected", kept.len() + left_out);
                    let data = json!({ "rows": kept, "left_out": left_out });
                    return Ok(Effect { summary, data, changed: Some(false) });
                }
                Ok(found) => {
                    let remedy = "Make it so on that server, or correct what the step expects; then retry it.";
                    Fault::new("BTN-0723", unexpected(self, &found), remedy)
                }
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

/// With the server that was asked: a step that is about two of them must not leave open which.
fn unexpected(query: &Query, rows: &[Value]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = rows.iter().take(SHOWN).map(Value::to_string).collect();
    let more = if rows.len() > SHOWN { format!(" and {} more", rows.len() - SHOWN) } else { String::new() };
    let (instance, database) = (query.connection.instance(), &query.connection.database);
    let expected = query.expect.as_deref().unwrap_or("expected");
    format!(
        "the query on {instance}, database {database}, returned [{}]{more}, which is not {expected}",
        shown.join(", ")
    )
}
