//! `mssql.ag.resume` and `mssql.ag.suspend`: data movement of an instance's copies.
//!
//! Apart because resuming after a forced failover throws away what only this copy has: that is told before it is sent. Both
//! statements return once accepted; what counts is what the copies say.

use async_trait::async_trait;
use baton_model::{
    action::mssql::{AgResume, AgSuspend},
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    decide::{Paused, Thrown, copies, own, paused},
    look::Eyes,
    send::{Answer, Sent, answer, next_look, send, set_hadr},
    state::{GroupState, Role},
};
use crate::action::{Context, Effect, Failure, Perform};

#[async_trait]
impl Perform for AgResume {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        let paused = paused(&state, &self.databases)?;
        if paused.is_empty() {
            let count = copies(&state, &self.databases)?.len();
            return Ok(Observation::InPlace { note: format!("{}: {count} copies, none suspended", own(&state)?.name) });
        }
        Ok(Observation::Differs { change: format!("{} resumes {}", own(&state)?.name, sentence(&paused)) })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        let before = paused(&state, &self.databases)?;
        let name = own(&state)?.name.clone();
        if before.is_empty() {
            let summary = format!("{name}: no copy is suspended");
            return Ok(Effect { summary, data: json!({ "replica": name, "resumed": {} }), changed: Some(false) });
        }
        if own(&state)?.role != Role::Primary && state.primary().is_none() {
            let message = format!(
                "{name}: no instance that can be asked says PRIMARY ({}): what resuming {} throws away cannot be told",
                state.sentence(),
                self.group
            );
            return Err(Fault::new(
                "BTN-0632",
                message,
                "Bring the primary back, or name its instance in `replicas`, then retry.",
            )
            .into());
        }
        context.progress(format!("{name} resumes {}", sentence(&before)), None);
        context.output().line(format!("{name} resumes {}", sentence(&before)));
        let wanted: Vec<String> = before.iter().map(|one| one.database.clone()).collect();
        move_all(&mut eyes, &wanted, "RESUME", false, context).await?;
        let data: serde_json::Map<String, Value> =
            before.iter().map(|one| (one.database.clone(), paused_json(one))).collect();
        let summary = format!("{name}: resumed {}", sentence(&before));
        Ok(Effect { summary, data: json!({ "replica": name, "resumed": data }), changed: Some(true) })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(json!({ "replica": own(&state)?.name, "resumed": {} }))
    }

    fn repeatable(&self) -> bool {
        true
    }
}

#[async_trait]
impl Perform for AgSuspend {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        let moving = moving(&state, &self.databases)?;
        let name = &own(&state)?.name;
        Ok(match moving.is_empty() {
            true => Observation::InPlace { note: format!("{name}: all suspended") },
            false => Observation::Differs { change: format!("{name} suspends {}", moving.join(", ")) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        let moving = moving(&state, &self.databases)?;
        let name = own(&state)?.name.clone();
        if moving.is_empty() {
            let summary = format!("{name}: all were suspended");
            return Ok(Effect { summary, data: json!({ "replica": name, "suspended": [] }), changed: Some(false) });
        }
        move_all(&mut eyes, &moving, "SUSPEND", true, context).await?;
        let summary = format!("{name}: suspended {}", moving.join(", "));
        Ok(Effect { summary, data: json!({ "replica": name, "suspended": moving }), changed: Some(true) })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        Ok(json!({ "replica": own(&state)?.name, "suspended": [] }))
    }

    fn repeatable(&self) -> bool {
        true
    }
}

fn moving(state: &GroupState, wanted: &[String]) -> Result<Vec<String>, Fault> {
    let all = copies(state, wanted)?.into_iter();
    Ok(all.filter(|copy| !copy.is_suspended()).map(|copy| copy.database.clone()).collect())
}

/// Sends the word for each database until the copies say that it holds, or the task ends.
async fn move_all(
    eyes: &mut Eyes,
    databases: &[String],
    word: &str,
    suspended: bool,
    context: &Context,
) -> Result<(), Failure> {
    let target = eyes.own().clone();
    let mut last: Option<Fault> = None;
    let mut sent = Sent::default();
    loop {
        let state = eyes.look().await?;
        let left: Vec<String> = match copies(&state, databases) {
            Ok(copies) => copies
                .into_iter()
                .filter(|copy| copy.is_suspended() != suspended)
                .map(|copy| copy.database.clone())
                .collect(),
            // In the middle of a restart: it is asked again.
            Err(fault) => {
                last = Some(fault);
                databases.to_vec()
            }
        };
        if left.is_empty() {
            return Ok(());
        }
        for database in left.iter().filter(|database| sent.may(database)).collect::<Vec<_>>() {
            match answer(&send(&target, &set_hadr(database, word), context).await) {
                Answer::Accepted | Answer::Awaited => {}
                Answer::Perhaps(fault) => {
                    context.progress(&fault.message, None);
                    last = Some(fault);
                }
                Answer::Refused(fault) => return Err(fault.into()),
            }
        }
        if !next_look(context).await {
            let words = last.map(|fault| format!(" The instance had said: {}", fault.message)).unwrap_or_default();
            let message =
                format!("{target}: {word} of {} was not seen before the end of the step.{words}", left.join(", "));
            return Err(Failure::Unclear(Fault::new("BTN-0643", message, "See mssql.ag.role; retry looks first.")));
        }
    }
}

fn sentence(paused: &[Paused]) -> String {
    let parts = paused.iter().map(|one| {
        let reason = one.reason.as_deref().unwrap_or("no reason given");
        format!("{} ({reason}): {}", one.database, one.thrown.words())
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn paused_json(paused: &Paused) -> Value {
    let thrown = match &paused.thrown {
        Thrown::Nothing => json!({ "known": true, "above_lsn": null, "until_lsn": null }),
        Thrown::Log { above, until } => {
            json!({ "known": true, "above_lsn": above.to_string(), "until_lsn": until.to_string() })
        }
        Thrown::Unknown(why) => json!({ "known": false, "why": why }),
    };
    json!({ "reason": paused.reason, "thrown_away": thrown, "words": paused.thrown.words() })
}
