//! `mssql.log_shipping.secondary`: a database that is being restored is shipped to.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingSecondary,
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::super::{copy_of::existing, instance::Instance};
use super::{job, record, record::Record};
use crate::{
    action::{Context, Effect, Failure, Perform},
    host::sqlserver::text::literal,
};

fn differs(wished: &LogShippingSecondary, now: Option<&Record>, enabled: bool) -> Option<String> {
    let Some(now) = now else {
        return Some(format!(
            "make {} a log shipping secondary of {} on {}: files come every {} from {} to {}",
            wished.database,
            wished.primary_database,
            wished.primary_server,
            wished.every,
            wished.source,
            wished.destination
        ));
    };
    let mut changes = Vec::new();
    for (what, is, to_be) in [
        ("primary", &now.primary_server, &wished.primary_server),
        ("primary database", &now.primary_database, &wished.primary_database),
        ("source", &now.source, &wished.source),
        ("destination", &now.destination, &wished.destination),
    ] {
        if !is.eq_ignore_ascii_case(to_be) {
            changes.push(format!("{what} {to_be} instead of {is}"));
        }
    }
    if now.retention_minutes != Some(job::minutes(wished.retention)) {
        changes.push(format!("retention {}", wished.retention));
    }
    if !enabled {
        changes.push("its jobs enabled".to_owned());
    }
    (!changes.is_empty()).then(|| format!("{}: {}", wished.database, changes.join(", ")))
}

/// Both jobs of the secondary are enabled.
async fn jobs(instance: &mut Instance<'_>, database: &str) -> Result<bool, Fault> {
    const SQL: &str = "SELECT j.enabled FROM msdb.dbo.log_shipping_secondary_databases d \
                       JOIN msdb.dbo.log_shipping_secondary s ON s.secondary_id = d.secondary_id \
                       JOIN msdb.dbo.sysjobs j ON j.job_id = s.copy_job_id OR j.job_id = s.restore_job_id \
                       WHERE d.secondary_database = @P1";
    let rows = instance.rows(SQL, &[database.into()]).await?;
    Ok(rows.len() >= 2 && rows.iter().all(|row| row.flag("enabled") == Some(true)))
}

async fn look(
    wished: &LogShippingSecondary,
    instance: &mut Instance<'_>,
) -> Result<(Option<Record>, Option<String>), Fault> {
    let now = record::read(instance, &wished.database).await?;
    let enabled = now.is_some() && jobs(instance, &wished.database).await?;
    let change = differs(wished, now.as_ref(), enabled);
    Ok((now, change))
}

#[async_trait]
impl Perform for LogShippingSecondary {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        Ok(match look(self, &mut instance).await?.1 {
            Some(change) => Observation::Differs { change },
            None => Observation::InPlace {
                note: format!("{} is shipped from {} to {}", self.database, self.primary_server, instance.label()),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let database = &self.database;
        let copy = existing(&mut instance, database).await?;
        if !copy.takes_logs() {
            let message = format!("{}: {database} is {} and takes no log", instance.label(), copy.words());
            return Err(Fault::new("BTN-0678", message, "Restore it without recovery first (mssql.restore).").into());
        }
        let (now, change) = look(self, &mut instance).await?;
        if let Some(now) = &now
            && !(now.primary_server.eq_ignore_ascii_case(&self.primary_server)
                && now.primary_database.eq_ignore_ascii_case(&self.primary_database))
        {
            let message = format!(
                "{}: {database} is a log shipping secondary of {} on {}",
                instance.label(),
                now.primary_database,
                now.primary_server
            );
            return Err(Fault::new(
                "BTN-0679",
                message,
                "Remove that first (mssql.log_shipping.remove): it keeps what it knew.",
            )
            .into());
        }
        let (copy_job, restore_job) = (
            format!("LSCopy_{}_{}", self.primary_server, self.primary_database),
            format!("LSRestore_{}_{}", self.primary_server, self.primary_database),
        );
        if change.is_some() {
            let primary = format!(
                "EXEC master.dbo.sp_add_log_shipping_secondary_primary @primary_server = {}, @primary_database = {}, \
                 @backup_source_directory = {}, @backup_destination_directory = {}, @copy_job_name = {}, @restore_job_name = {}, \
                 @file_retention_period = {}, @overwrite = 1",
                literal(&self.primary_server),
                literal(&self.primary_database),
                literal(&self.source),
                literal(&self.destination),
                literal(&copy_job),
                literal(&restore_job),
                job::minutes(self.retention),
            );
            instance.batch(&primary).await.map_err(|error| job::failure(&error))?;
            let secondary = format!(
                "EXEC master.dbo.sp_add_log_shipping_secondary_database @secondary_database = {}, @primary_server = {}, \
                 @primary_database = {}, @restore_delay = 0, @restore_mode = 0, @disconnect_users = 0, @restore_threshold = 45, \
                 @threshold_alert_enabled = 1, @history_retention_period = 5760, @overwrite = 1",
                literal(database),
                literal(&self.primary_server),
                literal(&self.primary_database),
            );
            instance.batch(&secondary).await.map_err(|error| job::failure(&error))?;
            job::schedule(&mut instance, &copy_job, self.every).await?;
            job::schedule(&mut instance, &restore_job, self.every).await?;
        }
        let summary = format!(
            "{database} is shipped from {} on {}, every {}",
            self.primary_database, self.primary_server, self.every
        );
        Ok(Effect { summary, data: json!({ "copy_job": copy_job, "restore_job": restore_job }), changed: None })
    }

    /// The procedures overwrite their own entries.
    fn repeatable(&self) -> bool {
        true
    }
}
