//! `slony.init`: a new cluster with the new origin as node 1, and a set of every table and sequence.
//!
//! Apart because this is the vendor's "reinitialize slony". The ids are swapped on purpose: a stale slon of the old origin then
//! meets "wrong database" instead of consuming the new origin's events in silence. It must never remove a schema that could
//! still tell anybody something: only what a cut-off `init` of its own left behind.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::slony::Init,
    outcome::{Fault, Observation},
};
use serde_json::json;

use crate::{
    action::{Context, Effect, Failure, Perform, sql::fault},
    host::postgres::Session,
};

use super::{
    advance, canary, join,
    node::Node,
    observed, proven_by_role, sentence,
    slonik::Script,
    state::{Relation, Role, SET, View, look, members, relations, role},
};

const WITHIN: Duration = Duration::from_secs(120);
/// The origin's id in a new cluster.
pub(super) const ORIGIN: i64 = 1;

/// The parts of the catalogue that a set can hold, and what is left out.
pub(super) struct Wanted {
    pub tables: Vec<String>,
    pub sequences: Vec<String>,
    /// Tables without primary key: Slony cannot replicate them.
    pub keyless: Vec<String>,
}

impl Wanted {
    pub async fn read(session: &Session, node: &Node) -> Result<Self, Fault> {
        let mut wanted = Self { tables: Vec::new(), sequences: Vec::new(), keyless: Vec::new() };
        for Relation { name, is_table, has_key } in relations(session, node).await? {
            match (is_table, has_key) {
                (false, _) => wanted.sequences.push(name),
                (true, true) => wanted.tables.push(name),
                (true, false) => wanted.keyless.push(name),
            }
        }
        Ok(wanted)
    }
}

/// What a database's own view means for `init`.
enum Found {
    Nothing,
    /// Left by an `init` that was cut off: no subscription and nothing applied, so nothing in it is worth keeping.
    HalfWay,
    Done,
}

impl Found {
    async fn judge(session: &Session, node: &Node, view: Option<&View>, params: &Init) -> Result<Self, Fault> {
        let Some(view) = view else { return Ok(Self::Nothing) };
        let ours = view.local_id == ORIGIN && view.nodes.get(&ORIGIN).is_none_or(|comment| *comment == node.name);
        if ours && view.role() != Role::Subscriber {
            let wanted = Wanted::read(session, node).await?;
            let complete = view.set().is_some_and(|set| set.comment == params.set_comment)
                && members(session, node, true).await? == wanted.tables
                && members(session, node, false).await? == wanted.sequences;
            if complete {
                return Ok(Self::Done);
            }
            if view.subscriptions.is_empty() {
                return Ok(Self::HalfWay);
            }
        }
        if view.local_id == -1 {
            return Ok(Self::HalfWay);
        }
        let message = format!(
            "{node} has a Slony schema that this step did not make: {}, node {}, {} tables",
            view.role().as_str(),
            view.local_id,
            view.set().map_or(0, |set| set.tables)
        );
        Err(Fault::new(
            "BTN-0761",
            message,
            "Save what it knows (slony.evidence or slony.lost_rows), then slony.drop, then retry.",
        ))
    }
}

#[async_trait]
impl Perform for Init {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        proven_by_role(&self.origin.name, &self.primary)?;
        let mut parts = Vec::new();
        for node in Node::all(&self.origin, &self.databases, &self.cluster, context).await? {
            let (session, view) = look(&node, context).await?;
            let mut one = match Found::judge(&session, &node, view.as_ref(), self).await? {
                Found::Done => {
                    Ok(format!("origin of {} tables", view.as_ref().and_then(View::set).map_or(0, |set| set.tables)))
                }
                Found::HalfWay => Err("drop what a cut-off attempt left, and initialise".to_owned()),
                Found::Nothing => Err("initialise as node 1".to_owned()),
            };
            if let (Ok(note), Some(other)) = (&one, &self.subscriber) {
                let other = Node::of(other, &node.database, &self.cluster, context).await?;
                one = match join::plan(&node, &other, context).await? {
                    join::Plan::Done(id) => Ok(format!("{note}; {} is node {id}", other.name)),
                    _ => Err(format!("store {} as a node", other.name)),
                };
            }
            parts.push((node.label(), one));
        }
        Ok(observed(parts))
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        proven_by_role(&self.origin.name, &self.primary)?;
        let nodes = Node::all(&self.origin, &self.databases, &self.cluster, context).await?;
        // Every refusal, on both sides, before the first change.
        for node in &nodes {
            let (session, view) = look(node, context).await?;
            Found::judge(&session, node, view.as_ref(), self).await?;
            if let Some(other) = &self.subscriber {
                let other = Node::of(other, &node.database, &self.cluster, context).await?;
                join::free_of_the_past(&other, node, context).await?;
            }
        }
        let mut parts = Vec::new();
        let mut data = serde_json::Map::new();
        let mut changed = false;
        for node in &nodes {
            let (session, view) = look(node, context).await?;
            match Found::judge(&session, node, view.as_ref(), self).await? {
                Found::Done => {}
                found => {
                    if matches!(found, Found::HalfWay) {
                        drop_leftover(&session, node).await?;
                    }
                    advance::forget(&session, None).await?;
                    canary::create(&session).await?;
                    let wanted = Wanted::read(&session, node).await?;
                    script(node, &wanted, &self.set_comment)?.run(&format!("{node}: init"), WITHIN, context).await?;
                    changed = true;
                }
            }
            if let Some(other) = &self.subscriber {
                let other = Node::of(other, &node.database, &self.cluster, context).await?;
                changed |= join::join(node, &other, context).await?.1;
            }
            let (session, view) = look(node, context).await?;
            let Found::Done = Found::judge(&session, node, view.as_ref(), self).await? else {
                let message = format!("{node}: slonik said that all went well, and the set is not complete");
                return Err(Fault::new("BTN-0762", message, "See slony.state and the task's output.").into());
            };
            let wanted = Wanted::read(&session, node).await?;
            for table in &wanted.keyless {
                context.output().line(format!("{node}: {table} has no primary key and is NOT replicated"));
            }
            let mut text = format!(
                "origin of {} tables and {} sequences as node {ORIGIN}",
                wanted.tables.len(),
                wanted.sequences.len()
            );
            if !wanted.keyless.is_empty() {
                text.push_str(&format!(", not replicated for want of a primary key: {}", wanted.keyless.join(", ")));
            }
            data.insert(
                node.database.clone(),
                json!({ "tables": wanted.tables.len(), "sequences": wanted.sequences.len(), "without_primary_key": wanted.keyless,
                        "role": role(view.as_ref()) }),
            );
            context.progress(format!("{node}: {text}"), None);
            parts.push((node.label(), text));
        }
        Ok(Effect { summary: sentence(&parts), data: data.into(), changed: Some(changed) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Only what was judged to hold nothing.
pub(super) async fn drop_leftover(session: &Session, node: &Node) -> Result<(), Fault> {
    let schema = node.schema();
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning;
         SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE 'slon.%' AND pid <> pg_backend_pid();
         DROP SCHEMA IF EXISTS {schema} CASCADE; COMMIT"
    );
    session.batch(&sql).await.map_err(|error| fault(&error))
}

fn script(node: &Node, wanted: &Wanted, set_comment: &str) -> Result<Script, Fault> {
    let mut script = Script::new(&[(ORIGIN, node)]);
    let quoted = |text: &str| {
        // Slonik's strings have escapes of their own; a name that needs them is refused rather than guessed.
        let fits = !text.contains(['\'', '\\', '\n']);
        let message = format!("{node}: {text:?} cannot be written in a slonik script");
        if fits {
            Ok(format!("'{text}'"))
        } else {
            Err(Fault::new("BTN-0763", message, "Rename it, or initialise by hand."))
        }
    };
    script.say(format!("init cluster (id = {ORIGIN}, comment = {});", quoted(&node.name)?));
    script.say(format!("create set (id = {SET}, origin = {ORIGIN}, comment = {});", quoted(set_comment)?));
    for (kind, names) in [("table", &wanted.tables), ("sequence", &wanted.sequences)] {
        for (number, name) in names.iter().enumerate() {
            let (number, name) = (number + 1, quoted(name)?);
            script.say(format!(
                "set add {kind} (set id = {SET}, origin = {ORIGIN}, id = {number}, fully qualified name = {name});"
            ));
        }
    }
    Ok(script)
}
