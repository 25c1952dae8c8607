//! `mssql.ag.failover`: the instance becomes primary, and nothing is lost.
//!
//! Apart from the forced one so that no path leads from here to it: this file, and what it calls, does not know that word.
//! SQL Server itself refuses FAILOVER where something would be lost (41142); the checks here say so first, and by name.

use async_trait::async_trait;
use baton_model::{
    action::mssql::AgFailover,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    decide::{Way, planned},
    look::Eyes,
    pursuit::Pursuit,
    state::GroupState,
};
use crate::action::{Context, Effect, Failure, Perform};

const WORDS: &str = "FAILOVER";

#[async_trait]
impl Perform for AgFailover {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(match planned(&state)? {
            Way::There(note) => Observation::InPlace { note },
            Way::Between(why) => Observation::CannotTell { why: format!("a change of role is under way: {why}") },
            Way::Ready(start) => Observation::Differs {
                change: match &start.from {
                    Some(from) => {
                        format!("{}: {from} hands the primary role to {}, without loss", self.group, start.target)
                    }
                    None => format!("{}: {} becomes primary without loss; nobody is now", self.group, start.target),
                },
            },
            Way::NotReady(fault) => Observation::Differs {
                change: format!("the primary role moves; refused as it is now: {}", fault.message),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        loop {
            let state = eyes.look().await?;
            let start = match planned(&state)? {
                Way::There(note) => return Ok(Effect { changed: Some(false), ..done(&state, note, None) }),
                Way::NotReady(fault) => return Err(fault.into()),
                Way::Between(_) => {
                    if let Some((state, note)) = self.pursuit(&state).watch(&mut eyes, context).await? {
                        return Ok(done(&state, note, None));
                    }
                    continue;
                }
                Way::Ready(start) => start,
            };
            let from = start.from.clone();
            let pursuit = Pursuit { group: &self.group, start, words: WORDS, verdict: planned };
            let (state, note) = pursuit.run(&mut eyes, context).await?;
            return Ok(done(&state, note, from));
        }
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(done(&state, String::new(), None).data)
    }

    fn repeatable(&self) -> bool {
        true
    }

    /// It reads every replica first, and sends nothing that has happened or is under way.
    fn repeatable_blind(&self) -> bool {
        true
    }
}

trait Watched {
    fn pursuit(&self, state: &GroupState) -> Pursuit<'_>;
}

impl Watched for AgFailover {
    fn pursuit(&self, state: &GroupState) -> Pursuit<'_> {
        super::watching(&self.group, state, WORDS, planned)
    }
}

fn done(state: &GroupState, note: String, from: Option<String>) -> Effect {
    let data = json!({ "primary": state.primary().map(|one| &one.name), "from": from, "paused": state.paused_json() });
    Effect { summary: format!("{note} ({})", state.sentence()), data, changed: None }
}
