//! Whether the subscriber has everything that the origin had, proven from the origin's log and the subscriber's snapshot.
//!
//! Apart because `sl_status` cannot tell: its confirmations come back lazily, and on the subscriber it describes the wrong
//! direction. Here the subscriber's applied SYNC is asked, and nobody's estimate.

use std::time::Duration;

use baton_model::outcome::Fault;

use crate::{
    action::{
        Context,
        sql::{fault, limits},
    },
    host::postgres::Session,
};

use super::{
    node::Node,
    state::{View, look, read},
};

const POLL_EVERY: Duration = Duration::from_millis(100);

/// Both sides of a database, with the direction proven from their own views.
pub(super) struct Pair<'a> {
    pub origin: (&'a Node, Session, View),
    pub subscriber: (&'a Node, Session, View),
}

impl<'a> Pair<'a> {
    /// Refused unless the origin says that it is, and the subscriber that it receives from it.
    pub async fn open(origin: &'a Node, subscriber: &'a Node, context: &Context) -> Result<Self, Fault> {
        let (session, view) = look(origin, context).await?;
        let (other_session, other_view) = look(subscriber, context).await?;
        let not = |node: &Node, what: String| {
            Fault::new("BTN-0742", format!("{node} {what}"), "See slony.state for both nodes.")
        };
        let view = view.ok_or_else(|| not(origin, "has no Slony schema".to_owned()))?;
        let other_view = other_view.ok_or_else(|| not(subscriber, "has no Slony schema".to_owned()))?;
        if !view.is_origin() {
            return Err(not(origin, format!("is not the origin: {}", view.role().as_str())));
        }
        if other_view.is_origin() {
            return Err(not(subscriber, "says that it is the origin too: split brain".to_owned()));
        }
        if !other_view.receives_from(view.local_id) {
            return Err(not(
                subscriber,
                format!("has no active subscription to node {} ({})", view.local_id, origin.name),
            ));
        }
        Ok(Self { origin: (origin, session, view), subscriber: (subscriber, other_session, other_view) })
    }

    /// How many logged changes of the origin are not within what the subscriber has applied.
    pub async fn pending(&self) -> Result<i64, Fault> {
        let (subscriber, session, _) = &self.subscriber;
        let Some(applied) = read(session, subscriber).await?.and_then(|view| view.applied) else {
            return Err(Fault::new(
                "BTN-0743",
                format!("{subscriber} does not say what it has applied"),
                "See slony.state.",
            ));
        };
        let (origin, session, view) = &self.origin;
        let schema = origin.schema();
        let sql = format!(
            "SELECT count(*) FROM (SELECT log_origin, log_txid FROM {schema}.sl_log_1 UNION ALL SELECT log_origin, log_txid FROM {schema}.sl_log_2) l
              WHERE log_origin = $1 AND NOT txid_visible_in_snapshot(log_txid, $2::text::txid_snapshot)"
        );
        let row =
            session.row(&sql, &[&(view.local_id as i32), &applied.snapshot]).await.map_err(|error| fault(&error))?;
        Ok(row.get(0))
    }

    /// Makes a SYNC now and waits until the subscriber has applied it.
    pub async fn sync(&self, context: &Context, within: Duration) -> Result<i64, Fault> {
        let (origin, session, view) = &self.origin;
        let schema = origin.schema();
        let row = session
            .row(&format!("SELECT {schema}.createEvent($1, 'SYNC')"), &[&schema])
            .await
            .map_err(|error| fault(&error))?;
        let event: i64 = row.get(0);
        let (subscriber, other, _) = &self.subscriber;
        let end = limits(context).at_most(within);
        let sql = format!("SELECT ssy_seqno FROM {schema}.sl_setsync WHERE ssy_setid = $1 AND ssy_origin = $2");
        loop {
            let rows = other.rows(&sql, &[&1i32, &(view.local_id as i32)]).await.map_err(|error| fault(&error))?;
            let applied: i64 = rows.first().map_or(0, |row| row.get(0));
            if applied >= event {
                return Ok(event);
            }
            context.progress(format!("{subscriber}: waits for SYNC {event} of {}, has {applied}", origin.name), None);
            if end.pause("catch up", POLL_EVERY).await.is_err() {
                let slon = match read(other, subscriber).await {
                    Ok(Some(view)) if view.slons == 0 => " (no slon runs for it)",
                    _ => "",
                };
                let message = format!(
                    "{subscriber} has applied SYNC {applied} of {} and not {event} within {within:?}{slon}",
                    origin.name
                );
                return Err(Fault::new(
                    "BTN-0744",
                    message,
                    "Check that both slons run and what they log; then retry.",
                ));
            }
        }
    }
}
