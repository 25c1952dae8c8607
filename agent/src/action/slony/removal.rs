//! `slony.drop`: removes the replication schema, whole or not at all, and never without the evidence that was asked for.
//!
//! Apart because it is the one step here that destroys something. One transaction for each database, a bound on its locks, the
//! blockers named when the bound is met. It must never end an application's session unless the operator chose so.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use baton_model::{
    action::slony::{Asked, Drop as Removal},
    outcome::{Fault, Observation},
};
use serde_json::json;
use tokio_postgres::error::SqlState;

use crate::{
    action::{
        Context, Effect, Failure, Perform,
        sql::{fault, lock_timeout},
    },
    host::postgres::Session,
};

use super::{
    advance,
    evidence::entry,
    node::Node,
    observed, sentence,
    state::{View, look, read},
};

const WATCH_EVERY: Duration = Duration::from_millis(200);
/// A slon that runs can deadlock with the drop; seen once in eighty.
const ATTEMPTS_MAX: u32 = 4;

/// Why this schema must not be dropped; none where it may.
fn refusal(node: &Node, view: &View, evidence: &Asked) -> Option<Fault> {
    if view.version.starts_with("1.") {
        let message = format!(
            "{node}: Slony {} hides the applications' triggers in the catalogue; dropping its schema would lose them",
            view.version
        );
        return Some(Fault::new("BTN-0747", message, "Remove this node with Slony's own UNINSTALL NODE."));
    }
    let evidence = evidence.0.as_ref()?;
    let remedy =
        "Run slony.evidence (on the old origin: slony.lost_rows) on this host first, and give its data to this step.";
    let Some(entry) = entry(evidence, &node.database) else {
        return Some(Fault::new(
            "BTN-0748",
            format!("{node}: nothing is dropped, there is no evidence for {}", node.database),
            remedy,
        ));
    };
    // Another node's evidence, or that of an earlier life of this database, proves nothing about this schema.
    if entry["schema_oid"].as_i64() != Some(view.schema_oid) || entry["server"].as_str() != Some(&node.name) {
        let of = entry["server"].as_str().unwrap_or("nobody knows what");
        let message = format!(
            "{node}: nothing is dropped, the evidence for {} is of another schema (taken from {of})",
            node.database
        );
        return Some(Fault::new("BTN-0748", message, remedy));
    }
    None
}

#[async_trait]
impl Perform for Removal {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            let (_, view) = look(&node, context).await?;
            let one = match view {
                None => Ok(format!("no schema {}", node.schema())),
                Some(view) => match refusal(&node, &view, &self.evidence) {
                    Some(fault) => return Err(fault),
                    None => Err(format!(
                        "drop schema {} ({}, {} tables)",
                        node.schema(),
                        view.role().as_str(),
                        view.set().map_or(0, |set| set.tables)
                    )),
                },
            };
            parts.push((node.label(), one));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let nodes = Node::all(&self.server, &self.databases, &self.cluster, context).await?;
        // Every refusal before the first drop: half of the databases dropped would be worse than none.
        for node in &nodes {
            if let Some(fault) = look(node, context).await?.1.and_then(|view| refusal(node, &view, &self.evidence)) {
                return Err(fault.into());
            }
        }
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for node in &nodes {
            let (session, view) = look(node, context).await?;
            let text = match view {
                None => "no schema, nothing to drop".to_owned(),
                Some(view) => {
                    advance::forget(&session, Some(view.schema_oid)).await?;
                    self.remove(node, &session, context).await?;
                    changed = true;
                    format!("dropped ({}, {} tables)", view.role().as_str(), view.set().map_or(0, |set| set.tables))
                }
            };
            data.insert(node.database.clone(), json!(text));
            context.progress(format!("{node}: {text}"), None);
            parts.push((node.label(), text));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }

    /// IF EXISTS.
    fn repeatable_blind(&self) -> bool {
        true
    }
}

trait Remove {
    async fn remove(&self, node: &Node, session: &Session, context: &Context) -> Result<(), Failure>;
}

impl Remove for Removal {
    async fn remove(&self, node: &Node, session: &Session, context: &Context) -> Result<(), Failure> {
        let schema = node.schema();
        let bound = lock_timeout(self.lock_timeout);
        // A slon's sessions hold locks of their own, the other side's too; they are ended inside the same transaction.
        let drop = format!(
            "BEGIN; {bound}; SET LOCAL client_min_messages = warning;
             SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'slon.%' AND pid <> pg_backend_pid();
             DROP SCHEMA IF EXISTS {schema} CASCADE; COMMIT"
        );
        let watcher = node.open(context).await?;
        let backend = session.backend().await.map_err(|error| fault(&error))?;
        for attempt in 1..=ATTEMPTS_MAX {
            let mut blockers = BTreeMap::new();
            let dropped = {
                let dropping = session.batch(&drop);
                tokio::pin!(dropping);
                loop {
                    tokio::select! {
                        dropped = &mut dropping => break dropped,
                        () = tokio::time::sleep(WATCH_EVERY) => {
                            // What is seen here is for the operator; a failure to see it must not stop the drop.
                            if let Ok(seen) = blocking(&watcher, backend, self.end_blockers).await {
                                for (pid, what) in seen {
                                    if blockers.insert(pid, what.clone()).is_none() {
                                        let ended = if self.end_blockers { ", ended" } else { "" };
                                        context.output().line(format!("{node}: the drop waits for {what}{ended}"));
                                        context.progress(format!("{node}: the drop waits for {what}{ended}"), None);
                                    }
                                }
                            }
                        }
                    }
                }
            };
            let Err(error) = dropped else { return Ok(()) };
            // The session would stay in its failed transaction.
            let _ = session.batch("ROLLBACK").await;
            let state = error.state().cloned();
            if state == Some(SqlState::T_R_DEADLOCK_DETECTED) && attempt < ATTEMPTS_MAX {
                context.output().line(format!("{node}: {error}; trying again"));
                continue;
            }
            if state == Some(SqlState::LOCK_NOT_AVAILABLE) {
                let who = blockers.into_values().collect::<Vec<_>>().join("; ");
                let who =
                    if who.is_empty() { "a session that was gone before it could be named".to_owned() } else { who };
                let message = format!(
                    "{node}: nothing was dropped, a lock was not given within {}: held by {who}",
                    self.lock_timeout
                );
                let remedy = "Let that session end, or set end_blockers to end it; then retry.";
                return Err(Fault::new("BTN-0749", message, remedy).into());
            }
            if error.is_uncertain() {
                // The drop is atomic: looking tells which it was.
                return match read(&watcher, node).await {
                    Ok(None) => Ok(()),
                    Ok(Some(_)) => Err(Failure::Failed(fault(&error))),
                    Err(_) => Err(Failure::Unclear(fault(&error))),
                };
            }
            return Err(fault(&error).into());
        }
        Err(Fault::new(
            "BTN-0750",
            format!("{node}: the drop met a deadlock {ATTEMPTS_MAX} times"),
            "Stop the slons on both sides, then retry.",
        )
        .into())
    }
}

/// Sessions that hold what the drop waits for: pid and a description.
async fn blocking(
    watcher: &Session,
    backend: i32,
    end: bool,
) -> Result<Vec<(i32, String)>, crate::host::postgres::Error> {
    let rows = watcher
        .rows(
            "SELECT pid, format('pid %s (user %s, application %s, from %s, %s for %s): %s', pid, coalesce(usename::text, '-'),
                    coalesce(nullif(application_name, ''), '-'), coalesce(host(client_addr), 'local'), coalesce(state, '-'),
                    justify_interval(date_trunc('second', clock_timestamp() - coalesce(state_change, backend_start))), left(query, 200))
               FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1))",
            &[&backend],
        )
        .await?;
    let found: Vec<(i32, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if end {
        for (pid, _) in &found {
            watcher.rows("SELECT pg_terminate_backend($1)", &[pid]).await?;
        }
    }
    Ok(found)
}
