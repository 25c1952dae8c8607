//! `slony.subscribe`: the subscriber's data is replaced by the origin's.
//!
//! Apart because it is the copy that wipes: the direction is proven twice, by the replicated role and by the origin's own
//! set, and what is overwritten is counted and said. Slonik's SUBSCRIBE returns before the copy and even when it fails, so success is
//! what the subscriber itself says.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::Subscribe,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::{
    action::{
        Context, Effect, Failure, Perform,
        sql::{fault, limits},
    },
    host::postgres::Session,
};

use super::{
    catch_up::Pair,
    node::Node,
    observed, pairs, proven_by_role, sentence,
    slonik::Script,
    state::{SET, View, look, members, read},
};

const SUBMIT_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(200);
const COUNT_WITHIN: Duration = Duration::from_secs(20);

/// Both views, with the direction proven; refused otherwise.
async fn proven(origin: &Node, other: &Node, context: &Context) -> Result<(Session, View, Session, View), Fault> {
    let (session, view) = look(origin, context).await?;
    let (other_session, other_view) = look(other, context).await?;
    let wrong = |message: String| {
        Fault::new(
            "BTN-0766",
            message,
            "See slony.state for both nodes: a copy in the wrong direction wipes the good side.",
        )
    };
    let view = view.ok_or_else(|| wrong(format!("{origin} has no Slony schema")))?;
    let other_view = other_view
        .ok_or_else(|| wrong(format!("{other} has no Slony schema; store it as a node first (slony.join)")))?;
    let Some(set) = view.set() else { return Err(wrong(format!("{origin} has no set"))) };
    if !view.is_origin() {
        return Err(wrong(format!(
            "{origin} says that node {} is the origin, and it is node {}",
            set.origin, view.local_id
        )));
    }
    if set.tables == 0 {
        return Err(wrong(format!("the set of {origin} is empty")));
    }
    if other_view.is_origin() {
        return Err(wrong(format!("{other} says that it is the origin itself: split brain, or an old schema")));
    }
    if other_view.local_id == view.local_id || !view.nodes.contains_key(&other_view.local_id) {
        return Err(wrong(format!("{other} is node {} and not one that {origin} knows", other_view.local_id)));
    }
    Ok((session, view, other_session, other_view))
}

#[async_trait]
impl Perform for Subscribe {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        proven_by_role(&self.origin.name, &self.primary)?;
        let mut parts = Vec::new();
        for (origin, other) in pairs(&self.origin, &self.subscriber, &self.databases, &self.cluster, context).await? {
            let (session, view, other_session, other_view) = proven(&origin, &other, context).await?;
            parts.push((
                other.label(),
                match other_view.receives_from(view.local_id) {
                    true => Ok(format!("receives from {}", origin.name)),
                    false => {
                        let (rows, tables) = overwritten(&origin, &session, &other, &other_session).await?;
                        Err(format!(
                            "{rows} rows in {tables} tables of {} will be replaced by those of {}",
                            other.name, origin.name
                        ))
                    }
                },
            ));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        proven_by_role(&self.origin.name, &self.primary)?;
        let pairs = pairs(&self.origin, &self.subscriber, &self.databases, &self.cluster, context).await?;
        // All refusals before the first copy.
        for (origin, other) in &pairs {
            let (session, view, other_session, other_view) = proven(origin, other, context).await?;
            if other_view.receives_from(view.local_id) {
                continue;
            }
            for (node, view) in [(origin, &view), (other, &other_view)] {
                if view.slons == 0 {
                    let message = format!("{node}: no slon runs, and SUBSCRIBE would wait for it for ever");
                    return Err(Fault::new(
                        "BTN-0767",
                        message,
                        "Start the slons of both nodes (slony.start), then retry.",
                    )
                    .into());
                }
            }
            fits(origin, &session, other, &other_session).await?;
        }
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for (origin, other) in &pairs {
            let (session, view, other_session, other_view) = proven(origin, other, context).await?;
            let (from, to) = (view.local_id, other_view.local_id);
            if other_view.receives_from(from) {
                parts.push((other.label(), format!("received from {} already", origin.name)));
                continue;
            }
            let (rows, tables) = overwritten(origin, &session, other, &other_session).await?;
            context.output().line(format!("{other}: {rows} rows in {tables} tables will be replaced"));
            let mut script = Script::new(&[(from, origin), (to, other)]);
            script.say(format!("subscribe set (id = {SET}, provider = {from}, receiver = {to}, forward = yes);"));
            script.run(&format!("{other}: subscribe"), SUBMIT_WITHIN.min(context.time_left()), context).await?;
            changed = true;
            copied(other, &other_session, from, context).await?;
            let pair = Pair::open(origin, other, context).await?;
            let event = pair.sync(context, context.time_left()).await?;
            data.insert(origin.database.clone(), json!({ "overwritten_rows": rows, "tables": tables, "sync": event }));
            parts.push((
                other.label(),
                format!("receives from {}; {rows} rows in {tables} tables were replaced", origin.name),
            ));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Waits until the subscriber says that its subscription is active, which it does when the copy is complete.
async fn copied(other: &Node, session: &Session, from: i64, context: &Context) -> Result<(), Fault> {
    let mut seen = 0_i64;
    loop {
        let view = read(session, other).await?;
        if view.as_ref().is_some_and(|view| view.receives_from(from)) {
            return Ok(());
        }
        let copying = session
            .rows("SELECT relid::regclass::text, tuples_processed FROM pg_stat_progress_copy WHERE datname = current_database()", &[])
            .await
            .map_err(|error| fault(&error))?;
        match copying.first() {
            Some(row) => {
                seen += 1;
                context.progress(
                    format!("{other}: copies {}, {} rows", row.get::<_, String>(0), row.get::<_, i64>(1)),
                    None,
                );
            }
            None => context.progress(format!("{other}: waits for the copy"), None),
        }
        if limits(context).pause("copy", POLL_EVERY).await.is_err() {
            let slon = if view.is_some_and(|view| view.slons == 0) { "no slon runs for it" } else { "its slon runs" };
            let copies = if seen == 0 { "no copy was seen" } else { "a copy was seen" };
            let message = format!("{other}: the subscription did not become active in time; {slon}, {copies}");
            return Err(Fault::new(
                "BTN-0768",
                message,
                "A copy that fails is retried for ever: slon's log says why. Then retry this step.",
            ));
        }
    }
}

/// Rows on the subscriber that the copy will replace, and in how many tables.
async fn overwritten(
    origin: &Node,
    session: &Session,
    other: &Node,
    other_session: &Session,
) -> Result<(String, usize), Fault> {
    let tables = members(session, origin, true).await?;
    let mut total = 0_i64;
    let mut about = false;
    other_session
        .batch(&format!("SET statement_timeout = '{}ms'", COUNT_WITHIN.as_millis()))
        .await
        .map_err(|error| fault(&error))?;
    for table in &tables {
        let exact = other_session.rows(&format!("SELECT count(*) FROM {table}"), &[]).await;
        total += match exact {
            Ok(rows) => rows.first().map_or(0, |row| row.get::<_, i64>(0)),
            Err(error) if error.state() == Some(&tokio_postgres::error::SqlState::QUERY_CANCELED) => {
                about = true;
                let sql = "SELECT greatest(reltuples, 0)::int8 FROM pg_class WHERE oid = $1::text::regclass";
                other_session.row(sql, &[table]).await.map_err(|error| fault(&error))?.get(0)
            }
            Err(error) if error.state() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => {
                let message = format!("{other} has no table {table}");
                return Err(Fault::new(
                    "BTN-0769",
                    message,
                    "Create it as it is on the origin: the copy would fail for ever.",
                ));
            }
            Err(error) => return Err(fault(&error)),
        };
    }
    other_session.batch("RESET statement_timeout").await.map_err(|error| fault(&error))?;
    Ok((format!("{}{total}", if about { "about " } else { "" }), tables.len()))
}

/// Every column of the set's tables must be on the subscriber, or the copy fails for ever and only a log says so.
async fn fits(origin: &Node, session: &Session, other: &Node, other_session: &Session) -> Result<(), Fault> {
    let columns = async |node: &Node, session: &Session| -> Result<Vec<String>, Fault> {
        let sql = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.' || quote_ident(a.attname)
                     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema$)'
                      AND n.nspname <> $1";
        let rows = session.rows(sql, &[&node.schema()]).await.map_err(|error| fault(&error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let tables = members(session, origin, true).await?;
    let there: std::collections::BTreeSet<String> = columns(other, other_session).await?.into_iter().collect();
    let in_set = |column: &&String| {
        tables.iter().any(|table| column.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let needed = columns(origin, session).await?;
    let missing: Vec<&String> = needed.iter().filter(in_set).filter(|column| !there.contains(*column)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().take(10).map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
    let message = format!("{other} lacks {} columns that {origin} has: {list}", missing.len());
    Err(Fault::new("BTN-0769", message, "Make its schema like the origin's: the copy would fail for ever."))
}
