//! `mssql.ag.role`: what every replica says of itself, and a check of it.
//!
//! Apart because it is what everything else of a group is decided on, shown to a person and to a runbook's expressions.

use async_trait::async_trait;
use baton_model::{
    action::mssql::{AgRole, Role as Wish},
    outcome::{DATA_BYTES_MAX, Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    decide::own,
    look::Eyes,
    send::next_look,
    state::{GroupState, Role},
};
use crate::action::{Context, Effect, Failure, Perform, sql::holds_over};

/// Room for what the executor puts around it.
const BYTES_MAX: usize = DATA_BYTES_MAX - 512;

#[async_trait]
impl Perform for AgRole {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(match unmet(self, &state)? {
            None => Observation::InPlace { note: state.sentence() },
            Some(fault) => Observation::Differs { change: fault.message },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        loop {
            let state = eyes.look().await?;
            let Some(unmet) = unmet(self, &state)? else {
                let data = bounded(state.json());
                return Ok(Effect { summary: state.sentence(), data, changed: Some(false) });
            };
            if !self.wait {
                return Err(unmet.into());
            }
            context.progress(&unmet.message, None);
            if !next_look(context).await {
                let message = format!("{}, until the end of the step", unmet.message);
                return Err(Fault::new(&unmet.code, message, unmet.remedy).into());
            }
        }
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

/// Why the check does not hold; an outer error is the runbook's own.
fn unmet(params: &AgRole, state: &GroupState) -> Result<Option<Fault>, Fault> {
    let not = |message: String| {
        Ok(Some(Fault::new("BTN-0647", message, "Compare with what the procedure expects here, before anything else.")))
    };
    if let Some(wish) = params.is {
        let wanted = match wish {
            Wish::Primary => Role::Primary,
            Wish::Secondary => Role::Secondary,
        };
        match own(state) {
            Ok(replica) if replica.role == wanted => {}
            Ok(replica) => {
                return not(format!(
                    "{} is {} and not {} ({})",
                    replica.name,
                    replica.role.word(),
                    wanted.word(),
                    state.sentence()
                ));
            }
            Err(fault) => return Ok(Some(fault)),
        }
    }
    let Some(expect) = &params.expect else { return Ok(None) };
    let data = state.json();
    let part = |name: &str| (name.to_owned(), data.get(name).cloned().unwrap_or(Value::Null));
    let scope = ["primary", "cluster_type", "replicas", "paused"].map(part).into_iter().collect();
    match holds_over(expect, &scope)? {
        true => Ok(None),
        false => not(format!("expect {expect:?} does not hold: {}; paused: {}", state.sentence(), data["paused"])),
    }
}

/// Large groups: the databases that are well are left out first, then all of them.
fn bounded(mut data: Value) -> Value {
    for keep_unwell in [true, false] {
        if data.to_string().len() <= BYTES_MAX {
            return data;
        }
        let mut left_out = 0;
        for replica in data["replicas"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            if let Some(databases) = replica.get_mut("databases").and_then(Value::as_object_mut) {
                let before = databases.len();
                databases.retain(|_, database| keep_unwell && !is_well(database));
                left_out += before - databases.len();
            }
        }
        let so_far = data["left_out"].as_u64().unwrap_or(0);
        data["left_out"] = json!(so_far + left_out as u64);
    }
    if data.to_string().len() > BYTES_MAX {
        let count = data["paused"].as_array().map_or(0, Vec::len);
        data["paused"] = json!([]);
        data["paused_left_out"] = json!(count);
    }
    data
}

fn is_well(database: &Value) -> bool {
    database["suspended"] != json!(true)
        && matches!(database["synchronization_state"].as_str(), Some("SYNCHRONIZED" | "SYNCHRONIZING"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_group_keeps_what_is_not_well() {
        let database = |suspended: bool| json!({ "suspended": suspended, "synchronization_state": if suspended { "NOT SYNCHRONIZING" } else { "SYNCHRONIZED" }, "hardened_lsn": "34000000025600001" });
        let databases: serde_json::Map<String, Value> =
            (0..200).map(|number| (format!("database-{number}"), database(number == 7))).collect();
        let data = json!({ "primary": "SQL1", "replicas": { "SQL1": { "role": "PRIMARY", "databases": databases } }, "paused": [] });
        assert!(data.to_string().len() > BYTES_MAX, "the test's group is large");
        let kept = bounded(data);
        assert!(kept.to_string().len() <= BYTES_MAX);
        assert_eq!(kept["left_out"], json!(199));
        assert_eq!(kept["replicas"]["SQL1"]["databases"], json!({ "database-7": database(true) }));
        let small = json!({ "replicas": {}, "paused": [] });
        assert_eq!(bounded(small.clone()), small);
    }
}
