//! What a node had applied of the origin, kept before anything destroys it: with it, the lost rows can be listed exactly once
//! the old origin is back. Where there is none, it says so, and why.
//!
//! Apart because `slony.drop` on the same node removes what is read here for ever.

use std::io::Write;

use async_trait::async_trait;
use baton_model::{
    action::slony::Evidence,
    outcome::{DATA_BYTES_MAX, Fault, Observation},
};
use serde_json::{Map, Value, json};

use crate::{
    action::{Context, Effect, Failure, Perform, sql::fault},
    host::postgres::Session,
};

use super::{
    node::Node,
    sentence,
    state::{Role, look, role},
};

/// Room for what the executor adds around the data.
const DATA_ROOM: usize = DATA_BYTES_MAX - 1024;

#[async_trait]
impl Perform for Evidence {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        Ok(Observation::InPlace { note: gather(self, context).await?.summary })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut effect = gather(self, context).await?;
        let whole = serde_json::to_vec_pretty(&effect.data).unwrap_or_default();
        let mut file = context.attachment("slony-evidence.json")?;
        let written = file.write_all(&whole).and_then(|()| file.finish());
        written.map_err(|error| {
            Fault::new("BTN-0745", format!("cannot save the evidence: {error}"), "Make room on the disk, then retry.")
        })?;
        shorten(&mut effect.data);
        Ok(effect)
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

/// The log takes only so much: the sequences go first, they are in the attachment.
fn shorten(data: &mut Value) {
    if data.to_string().len() <= DATA_ROOM {
        return;
    }
    for entry in data.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        let count = entry["sequences"].as_object().map_or(0, Map::len);
        entry["sequences"] = json!({});
        entry["sequences_left_out"] = json!(count);
    }
}

async fn gather(evidence: &Evidence, context: &Context) -> Result<Effect, Fault> {
    let mut parts = Vec::new();
    let mut data = Map::new();
    for node in Node::all(&evidence.server, &evidence.databases, &evidence.cluster, context).await? {
        let (session, view) = look(&node, context).await?;
        let sequences = sequences(&session, &node).await?;
        let mut entry = json!({ "server": node.name, "address": node.target.host, "schema": view.is_some(),
            "role": role(view.as_ref()), "sequences": sequences });
        let text = match &view {
            None => {
                entry["why"] = json!("there is no Slony schema: what it had applied is not known");
                "no evidence: there is no Slony schema".to_owned()
            }
            Some(view) => {
                entry["schema_oid"] = json!(view.schema_oid);
                entry["local_id"] = json!(view.local_id);
                entry["nodes"] = json!(view.nodes);
                // After Slony's own FAILOVER the new origin still knows the last SYNC of the old one.
                let applied =
                    view.applied.as_ref().filter(|one| view.role() == Role::Subscriber || one.source == "sl_event");
                match applied {
                    Some(applied) => {
                        entry["applied"] = serde_json::to_value(applied).unwrap_or(Value::Null);
                        let at = applied.at.as_deref().unwrap_or("a time that is no longer known");
                        format!(
                            "has SYNC {} of node {}, made at {at} (from {})",
                            applied.seqno, applied.origin, applied.source
                        )
                    }
                    None => {
                        let why = match view.role() {
                            Role::Subscriber => "it never finished a SYNC".to_owned(),
                            other => format!("it applies nothing from anybody ({})", other.as_str()),
                        };
                        entry["why"] = json!(why);
                        format!("no evidence: {why}")
                    }
                }
            }
        };
        data.insert(node.database.clone(), entry);
        parts.push((node.label(), text));
    }
    Ok(Effect { summary: sentence(&parts), data: Value::Object(data), changed: Some(false) })
}

async fn sequences(session: &Session, node: &Node) -> Result<Value, Fault> {
    let rows = session
        .rows(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value FROM pg_sequences
              WHERE schemaname <> $1 ORDER BY 1",
            &[&node.schema()],
        )
        .await
        .map_err(|error| fault(&error))?;
    // None: a sequence that was never used.
    Ok(rows
        .iter()
        .map(|row| (row.get::<_, String>(0), json!(row.get::<_, Option<i64>>(1))))
        .collect::<Map<_, _>>()
        .into())
}

/// One database's entry of the data of a `slony.evidence` step (or of `slony.lost_rows`): the data itself, or by host.
pub(super) fn entry<'a>(evidence: &'a Value, database: &str) -> Option<&'a Value> {
    let all = evidence.as_object()?;
    if let Some(entry) = all.get(database).filter(|entry| entry.is_object()) {
        return Some(entry);
    }
    let mut inner = all.values().filter_map(|value| value.get(database)).filter(|entry| entry.is_object());
    let one = inner.next();
    // Two hosts' evidence for one database: which of them is meant is not for this host to guess.
    if inner.next().is_some() { None } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_found_alone_or_below_one_host_and_never_guessed() {
        let data = json!({ "fdb": { "schema": true } });
        assert!(entry(&data, "fdb").is_some());
        assert!(entry(&data, "edb").is_none());
        assert!(entry(&json!({ "tab": data.clone() }), "fdb").is_some());
        assert!(entry(&json!({ "tab": data.clone(), "taa": data }), "fdb").is_none());
        assert!(entry(&Value::Null, "fdb").is_none());
    }
}
