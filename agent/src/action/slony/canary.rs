//! A table of our own in the set, so that the proof row is never in a customer's table.
//!
//! Apart because three actions need it: `init` and `join` create it before the set is made, `verify` writes to it.

use std::time::Duration;

use baton_model::outcome::Fault;

use crate::{
    action::{
        Context,
        sql::{fault, limits},
    },
    host::postgres::Session,
};

use super::node::Node;

pub(super) const TABLE: &str = "public.baton_canary";
const POLL_EVERY: Duration = Duration::from_millis(100);
/// With slon's default intervals a row took up to 17 s.
const ACROSS_WITHIN: Duration = Duration::from_secs(30);

/// Creates the table where it is missing.
pub(super) async fn create(session: &Session) -> Result<(), Fault> {
    let sql = format!(
        "SET client_min_messages = warning;
         CREATE TABLE IF NOT EXISTS {TABLE} (token text PRIMARY KEY, node text NOT NULL, at timestamptz NOT NULL DEFAULT now());
         RESET client_min_messages"
    );
    session.batch(&sql).await.map_err(|error| fault(&error))
}

/// Writes a row on the origin and reads it on the subscriber; how long it took.
pub(super) async fn across(
    origin: (&Node, &Session),
    subscriber: (&Node, &Session),
    token: &str,
    context: &Context,
) -> Result<Duration, Fault> {
    let (node, session) = origin;
    // Old proofs go first; nobody else writes here.
    let sql = format!("DELETE FROM {TABLE} WHERE at < now() - interval '1 day'");
    session.execute(&sql, &[]).await.map_err(|error| fault(&error))?;
    let sql = format!("INSERT INTO {TABLE} (token, node) VALUES ($1, $2)");
    session.execute(&sql, &[&token, &node.name]).await.map_err(|error| fault(&error))?;
    let started = tokio::time::Instant::now();
    let end = limits(context).at_most(ACROSS_WITHIN);
    loop {
        let sql = format!("SELECT FROM {TABLE} WHERE token = $1");
        if !subscriber.1.rows(&sql, &[&token]).await.map_err(|error| fault(&error))?.is_empty() {
            return Ok(started.elapsed());
        }
        if end.pause("canary row", POLL_EVERY).await.is_err() {
            let message =
                format!("a row written on {node} did not arrive on {} within {:?}", subscriber.0, started.elapsed());
            return Err(Fault::new("BTN-0760", message, "Check both slons and what they log."));
        }
    }
}

/// Whether the node refuses a write, tried and rolled back; the error is its own words.
pub(super) async fn refuses(session: &Session) -> Result<bool, Fault> {
    session.batch("BEGIN").await.map_err(|error| fault(&error))?;
    let sql = format!("INSERT INTO {TABLE} (token, node) VALUES ('probe', 'probe')");
    let tried = session.execute(&sql, &[]).await;
    session.batch("ROLLBACK").await.map_err(|error| fault(&error))?;
    match tried {
        Ok(_) => Ok(false),
        // Slony's own: "table … is replicated and cannot be modified on a subscriber node".
        Err(error) if error.state() == Some(&tokio_postgres::error::SqlState::INTERNAL_ERROR) => Ok(true),
        Err(error) => Err(fault(&error)),
    }
}
