//! One server, whichever product: what `sql.exec` and `sql.query` ask of it.
//!
//! Apart so that the two actions read the same for both. It must never translate a statement: what the runbook's author wrote
//! is what the server gets.

use baton_model::{
    action::sql::{Connection, Kind},
    outcome::Fault,
    time::Span,
};
use serde_json::Value;

use super::{postgres, sqlserver};
use crate::{
    action::{Context, Failure},
    host,
};

/// A session on either product.
pub(super) enum Server {
    Postgres(Box<host::postgres::Session>),
    Sqlserver(Box<host::sqlserver::Session>),
}

impl Server {
    pub(super) async fn open(connection: &Connection, context: &Context) -> Result<Self, Fault> {
        Ok(match connection.kind {
            Kind::Postgres => Server::Postgres(Box::new(postgres::open(connection, context).await?)),
            Kind::Sqlserver => Server::Sqlserver(Box::new(sqlserver::open(connection, context).await?)),
        })
    }

    pub(super) fn label(&self) -> String {
        match self {
            Server::Postgres(session) => session.label().to_owned(),
            Server::Sqlserver(session) => session.who().target.clone(),
        }
    }

    pub(super) async fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Value>, Fault> {
        match self {
            Server::Postgres(session) => postgres::rows(session, sql, params).await,
            Server::Sqlserver(session) => sqlserver::rows(session, sql, params).await,
        }
    }

    /// How many rows it affected.
    pub(super) async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, Fault> {
        match self {
            Server::Postgres(session) => postgres::execute(session, sql, params).await,
            Server::Sqlserver(session) => sqlserver::execute(session, sql, params).await,
        }
    }

    /// Holds a lock of this number until the session ends.
    pub(super) async fn hold(&mut self, number: i64, within: Span) -> Result<(), Fault> {
        match self {
            Server::Postgres(session) => postgres::hold(session, number, within).await,
            Server::Sqlserver(session) => sqlserver::hold(session, number, within).await,
        }
    }

    pub(super) async fn begin(&mut self, within: Span) -> Result<(), Fault> {
        match self {
            Server::Postgres(session) => postgres::begin(session, within).await,
            Server::Sqlserver(session) => sqlserver::begin(session, within).await,
        }
    }

    /// Unclear where the session broke before the answer.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        match self {
            Server::Postgres(session) => session.batch("COMMIT").await.map_err(|error| match error.is_uncertain() {
                true => Failure::Unclear(postgres::fault(&error)),
                false => Failure::Failed(postgres::fault(&error)),
            }),
            Server::Sqlserver(session) => {
                session.batch("COMMIT TRANSACTION").await.map_err(|error| match error.is_uncertain() {
                    true => Failure::Unclear(sqlserver::fault(&error)),
                    false => Failure::Failed(sqlserver::fault(&error)),
                })
            }
        }
    }
}
