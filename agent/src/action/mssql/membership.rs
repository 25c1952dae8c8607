//! `mssql.ag.add`, `join` and `leave`: which databases a group has, and which copies follow.
//!
//! Apart because each is said to another instance: a database is added on the primary, and its copies join and leave where they
//! are. What counts is the catalogue and the copy's own row.

use async_trait::async_trait;
use baton_model::{
    action::mssql::{AgAdd, AgJoin, AgLeave},
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::{
    decide::{own, primary},
    look::Eyes,
    send::{Answer, Sent, answer, next_look, send, set_hadr},
    state::{GroupState, Role, same},
};
use crate::{
    action::{Context, Effect, Failure, Perform},
    host::sqlserver::{Target, text::name},
};

/// What holds now: the note, or what would change.
type Held = Result<String, String>;

#[async_trait]
impl Perform for AgAdd {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        observation(added(&eyes.look().await?, &self.database)?)
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let sql = format!("ALTER AVAILABILITY GROUP {} ADD DATABASE {};", name(&self.group), name(&self.database));
        let held = |state: &GroupState| added(state, &self.database);
        let whom =
            |eyes: &Eyes, state: &GroupState| state.primary().and_then(|one| eyes.target_of(state, &one.name)).cloned();
        until(&mut eyes, held, whom, &sql, context).await
    }

    fn repeatable(&self) -> bool {
        true
    }
}

#[async_trait]
impl Perform for AgJoin {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        observation(joined(&eyes.look().await?, &self.database)?)
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let sql = set_hadr(&self.database, &format!("AVAILABILITY GROUP = {}", name(&self.group)));
        let held = |state: &GroupState| joined(state, &self.database);
        until(&mut eyes, held, |eyes, _| Some(eyes.own().clone()), &sql, context).await
    }

    fn repeatable(&self) -> bool {
        true
    }
}

#[async_trait]
impl Perform for AgLeave {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        observation(left(&eyes.look().await?, &self.database)?)
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let sql = set_hadr(&self.database, "OFF");
        let held = |state: &GroupState| left(state, &self.database);
        until(&mut eyes, held, |eyes, _| Some(eyes.own().clone()), &sql, context).await
    }

    fn repeatable(&self) -> bool {
        true
    }
}

fn observation(held: Held) -> Result<Observation, Fault> {
    Ok(match held {
        Ok(note) => Observation::InPlace { note },
        Err(change) => Observation::Differs { change },
    })
}

fn added(state: &GroupState, database: &str) -> Result<Held, Fault> {
    let primary = primary(state)?;
    Ok(match primary.databases.iter().any(|one| same(one, database)) {
        true => Ok(format!("{database} is one of {}'s on {}", state.group, primary.name)),
        false => Err(format!("add {database} to {} on {}", state.group, primary.name)),
    })
}

fn joined(state: &GroupState, database: &str) -> Result<Held, Fault> {
    let replica = own(state)?;
    if let Some(primary) = state.primary()
        && !primary.databases.iter().any(|one| same(one, database))
    {
        let message = format!("{database} is none of {}'s databases on {}", state.group, primary.name);
        return Err(Fault::new("BTN-0648", message, "Add it on the primary first (mssql.ag.add)."));
    }
    let unjoined = replica.membership(&replica.name, database).and_then(|one| one.joined) == Some(false);
    Ok(match replica.own_copy(database) {
        Some(copy) if copy.state != Some("RESTORING") && !unjoined => {
            Ok(format!("{}: {}", replica.name, copy.describe()))
        }
        _ => Err(format!("{}: its copy of {database} joins {}", replica.name, state.group)),
    })
}

fn left(state: &GroupState, database: &str) -> Result<Held, Fault> {
    let replica = own(state)?;
    if replica.role == Role::Primary && replica.own_copy(database).is_some() {
        let message =
            format!("{} is the primary of {}: its own database does not leave (35240)", replica.name, state.group);
        return Err(Fault::new("BTN-0648", message, "Name the secondary whose copy is to leave."));
    }
    let unjoined = replica.membership(&replica.name, database).and_then(|one| one.joined) == Some(false);
    Ok(match replica.own_copy(database) {
        Some(_) if !unjoined => {
            Err(format!("{}: its copy of {database} leaves {}, and is left restoring", replica.name, state.group))
        }
        _ => Ok(format!("{}: no copy of {database} follows {}", replica.name, state.group)),
    })
}

/// Sends the statement until the state holds, the server refuses for good, or the task ends.
async fn until(
    eyes: &mut Eyes,
    held: impl Fn(&GroupState) -> Result<Held, Fault>,
    whom: impl Fn(&Eyes, &GroupState) -> Option<Target>,
    sql: &str,
    context: &Context,
) -> Result<Effect, Failure> {
    let mut sent = false;
    let mut said = Sent::default();
    let mut last: Option<Fault> = None;
    loop {
        let state = eyes.look().await?;
        let change = match held(&state) {
            Ok(Ok(note)) => return Ok(Effect { summary: note, data: json!({ "sent": sent }), changed: Some(sent) }),
            Ok(Err(change)) => change,
            // Asked before anything was sent it is the answer; afterwards the instance may be starting.
            Err(fault) if !sent => return Err(fault.into()),
            Err(fault) => {
                last = Some(fault);
                "what was sent is not seen".to_owned()
            }
        };
        if let Some(target) = whom(eyes, &state).filter(|_| said.may(sql)) {
            match answer(&send(&target, sql, context).await) {
                Answer::Accepted | Answer::Awaited => sent = true,
                Answer::Perhaps(fault) => {
                    sent = true;
                    context.progress(&fault.message, None);
                    last = Some(fault);
                }
                Answer::Refused(fault) => {
                    // Refused because it is so already: the catalogue decides.
                    if let Ok(Ok(note)) = held(&eyes.look().await?) {
                        return Ok(Effect { summary: note, data: json!({ "sent": sent }), changed: Some(sent) });
                    }
                    return Err(fault.into());
                }
            }
        }
        context.progress(&change, None);
        if !next_look(context).await {
            let words = last.map(|fault| format!(" The instance had said: {}", fault.message)).unwrap_or_default();
            let message = format!("not seen before the end of the step: {change}.{words}");
            return Err(Failure::Unclear(Fault::new("BTN-0643", message, "See mssql.ag.role; retry looks first.")));
        }
    }
}
