//! `slony.verify`: proves that replication works, with what can fail.
//!
//! Apart because the vendor's verification row proves almost nothing: it is printed for an empty set, for a copy that keeps
//! failing, and on both sides of a split brain. Everything here is asked of the side that knows it. It writes one row, into a table of our
//! own; where that is not in the set, a SYNC has to do, and the summary says so.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::Verify,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::{
    action::{Context, Effect, Failure, Perform, sql::fault},
    host::postgres::Session,
};

use super::{
    canary,
    catch_up::Pair,
    init::Wanted,
    node::Node,
    sentence,
    state::{Role, View, look, members},
};

/// The origin may be this many events ahead of what is confirmed; they come back lazily.
const LAG_EVENTS_MAX: i64 = 20;
/// How long the backlog may take to get that small, and how often it is looked at.
const LAG_WITHIN: Duration = Duration::from_secs(60);
const LAG_EVERY: Duration = Duration::from_millis(500);

struct Proof<'a> {
    context: &'a Context,
    wrong: Vec<String>,
    done: Vec<String>,
    unproven: Vec<String>,
}

impl Proof<'_> {
    fn check(&mut self, holds: bool, done: impl Into<String>, wrong: impl Into<String>) {
        let text = if holds {
            format!("proven: {}", done.into())
        } else {
            let wrong = wrong.into();
            self.wrong.push(wrong.clone());
            format!("WRONG: {wrong}")
        };
        self.context.output().line(&text);
        self.done.push(text);
    }

    /// What each side can say for itself.
    async fn side(&mut self, node: &Node, session: &Session, view: Option<&View>, origin: bool) -> Result<(), Fault> {
        let Some((view, set)) = view.and_then(|view| view.set().map(|set| (view, set))) else {
            let what =
                if view.is_some() { "there is no set" } else { "there is no Slony schema: whoever connects can write" };
            self.check(false, "", format!("{node}: {what}"));
            return Ok(());
        };
        let rows = session
            .rows(&super::VENDOR_QUERY.replace('@', &node.schema()), &[])
            .await
            .map_err(|error| fault(&error))?;
        let master = match rows.as_slice() {
            [row] => Some(row.get::<_, bool>(3)),
            _ => None,
        };
        let split =
            if !origin && master == Some(true) { ": split brain, both sides say they are the origin" } else { "" };
        self.check(
            master == Some(origin),
            format!("{node}: the vendor's row says master_node = {}", if origin { "t" } else { "f" }),
            format!("{node}: the vendor's row says master_node = {master:?}{split}"),
        );
        self.check(
            !set.locked,
            format!("{node}: the set is not locked"),
            format!("{node}: the set is locked, nobody can write"),
        );
        let wanted = Wanted::read(session, node).await?;
        for (what, in_set, in_catalogue) in [
            ("tables", members(session, node, true).await?, &wanted.tables),
            ("sequences", members(session, node, false).await?, &wanted.sequences),
        ] {
            let missing: Vec<&str> =
                in_catalogue.iter().filter(|one| !in_set.contains(one)).map(String::as_str).collect();
            self.check(
                missing.is_empty() && !(what == "tables" && in_set.is_empty()),
                format!("{node}: {} {what} in the set, as in the catalogue", in_set.len()),
                format!(
                    "{node}: {} {what} in the set, {} in the catalogue; missing: {}",
                    in_set.len(),
                    in_catalogue.len(),
                    missing.join(", ")
                ),
            );
        }
        for table in &wanted.keyless {
            self.unproven.push(format!("{node}: {table} has no primary key and is not replicated"));
        }
        let expected = if origin {
            [("logtrigger", "O"), ("denyaccess", "D")]
        } else {
            [("logtrigger", "D"), ("denyaccess", "O")]
        };
        for (kind, enabled) in expected {
            let (right, other) = (view.trigger_count(kind, enabled), view.trigger_others(kind, enabled));
            self.check(
                right == set.tables && other == 0,
                format!("{node}: {right} {kind} triggers are {enabled}"),
                format!("{node}: {right} of {} {kind} triggers are {enabled}, {other} are not", set.tables),
            );
        }
        Ok(())
    }

    /// Fresh data across, and a write refused where it must be.
    async fn across(&mut self, origin: (&Node, &Session), subscriber: (&Node, &Session)) -> Result<(), Fault> {
        let mut both = true;
        for (node, session) in [origin, subscriber] {
            both &= members(session, node, true).await?.iter().any(|table| table == canary::TABLE);
        }
        if !both {
            let event = Pair::open(origin.0, subscriber.0, self.context)
                .await?
                .sync(self.context, self.context.time_left())
                .await?;
            self.check(true, format!("{} applied SYNC {event} of {}", subscriber.0, origin.0), "");
            self.unproven.push(format!(
                "{}: no row was written, {} is not in the set: a SYNC was confirmed instead",
                origin.0,
                canary::TABLE
            ));
            return Ok(());
        }
        let refuses = canary::refuses(subscriber.1).await?;
        self.check(
            refuses,
            format!("{} refuses writes", subscriber.0),
            format!("{} TAKES writes to a replicated table", subscriber.0),
        );
        let token = format!("{:032x}", rand::random::<u128>());
        match canary::across(origin, subscriber, &token, self.context).await {
            Ok(took) => self.check(
                true,
                format!("a row written on {} was on {} after {:.1} s", origin.0, subscriber.0, took.as_secs_f64()),
                "",
            ),
            Err(fault) => self.check(false, "", fault.message),
        }
        Ok(())
    }
}

#[async_trait]
impl Perform for Verify {
    async fn observe(&self, _: &Context) -> Result<Observation, Fault> {
        Ok(Observation::CannotTell {
            why: "replication is proven with a row of its own, which a dry run does not write".to_owned(),
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut proof = Proof { context, wrong: Vec::new(), done: Vec::new(), unproven: Vec::new() };
        let mut parts = Vec::new();
        for node in Node::all(&self.origin, &self.databases, &self.cluster, context).await? {
            let before = proof.wrong.len();
            let (session, view) = look(&node, context).await?;
            proof.side(&node, &session, view.as_ref(), true).await?;
            let mut text = "the origin is as it should be".to_owned();
            if let Some(subscriber) = &self.subscriber {
                let other = Node::of(subscriber, &node.database, &self.cluster, context).await?;
                let (other_session, other_view) = look(&other, context).await?;
                proof.side(&other, &other_session, other_view.as_ref(), false).await?;
                if let (Some(view), Some(other_view)) = (&view, &other_view) {
                    let active = other_view.receives_from(view.local_id);
                    proof.check(
                        active,
                        format!("{other}: its subscription is active"),
                        format!("{other}: its subscription to {} is not active", node.name),
                    );
                    if active && view.is_origin() && other_view.role() == Role::Subscriber {
                        proof.across((&node, &session), (&other, &other_session)).await?;
                        lag(&mut proof, &node, &session, other_view.local_id).await?;
                    }
                }
                text = format!("{} replicates to {}", node.name, other.name);
            } else {
                proof.unproven.push(format!("{node}: nothing is said about a subscriber, none was named"));
            }
            let wrong = proof.wrong.len() - before;
            parts.push((node.database.clone(), if wrong == 0 { text } else { format!("{wrong} things are wrong") }));
        }
        if !proof.wrong.is_empty() {
            let message = format!("replication is not as it should be: {}", proof.wrong.join("; "));
            return Err(
                Fault::new("BTN-0776", message, "See the task's output for everything that was checked.").into()
            );
        }
        for text in &proof.unproven {
            context.output().line(format!("not proven: {text}"));
        }
        let mut summary = sentence(&parts);
        if !proof.unproven.is_empty() {
            summary.push_str(&format!(" (not proven: {})", proof.unproven.join("; ")));
        }
        Ok(Effect {
            summary,
            data: json!({ "checks": proof.done.len(), "not_proven": proof.unproven }),
            changed: Some(false),
        })
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

async fn lag(proof: &mut Proof<'_>, node: &Node, session: &Session, receiver: i64) -> Result<(), Fault> {
    let sql = format!(
        "SELECT coalesce(max(st_lag_num_events), 0)::int8 FROM {}.sl_status WHERE st_received = $1",
        node.schema()
    );
    let began = tokio::time::Instant::now();
    // Confirmations come lazily, and after a copy there is a backlog to work off: what counts is that it gets small.
    let events: i64 = loop {
        let events = session.row(&sql, &[&(receiver as i32)]).await.map_err(|error| fault(&error))?.get(0);
        if events <= LAG_EVENTS_MAX || began.elapsed() >= LAG_WITHIN {
            break events;
        }
        tokio::time::sleep(LAG_EVERY).await;
    };
    proof.check(
        events <= LAG_EVENTS_MAX,
        format!("{node}: {events} events are not confirmed yet"),
        format!("{node}: {events} events are not confirmed after {LAG_WITHIN:?}"),
    );
    Ok(())
}
