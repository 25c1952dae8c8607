//! `mssql.log_shipping.remove`: the secondary's log shipping is gone, and what it knew is kept.
//!
//! The procedure erases directories, last files and history. So they are read first, kept on the host's disk, and only then
//! removed; a repeated run finds them there.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingRemove,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{super::instance::Instance, record, record::Record};
use crate::{
    action::{Context, Effect, Failure, Perform, sql::sqlserver::fault},
    host::sqlserver::text::literal,
};

#[async_trait]
impl Perform for LogShippingRemove {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let database = &self.database;
        Ok(match record::read(&mut instance, database).await? {
            Some(record) => Observation::Differs {
                change: format!(
                    "remove log shipping of {database} from {} (files come from {} to {}; last copied {}, last restored {})",
                    record.primary_server,
                    record.source,
                    record.destination,
                    record.last_copied_file.as_deref().unwrap_or("none"),
                    record.last_restored_file.as_deref().unwrap_or("none"),
                ),
            },
            None => Observation::InPlace {
                note: format!("{database} is no log shipping secondary of {}", instance.label()),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let database = &self.database;
        let Some(record) = record::read(&mut instance, database).await? else {
            let summary = format!("{database} is no log shipping secondary of {}", instance.label());
            return Ok(Effect {
                summary,
                data: data(None, record::kept(context, &instance, database)?),
                changed: Some(false),
            });
        };
        let path = record::keep(context, &instance, database, &record)?;
        context.output().line(format!("kept in {}: {}", path.display(), json!(record)));
        let sql = format!(
            "EXEC master.dbo.sp_delete_log_shipping_secondary_database @secondary_database = {}",
            literal(database)
        );
        // 32014 says that it was gone already; any other error may have come after the effect: what is there decides.
        if let Err(error) = instance.batch(&sql).await {
            match record::read(&mut instance, database).await {
                Ok(None) => {}
                Ok(Some(_)) if !error.is_uncertain() => return Err(Failure::Failed(fault(&error))),
                Ok(Some(_)) | Err(_) => return Err(Failure::Unclear(fault(&error))),
            }
        }
        let summary = format!(
            "log shipping of {database} from {} was removed; files came from {} to {}",
            record.primary_server, record.source, record.destination
        );
        Ok(Effect { summary, data: data(Some(&record), None), changed: None })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let instance = Instance::open(&self.connection, context).await?;
        Ok(data(None, record::kept(context, &instance, &self.database)?))
    }

    /// What is removed twice is removed.
    fn repeatable(&self) -> bool {
        true
    }
}

/// The same for whoever removed it and for whoever comes later. Null where nobody here ever knew.
fn data(record: Option<&Record>, kept: Option<Record>) -> Value {
    json!(record.or(kept.as_ref()))
}
