//! `mssql.log_shipping.state`: what a secondary knows, and where its database stands. Changes nothing.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingState,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    super::{
        copy_of::{copy_of, standing},
        instance::Instance,
    },
    record,
};
use crate::action::{Context, Effect, Failure, Perform};

#[async_trait]
impl Perform for LogShippingState {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        read(self, context).await.map(|(note, _)| Observation::InPlace { note })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let (summary, data) = read(self, context).await?;
        Ok(Effect { summary, data, changed: Some(false) })
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

async fn read(state: &LogShippingState, context: &Context) -> Result<(String, Value), Fault> {
    let mut instance = Instance::open(&state.connection, context).await?;
    let database = &state.database;
    let copy = copy_of(&mut instance, database).await?;
    let standing = standing(&mut instance, database).await?;
    let record = record::read(&mut instance, database).await?;
    let kept = record::kept(context, &instance, database)?;
    let shipped = match (&record, &kept) {
        (Some(record), _) => {
            format!("shipped from {} ({}) to {}", record.primary_server, record.source, record.destination)
        }
        (None, Some(record)) => format!("no longer shipped from {}", record.primary_server),
        (None, None) => "not a log shipping secondary".to_owned(),
    };
    let note = format!(
        "{database} at {}: {}, {shipped}, last applied LSN {}",
        instance.label(),
        copy.as_ref().map_or("absent".to_owned(), |copy| copy.words()),
        standing.as_ref().map_or("unknown".to_owned(), |standing| standing.applied.to_string()),
    );
    let data = json!({
        "database": database, "copy": copy, "standing": standing,
        "shipping": record, "removed": if record.is_some() { &None } else { &kept },
    });
    Ok((note, data))
}
