//! Moves sequences ahead, so that the numbers which the old origin handed out in the lost window are not handed out again, and
//! rescued rows keep their keys.
//!
//! Moving twice would do no harm but burn numbers; moving never would. So each sequence's target is written down and committed
//! first, in `baton.sequence_advance` of the database itself, and then every sequence that is below its target is moved to
//! it. The record holds for one life of the database's Slony schema: `slony.init`, `slony.join` and a drop of a later schema
//! forget it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use baton_model::{
    action::slony::AdvanceSequences,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::{
    action::{Context, Effect, Failure, Perform, sql::fault},
    host::postgres::Session,
};

use super::{
    node::Node,
    observed, sentence,
    state::{View, look},
};

struct Sequence {
    name: String,
    last: i64,
    target: i64,
    /// The sequence's own end is nearer than was asked.
    clamped: bool,
}

/// What is written down, by sequence; none where nothing was in this life of the schema.
async fn recorded(session: &Session, view: Option<&View>) -> Result<Option<BTreeMap<String, i64>>, Fault> {
    let there = session
        .row("SELECT to_regclass('baton.sequence_advance') IS NOT NULL", &[])
        .await
        .map_err(|error| fault(&error))?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = session.rows("SELECT sequence, target, schema_oid FROM baton.sequence_advance", &[]).await;
    let rows = rows.map_err(|error| fault(&error))?;
    let stamps_match = |stamp: i64| view.is_none_or(|view| view.schema_oid == stamp);
    let targets: BTreeMap<String, i64> =
        rows.iter().filter(|row| stamps_match(row.get(2))).map(|row| (row.get(0), row.get(1))).collect();
    Ok(if targets.is_empty() { None } else { Some(targets) })
}

/// Forgets the record, unless it is of this schema: the table goes, and with it the schema where nothing else is in it, so
/// that a judge of replication finds no table there that is not replicated.
pub(super) async fn forget(session: &Session, keep_of: Option<i64>) -> Result<(), Fault> {
    let sql = "DO $$ BEGIN
          IF to_regclass('baton.sequence_advance') IS NULL THEN RETURN; END IF;
          DELETE FROM baton.sequence_advance WHERE schema_oid <> @;
          IF NOT EXISTS (SELECT FROM baton.sequence_advance) THEN
            DROP TABLE baton.sequence_advance;
            -- Only what is empty: CASCADE is not said.
            BEGIN DROP SCHEMA baton; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END;
          END IF;
        END $$";
    let sql = format!("SET client_min_messages = warning; {}", sql.replace('@', &keep_of.unwrap_or(-1).to_string()));
    session.batch(&sql).await.map_err(|error| fault(&error))
}

async fn sequences(session: &Session, node: &Node, by: u64) -> Result<Vec<Sequence>, Fault> {
    let rows = session
        .rows(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), coalesce(last_value, start_value), increment_by,
                    min_value, max_value FROM pg_sequences WHERE schemaname <> $1 AND schemaname <> 'baton' ORDER BY 1",
            &[&node.schema()],
        )
        .await
        .map_err(|error| fault(&error))?;
    Ok(rows
        .iter()
        .map(|row| {
            let (last, increment, min, max): (i64, i64, i64, i64) = (row.get(1), row.get(2), row.get(3), row.get(4));
            let step = i128::from(by) * i128::from(increment.signum());
            let wanted = i128::from(last) + step;
            let target = wanted.clamp(i128::from(min), i128::from(max));
            Sequence {
                name: row.get(0),
                last,
                target: i64::try_from(target).unwrap_or(last),
                clamped: target != wanted,
            }
        })
        .collect())
}

/// How many of the recorded sequences have not come as far as their target.
async fn behind(session: &Session, node: &Node, targets: &BTreeMap<String, i64>) -> Result<Vec<String>, Fault> {
    let now = sequences(session, node, 0).await?;
    let rising = rising(session).await?;
    Ok(now
        .into_iter()
        .filter(|one| {
            targets.get(&one.name).is_some_and(|target| match rising.get(&one.name) {
                Some(false) => one.last > *target,
                _ => one.last < *target,
            })
        })
        .map(|one| one.name)
        .collect())
}

async fn rising(session: &Session) -> Result<BTreeMap<String, bool>, Fault> {
    let sql = "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), increment_by > 0 FROM pg_sequences";
    let rows = session.rows(sql, &[]).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[async_trait]
impl Perform for AdvanceSequences {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            let (session, view) = look(&node, context).await?;
            let one = match recorded(&session, view.as_ref()).await? {
                None => Err(format!("sequences move {} ahead", self.by)),
                Some(targets) => match behind(&session, &node, &targets).await? {
                    left if left.is_empty() => Ok(format!("{} sequences were moved ahead already", targets.len())),
                    left => Err(format!("an earlier move left out {}", left.join(", "))),
                },
            };
            parts.push((node.label(), one));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            let (session, view) = look(&node, context).await?;
            if view.as_ref().is_some_and(|view| !view.is_origin() && view.slons > 0) {
                let message = format!("{node}: slon runs and would put the sequences back at the next SYNC");
                return Err(Fault::new("BTN-0746", message, "Stop the slons first (slony.stop).").into());
            }
            let targets = match recorded(&session, view.as_ref()).await? {
                Some(targets) => targets,
                None => record(&session, &node, view.as_ref(), self.by, context).await?,
            };
            let left = behind(&session, &node, &targets).await?;
            for name in &left {
                let sql = "SELECT setval($1::text::regclass, $2)";
                session.rows(sql, &[name, &targets[name]]).await.map_err(|error| fault(&error))?;
            }
            changed |= !left.is_empty();
            data.insert(node.database.clone(), json!({ "moved": left.len(), "recorded": targets.len() }));
            parts.push((
                node.label(),
                format!("{} of {} sequences moved ahead by {}", left.len(), targets.len(), self.by),
            ));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

async fn record(
    session: &Session,
    node: &Node,
    view: Option<&View>,
    by: u64,
    context: &Context,
) -> Result<BTreeMap<String, i64>, Fault> {
    let found = sequences(session, node, by).await?;
    let stamp = view.map_or(0, |view| view.schema_oid);
    let prepare = "BEGIN; SET LOCAL client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS baton;
         CREATE TABLE IF NOT EXISTS baton.sequence_advance (sequence text PRIMARY KEY, was bigint NOT NULL, target bigint NOT NULL,
             schema_oid bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
         DELETE FROM baton.sequence_advance";
    session.batch(prepare).await.map_err(|error| fault(&error))?;
    for one in &found {
        let note = if one.clamped { " (its end is nearer than was asked)" } else { "" };
        context.output().line(format!("{node}: {} {} -> {}{note}", one.name, one.last, one.target));
        let sql = "INSERT INTO baton.sequence_advance (sequence, was, target, schema_oid) VALUES ($1, $2, $3, $4)";
        session.execute(sql, &[&one.name, &one.last, &one.target, &stamp]).await.map_err(|error| fault(&error))?;
    }
    session.batch("COMMIT").await.map_err(|error| fault(&error))?;
    Ok(found.into_iter().map(|one| (one.name, one.target)).collect())
}
