//! `mssql.log_shipping.recover`: the database is brought online; from then on no further log can be applied.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingRecover,
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::super::{
    copy_of::{existing, standing},
    instance::Instance,
    restoring::recover,
    sessions::Ended,
};
use crate::action::{Context, Effect, Failure, Perform};

#[async_trait]
impl Perform for LogShippingRecover {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let copy = existing(&mut instance, &self.database).await?;
        if copy.is_open() {
            return Ok(Observation::InPlace { note: format!("{} is online", self.database) });
        }
        let lsn = standing(&mut instance, &self.database).await?.map(|standing| standing.applied.to_string());
        let lsn = lsn.as_deref().unwrap_or("unknown");
        let change = format!(
            "bring {} online ({} now, last applied LSN {lsn}); no further log can be applied then",
            self.database,
            copy.words()
        );
        Ok(Observation::Differs { change })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let before = existing(&mut instance, &self.database).await?;
        let mut ended = Ended::default();
        let changed = !before.is_open();
        if changed {
            recover(&mut instance, &self.database, &mut ended).await?;
        }
        let lsn = standing(&mut instance, &self.database).await?.map(|standing| standing.applied);
        let lsn_words = lsn.map_or("unknown".to_owned(), |lsn| lsn.to_string());
        let sessions = if ended.count() > 0 { format!("; sessions ended: {}", ended.words()) } else { String::new() };
        Ok(Effect {
            summary: format!("{} is online, recovered to LSN {lsn_words}{sessions}", self.database),
            data: json!({ "lsn": lsn, "ended": ended.data() }),
            changed: Some(changed),
        })
    }

    /// What is online already says so (3153).
    fn repeatable(&self) -> bool {
        true
    }
}
