//! Slony-I on PostgreSQL. One file for each thing that is done; facts and their reasons are in docs/actions.
//!
//! Every action reads both sides' own state first, proves the direction, and only then changes something; repeated, it finds
//! its work done. Nothing here may decide from a process's word alone, from the vendor's verification row alone, or from
//! what a step before has reported.

use baton_model::{
    action::slony::{CaughtUp, Origin, State},
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use crate::action::{Context, Effect, Failure, Perform, sql::fault};

mod advance;
mod canary;
mod catch_up;
mod copy;
mod daemon;
mod evidence;
mod failover;
mod init;
mod join;
mod lost_rows;
mod move_set;
mod node;
mod removal;
mod slonik;
mod start;
mod state;
mod stop;
mod subscribe;
mod verify;

use node::Node;
use state::{look, relations};

/// The vendor's verification query, verbatim (Horizon DaaS, "Promote the Secondary Service Provider Appliance to Primary"),
/// but for the schema's name.
const VENDOR_QUERY: &str = "SELECT a.set_id, a.set_comment, (SELECT last_value FROM @.sl_local_node_id) AS local_id, CASE WHEN a.set_origin = (SELECT last_value FROM @.sl_local_node_id)THEN TRUE ELSE FALSE END AS master_node from @.sl_set a;";

/// Sums up what was found per database.
fn sentence(parts: &[(String, String)]) -> String {
    parts.iter().map(|(database, text)| format!("{database}: {text}")).collect::<Vec<_>>().join("; ")
}

/// In place where every database is; otherwise what would change in those that are not.
fn observed(parts: Vec<(String, Result<String, String>)>) -> Observation {
    let differing: Vec<(String, String)> = parts
        .iter()
        .filter_map(|(database, one)| one.as_ref().err().map(|change| (database.clone(), change.clone())))
        .collect();
    if differing.is_empty() {
        let all: Vec<(String, String)> =
            parts.into_iter().map(|(database, one)| (database, one.unwrap_or_default())).collect();
        Observation::InPlace { note: sentence(&all) }
    } else {
        Observation::Differs { change: sentence(&differing) }
    }
}

/// The replicated role must name the origin: a copy in the wrong direction wipes the good side.
fn proven_by_role(origin: &str, primary: &str) -> Result<(), Fault> {
    if origin == primary {
        return Ok(());
    }
    let message = format!(
        "{origin} is not the primary, {primary} is: refused, the copy would go in the wrong direction and wipe {primary}"
    );
    Err(Fault::new(
        "BTN-0740",
        message,
        "Name the primary as origin. If the role is wrong, correct the role first (baton show GROUP).",
    ))
}

#[async_trait::async_trait]
impl Perform for State {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let effect = self.read(context).await?;
        Ok(Observation::InPlace { note: effect.summary })
    }
    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        Ok(self.read(context).await?)
    }
    fn repeatable(&self) -> bool {
        true
    }
    fn only_observes(&self) -> bool {
        true
    }
}

trait Read {
    async fn read(&self, context: &Context) -> Result<Effect, Fault>;
}

impl Read for State {
    async fn read(&self, context: &Context) -> Result<Effect, Fault> {
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            let (session, view) = look(&node, context).await?;
            let role = state::role(view.as_ref());
            let relations = relations(&session, &node).await?;
            let mut entry = json!({ "role": role, "tables_in_catalogue": relations.iter().filter(|one| one.is_table).count(),
                "sequences_in_catalogue": relations.iter().filter(|one| !one.is_table).count() });
            let mut text = role.as_str().to_owned();
            if let Some(view) = &view {
                entry["view"] = serde_json::to_value(view).unwrap_or(Value::Null);
                if let Some(Value::Object(applied)) = entry["view"].get_mut("applied") {
                    // A snapshot names every open transaction: it belongs to the evidence, not here.
                    applied.remove("snapshot");
                }
                if let Some(set) = view.set() {
                    text.push_str(&format!(
                        ", node {}, {} tables, {} sequences",
                        view.local_id, set.tables, set.sequences
                    ));
                }
                match view.applied.as_ref().filter(|_| !view.is_origin()).and_then(|applied| applied.age_s) {
                    Some(age) => text.push_str(&format!(
                        ", {age:.1} s behind node {}",
                        view.applied.as_ref().map_or(0, |one| one.origin)
                    )),
                    None if view.is_origin() => {}
                    None => text.push_str(", position not known"),
                }
                text.push_str(if view.slons > 0 { ", slon runs" } else { ", no slon" });
            }
            data.insert(node.database.clone(), entry);
            parts.push((node.label(), text));
        }
        Ok(Effect { summary: sentence(&parts), data: Value::Object(data), changed: Some(false) })
    }
}

#[async_trait::async_trait]
impl Perform for Origin {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        match self.held(context).await? {
            Ok(effect) => Ok(Observation::InPlace { note: effect.summary }),
            Err(fault) => Ok(Observation::Differs { change: fault.message }),
        }
    }
    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        Ok(self.held(context).await??)
    }
    fn repeatable(&self) -> bool {
        true
    }
    fn only_observes(&self) -> bool {
        true
    }
}

trait Held {
    async fn held(&self, context: &Context) -> Result<Result<Effect, Fault>, Fault>;
}

impl Held for Origin {
    /// The inner error says that the server answered, and not as expected.
    async fn held(&self, context: &Context) -> Result<Result<Effect, Fault>, Fault> {
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let wrong =
            |text: String| Fault::new("BTN-0741", text, "See slony.state for both nodes before doing anything else.");
        for node in Node::all(&self.server, &self.databases, &self.cluster, context).await? {
            let (session, view) = look(&node, context).await?;
            if view.is_none() {
                return Ok(Err(wrong(format!(
                    "{node} has no Slony schema: it is no node, and whoever connects can write"
                ))));
            }
            let rows =
                session.rows(&VENDOR_QUERY.replace('@', &node.schema()), &[]).await.map_err(|error| fault(&error))?;
            let [row] = rows.as_slice() else {
                return Ok(Err(wrong(format!(
                    "{node}: the verification query returned {} rows instead of 1",
                    rows.len()
                ))));
            };
            let (set, comment, local, master): (i32, Option<String>, i64, bool) =
                (row.get(0), row.get(1), row.get(2), row.get(3));
            let comment = comment.unwrap_or_default();
            context.output().line(format!(
                "{node}:\n set_id | set_comment | local_id | master_node\n {set} | {comment} | {local} | {}",
                if master { "t" } else { "f" }
            ));
            if master != self.is {
                let seen = if master { "is the origin" } else { "is not the origin" };
                return Ok(Err(wrong(format!("{node} {seen} of set {set} (local_id {local})"))));
            }
            if let Some(wanted) = self.local_id.filter(|wanted| *wanted != local) {
                return Ok(Err(wrong(format!("{node} is node {local} and not {wanted}"))));
            }
            data.insert(
                node.database.clone(),
                json!({ "set_id": set, "set_comment": comment, "local_id": local, "master_node": master }),
            );
            parts.push((node.label(), format!("{set} | {comment} | {local} | {}", if master { "t" } else { "f" })));
        }
        Ok(Ok(Effect { summary: sentence(&parts), data: Value::Object(data), changed: Some(false) }))
    }
}

#[async_trait::async_trait]
impl Perform for CaughtUp {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut parts = Vec::new();
        for (origin, subscriber) in
            pairs(&self.origin, &self.subscriber, &self.databases, &self.cluster, context).await?
        {
            let pair = catch_up::Pair::open(&origin, &subscriber, context).await?;
            let pending = pair.pending().await?;
            parts.push((
                origin.database.clone(),
                match pending {
                    0 => Ok(format!("{} has everything that {} had", subscriber.name, origin.name)),
                    rows => Err(format!("{} lacks {rows} changes of {}", subscriber.name, origin.name)),
                },
            ));
        }
        Ok(observed(parts))
    }
    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut parts = Vec::new();
        for (origin, subscriber) in
            pairs(&self.origin, &self.subscriber, &self.databases, &self.cluster, context).await?
        {
            let pair = catch_up::Pair::open(&origin, &subscriber, context).await?;
            let event = pair.sync(context, context.time_left()).await?;
            parts.push((
                origin.database.clone(),
                format!("{} has applied SYNC {event} of {}", subscriber.name, origin.name),
            ));
        }
        Ok(Effect { summary: sentence(&parts), data: Value::Null, changed: Some(false) })
    }
    fn repeatable(&self) -> bool {
        true
    }
    fn only_observes(&self) -> bool {
        true
    }
}

/// Both nodes of each database.
async fn pairs(
    origin: &baton_model::action::slony::Server,
    subscriber: &baton_model::action::slony::Server,
    databases: &[String],
    cluster: &str,
    context: &Context,
) -> Result<Vec<(Node, Node)>, Fault> {
    if origin.address == subscriber.address && origin.port == subscriber.port {
        let message =
            format!("{} and {} are the same server, {}:{}", origin.name, subscriber.name, origin.address, origin.port);
        return Err(Fault::new("BTN-0730", message, "Correct the group file."));
    }
    let origins = Node::all(origin, databases, cluster, context).await?;
    let subscribers = Node::all(subscriber, databases, cluster, context).await?;
    Ok(origins.into_iter().zip(subscribers).collect())
}
