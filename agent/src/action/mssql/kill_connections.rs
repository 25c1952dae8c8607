//! `mssql.kill_connections`: nobody is connected to the database.
//!
//! KILL in a loop, and never SINGLE_USER: that can leave the only seat to a stranger (924, 5064), and is refused on a database
//! that is being restored.

use async_trait::async_trait;
use baton_model::{
    action::mssql::KillConnections,
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::{
    copy_of::existing,
    instance::Instance,
    sessions::{Ended, connected, end_all},
};
use crate::action::{Context, Effect, Failure, Perform};

#[async_trait]
impl Perform for KillConnections {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        existing(&mut instance, &self.database).await?;
        let found = connected(&mut instance, &self.database).await?;
        if found.is_empty() {
            return Ok(Observation::InPlace { note: format!("nobody is connected to {}", self.database) });
        }
        let words: Vec<String> = found.iter().take(10).map(|session| session.words()).collect();
        let more = if found.len() > 10 { format!(" and {} more", found.len() - 10) } else { String::new() };
        Ok(Observation::Differs { change: format!("end {}{more}", words.join("; ")) })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let mut ended = Ended::default();
        end_all(&mut instance, &self.database, &mut ended).await?;
        let summary = format!("{}: {} sessions were ended: {}", self.database, ended.count(), ended.words());
        Ok(Effect { summary, data: json!({ "ended": ended.data() }), changed: Some(ended.count() > 0) })
    }

    fn repeatable(&self) -> bool {
        true
    }
}
