//! `mssql.ag.set_mode`: a replica's availability and failover modes, said to the primary, whichever that is now.
//!
//! Apart because the order matters: an asynchronous replica cannot fail over automatically (35211), so that MANUAL comes first on
//! the way there and last on the way back; and one statement sets one property.

use async_trait::async_trait;
use baton_model::{
    action::mssql::{AgSetMode, Availability as Wish, FailoverMode},
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    decide::{primary, two_primaries},
    look::Eyes,
    send::{Answer, Sent, answer, next_look, send},
    state::{Availability, Cluster, Failover, GroupState, Mode},
};
use crate::{
    action::{Context, Effect, Failure, Perform},
    host::sqlserver::{
        number::{Class, class},
        text::{literal, name},
    },
};

#[async_trait]
impl Perform for AgSetMode {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        let steps = steps(self, &state)?;
        let replica = self.replica_name(&state);
        Ok(match steps.is_empty() {
            true => Observation::InPlace { note: format!("{replica}: {}", self.wish()) },
            false => Observation::Differs { change: format!("{replica}: {}", steps.join(", then ")) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let mut sent: Vec<String> = Vec::new();
        let mut last: Option<Fault> = None;
        let mut said_at = Sent::default();
        loop {
            let state = eyes.look().await?;
            let replica = self.replica_name(&state);
            // A primary that moved or restarts is looked for again, until the step ends.
            let pending = match steps(self, &state) {
                Ok(steps) => steps,
                Err(fault) if fault.code == "BTN-0632" && !sent.is_empty() => {
                    last = Some(fault);
                    vec![String::new()]
                }
                Err(fault) => return Err(fault.into()),
            };
            let Some(next) = pending.first() else {
                let summary = format!("{replica}: {} ({})", self.wish(), state.sentence());
                let data = json!({ "replica": replica, "primary": state.primary().map(|one| &one.name), "set": sent });
                return Ok(Effect { summary, data, changed: Some(!sent.is_empty()) });
            };
            let target = state.primary().and_then(|one| eyes.target_of(&state, &one.name)).cloned();
            if let Some(target) = target.filter(|_| !next.is_empty() && said_at.may(next)) {
                let sql = format!(
                    "ALTER AVAILABILITY GROUP {} MODIFY REPLICA ON {} WITH ({next});",
                    name(&self.group),
                    literal(&replica)
                );
                let said = send(&target, &sql, context).await;
                match answer(&said) {
                    Answer::Accepted | Answer::Awaited => note(&mut sent, next),
                    // 41140: the role moved between the look and the statement.
                    Answer::Refused(fault)
                        if said.as_ref().err().and_then(|error| error.number()).map(class) != Some(Class::Place) =>
                    {
                        return Err(fault.into());
                    }
                    Answer::Perhaps(fault) | Answer::Refused(fault) => {
                        context.progress(&fault.message, None);
                        note(&mut sent, next);
                        last = Some(fault);
                    }
                }
            }
            if !next_look(context).await {
                let words = last.map(|fault| format!(" The instance had said: {}", fault.message)).unwrap_or_default();
                let message = format!("{replica}: {} was not seen before the end of the step.{words}", self.wish());
                return Err(Failure::Unclear(Fault::new("BTN-0643", message, "See mssql.ag.role; retry looks first.")));
            }
        }
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut eyes = Eyes::new(&self.group, &self.connection, &self.replicas, context).await?;
        let state = eyes.look().await?;
        let primary = state.primary().map(|one| &one.name);
        Ok(json!({ "replica": self.replica_name(&state), "primary": primary, "set": [] }))
    }

    fn repeatable(&self) -> bool {
        true
    }
}

fn note(sent: &mut Vec<String>, step: &str) {
    if !sent.iter().any(|one| one == step) {
        sent.push(step.to_owned());
    }
}

trait Words {
    fn replica_name(&self, state: &GroupState) -> String;
    fn wish(&self) -> String;
}

impl Words for AgSetMode {
    /// As the group knows it: a connection without `server_name` is known by what the instance said.
    fn replica_name(&self, state: &GroupState) -> String {
        let told = super::decide::own(state).ok().map(|replica| replica.name.clone());
        self.replica.clone().or(told).unwrap_or_else(|| self.connection.instance().to_owned())
    }

    fn wish(&self) -> String {
        let failover = self.failover.map(|mode| format!(", {}", word(mode))).unwrap_or_default();
        format!("{}{failover}", availability(self.availability).word())
    }
}

fn availability(wish: Wish) -> Availability {
    match wish {
        Wish::Synchronous => Availability::Synchronous,
        Wish::Asynchronous => Availability::Asynchronous,
    }
}

fn word(mode: FailoverMode) -> &'static str {
    match mode {
        FailoverMode::Automatic => "AUTOMATIC",
        FailoverMode::Manual => "MANUAL",
    }
}

/// What is still to be set, in the order in which the server takes it.
fn steps(params: &AgSetMode, state: &GroupState) -> Result<Vec<String>, Fault> {
    if let Some(fault) = two_primaries(state) {
        return Err(fault);
    }
    let primary = primary(state)?;
    let replica = params.replica_name(state);
    let Some(now) = primary.mode(&replica) else {
        let known = primary.modes.keys().cloned().collect::<Vec<_>>().join(", ");
        let message = format!("{} has no replica {replica:?}: it has {known}", state.group);
        return Err(Fault::new("BTN-0631", message, "Name it as SELECT @@SERVERNAME does there."));
    };
    if let Some(mode) = params.failover {
        let wrong = match primary.cluster {
            Cluster::Wsfc => None,
            Cluster::None if mode == FailoverMode::Manual => None,
            Cluster::None => Some("only MANUAL"),
            Cluster::External => Some("only EXTERNAL, which Pacemaker set"),
        };
        if let Some(only) = wrong {
            let message =
                format!("{} has cluster type {}, whose failover mode is {only}", state.group, primary.cluster.word());
            return Err(Fault::new("BTN-0646", message, "Leave out `failover`."));
        }
    }
    if params.availability == Wish::Asynchronous && params.failover == Some(FailoverMode::Automatic) {
        let message = format!("{replica}: an asynchronous replica cannot fail over automatically (35211)");
        return Err(Fault::new("BTN-0646", message, "failover: manual."));
    }
    Ok(between(now, availability(params.availability), params.failover))
}

fn between(now: Mode, wanted: Availability, failover: Option<FailoverMode>) -> Vec<String> {
    let mut steps = Vec::new();
    let mode = |wanted: Availability| format!("AVAILABILITY_MODE = {}", wanted.word());
    let is = |mode: FailoverMode| now.failover.map(Failover::word) == Some(word(mode));
    if wanted == Availability::Asynchronous {
        if now.failover == Some(Failover::Automatic) || failover.is_some_and(|wanted| !is(wanted)) {
            steps.push("FAILOVER_MODE = MANUAL".to_owned());
        }
        if now.availability != Some(wanted) {
            steps.push(mode(wanted));
        }
        return steps;
    }
    if now.availability != Some(wanted) {
        steps.push(mode(wanted));
    }
    if let Some(wanted) = failover.filter(|wanted| !is(*wanted)) {
        steps.push(format!("FAILOVER_MODE = {}", word(wanted)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_comes_before_asynchronous_and_after_synchronous() {
        let now = |availability, failover| Mode { availability: Some(availability), failover: Some(failover) };
        use Availability::{Asynchronous, Synchronous};
        use Failover::{Automatic, External, Manual};
        let (auto, manual) = (Some(FailoverMode::Automatic), Some(FailoverMode::Manual));
        let table: &[(Mode, Availability, Option<FailoverMode>, &[&str])] = &[
            (
                now(Synchronous, Automatic),
                Asynchronous,
                None,
                &["FAILOVER_MODE = MANUAL", "AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT"],
            ),
            (now(Synchronous, Manual), Asynchronous, manual, &["AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT"]),
            (now(Synchronous, External), Asynchronous, None, &["AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT"]),
            (now(Asynchronous, Manual), Asynchronous, manual, &[]),
            (
                now(Asynchronous, Manual),
                Synchronous,
                auto,
                &["AVAILABILITY_MODE = SYNCHRONOUS_COMMIT", "FAILOVER_MODE = AUTOMATIC"],
            ),
            (now(Synchronous, Manual), Synchronous, auto, &["FAILOVER_MODE = AUTOMATIC"]),
            (now(Synchronous, Automatic), Synchronous, None, &[]),
        ];
        for (now, wanted, failover, expected) in table {
            assert_eq!(between(*now, *wanted, *failover), *expected, "{now:?} to {wanted:?} {failover:?}");
        }
    }
}
