//! `mssql.ag.sample`: what one instance has hardened and committed, for a later data-loss bill.
//!
//! Apart because it is taken again and again while all is well, so that it is there when nothing answers any more. It asks one
//! instance only, and also where two say PRIMARY: what each of them had is wanted then more than ever.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use baton_model::{
    action::mssql::AgSample,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    decide::own,
    look::Eyes,
    state::{Copy, Movement, Replica},
};
use crate::action::{Context, Effect, Failure, Perform};

#[async_trait]
impl Perform for AgSample {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let (note, _) = take(self, context).await?;
        Ok(Observation::InPlace { note })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let (summary, data) = take(self, context).await?;
        Ok(Effect { summary, data, changed: Some(false) })
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

async fn take(params: &AgSample, context: &Context) -> Result<(String, Value), Fault> {
    let mut eyes = Eyes::new(&params.group, &params.connection, &[], context).await?;
    // Before it is asked: a figure is never younger than it says.
    let taken_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
    let state = eyes.glance().await;
    let replica = own(&state)?;
    Ok((sentence(replica), data(replica, taken_ms)))
}

fn sentence(replica: &Replica) -> String {
    let copies = replica.own_copies().map(|copy| {
        let lsn = copy.end_of_log.or(copy.hardened).map_or("unknown".to_owned(), |lsn| lsn.to_string());
        format!("{}, log to {lsn}", copy.describe())
    });
    format!("{} {}: {}", replica.name, replica.standing(), copies.collect::<Vec<_>>().join("; "))
}

fn data(replica: &Replica, taken_ms: u64) -> Value {
    let lsn = |lsn: Option<u128>| lsn.map(|lsn| lsn.to_string());
    let row = |copy: &Copy| {
        json!({
            "name": copy.database,
            "replica": copy.replica,
            "is_local": copy.local,
            "synchronization_state": copy.movement.map(Movement::word),
            "is_failover_ready": replica.membership(&copy.replica, &copy.database).and_then(|one| one.ready),
            "is_suspended": copy.suspended,
            "end_of_log_lsn": lsn(copy.end_of_log),
            "last_hardened_lsn": lsn(copy.hardened),
            "last_commit_time": copy.last_commit,
            "recovery_lsn": lsn(copy.recovery),
            "log_send_queue_kb": copy.send_queue_kb,
            "database_state": copy.state,
        })
    };
    json!({
        "taken_ms": taken_ms,
        "replica": replica.name,
        "role": replica.role.word(),
        "databases": replica.copies.iter().map(row).collect::<Vec<_>>(),
    })
}
