//! `mssql.ag.force_failover`: the instance becomes primary, whatever it lacks.
//!
//! Apart because it loses data: this is the only place where the word stands, it is sent on an operator's word for one run,
//! never where a planned failover can work, and never while the old primary is known to serve.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::{
    action::mssql::AgForceFailover,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    decide::{Way, forced},
    look::Eyes,
    pursuit::Pursuit,
    send::next_look,
    state::{GroupState, Replica},
};
use crate::action::{Context, Effect, Failure, Perform};

const WORDS: &str = "FORCE_FAILOVER_ALLOW_DATA_LOSS";
/// A secondary goes on saying CONNECTED for its session timeout after its primary died; 10 s by default.
const LAST_CONTACT: Duration = Duration::from_secs(15);

#[async_trait]
impl Perform for AgForceFailover {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(match forced(&state)? {
            Way::There(note) => Observation::InPlace { note },
            Way::Between(why) => Observation::CannotTell { why: format!("a change of role is under way: {why}") },
            Way::Ready(start) => Observation::Differs {
                change: format!(
                    "{}: {} is made primary by force; what it lacks is lost, and the other copies are suspended",
                    self.group, start.target
                ),
            },
            Way::NotReady(fault) => {
                Observation::Differs { change: format!("a forced failover; refused as it is now: {}", fault.message) }
            }
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let patience = Instant::now() + LAST_CONTACT;
        loop {
            let state = eyes.look().await?;
            let start = match forced(&state)? {
                Way::There(note) => return Ok(Effect { changed: Some(false), ..done(&state, note, Value::Null) }),
                Way::NotReady(fault) => {
                    if Instant::now() >= patience || !next_look(context).await {
                        return Err(fault.into());
                    }
                    context.progress(fault.message, None);
                    continue;
                }
                Way::Between(_) => {
                    let watching = super::watching(&self.group, &state, WORDS, forced);
                    if let Some((state, note)) = watching.watch(&mut eyes, context).await? {
                        return Ok(done(&state, note, Value::Null));
                    }
                    continue;
                }
                Way::Ready(start) => start,
            };
            if !self.accept_data_loss {
                let message =
                    format!("{}: nobody accepted for this run that data may be lost; nothing was sent", self.group);
                return Err(Fault::new(
                    "BTN-0637",
                    message,
                    "Read the data-loss bill in the plan; then start the run with --accept-data-loss and the group's name.",
                )
                .into());
            }
            let had = state.of(&start.target).map(had).unwrap_or_default();
            let pursuit = Pursuit { group: &self.group, start, words: WORDS, verdict: forced };
            let (_, note) = pursuit.run(&mut eyes, context).await?;
            // Who was suspended by it is known only once the new primary is there.
            return Ok(done(&eyes.glance().await, note, had));
        }
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(done(&state, String::new(), Value::Null).data)
    }

    fn repeatable(&self) -> bool {
        true
    }

    /// It reads every replica first, and sends nothing that has happened, is under way, or is no longer allowed.
    fn repeatable_blind(&self) -> bool {
        true
    }
}

/// What the target had when it was forced: the record that outlives the run.
fn had(replica: &Replica) -> Value {
    let entries = replica.own_copies().map(|copy| {
        let lsn = |lsn: Option<u128>| lsn.map(|lsn| lsn.to_string());
        (
            copy.database.clone(),
            json!({
                "last_hardened_lsn": lsn(copy.hardened),
                "end_of_log_lsn": lsn(copy.end_of_log),
                "last_commit_time": copy.last_commit,
                "synchronization_state": copy.movement.map(super::state::Movement::word),
                "suspended": copy.suspended,
                "suspend_reason": copy.reason,
            }),
        )
    });
    Value::Object(entries.collect())
}

fn done(state: &GroupState, note: String, had: Value) -> Effect {
    let suspended = state.paused_json();
    let count = suspended.as_array().map_or(0, Vec::len);
    let silent = state.told.len() - state.said().count();
    let mut summary = format!("{note} ({}); {count} copies are suspended until they are resumed", state.sentence());
    if silent > 0 {
        summary.push_str("; an instance that cannot be asked will have its copies suspended when it is back");
    }
    let data = json!({ "primary": state.primary().map(|one| &one.name), "had": had, "suspended": suspended });
    Effect { summary, data, changed: None }
}
