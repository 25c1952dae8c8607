//! `mssql.log_shipping.primary`: the database's log is backed up for shipping.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingPrimary,
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::super::{copy_of::existing, instance::Instance};
use super::job;
use crate::{
    action::{Context, Effect, Failure, Perform, sql::sqlserver::fault},
    host::sqlserver::{Row, text::literal},
};

/// What it is now; none where it is no primary.
async fn now(instance: &mut Instance<'_>, database: &str) -> Result<Option<Row>, Fault> {
    const SQL: &str = "SELECT p.backup_directory, p.backup_share, p.backup_retention_period, j.name AS job, j.enabled \
                       FROM msdb.dbo.log_shipping_primary_databases p LEFT JOIN msdb.dbo.sysjobs j ON j.job_id = p.backup_job_id \
                       WHERE p.primary_database = @P1";
    Ok(instance.rows(SQL, &[database.into()]).await?.into_iter().next())
}

fn differs(wished: &LogShippingPrimary, now: Option<&Row>) -> Option<String> {
    let Some(row) = now else {
        return Some(format!(
            "make {} a log shipping primary: its log is backed up every {} to {} ({}), and kept for {}",
            wished.database, wished.every, wished.backup_directory, wished.backup_share, wished.retention
        ));
    };
    let minutes = job::minutes(wished.retention);
    let mut changes = Vec::new();
    for (what, is, to_be) in [
        ("backup directory", row.text("backup_directory"), wished.backup_directory.clone()),
        ("share", row.text("backup_share"), wished.backup_share.clone()),
        ("minutes of retention", row.text("backup_retention_period"), minutes.to_string()),
    ] {
        let is = is.unwrap_or_default();
        if !is.eq_ignore_ascii_case(&to_be) {
            changes.push(format!("{what} {to_be} instead of {is}"));
        }
    }
    if row.flag("enabled") != Some(true) {
        changes.push("its backup job enabled".to_owned());
    }
    (!changes.is_empty()).then(|| format!("{}: {}", wished.database, changes.join(", ")))
}

#[async_trait]
impl Perform for LogShippingPrimary {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let now = now(&mut instance, &self.database).await?;
        Ok(match differs(self, now.as_ref()) {
            Some(change) => Observation::Differs { change },
            None => Observation::InPlace {
                note: format!("{} is shipped from {} to {}", self.database, instance.label(), self.backup_share),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let database = &self.database;
        let copy = existing(&mut instance, database).await?;
        if !copy.is_open() {
            let message = format!(
                "{}: {database} is {}, and only an online database can be shipped",
                instance.label(),
                copy.words()
            );
            return Err(Fault::new("BTN-0678", message, "Bring it online first, or name another database.").into());
        }
        let job = format!("LSBackup_{database}");
        if differs(self, now(&mut instance, database).await?.as_ref()).is_some() {
            let add = format!(
                "EXEC master.dbo.sp_add_log_shipping_primary_database @database = {}, @backup_directory = {}, @backup_share = {}, \
                 @backup_job_name = {}, @backup_retention_period = {}, @backup_threshold = 60, @threshold_alert_enabled = 1, \
                 @history_retention_period = 5760, @overwrite = 1",
                literal(database),
                literal(&self.backup_directory),
                literal(&self.backup_share),
                literal(&job),
                job::minutes(self.retention),
            );
            instance.batch(&add).await.map_err(|error| job::failure(&error))?;
            job::schedule(&mut instance, &job, self.every).await?;
        }
        if let Some((server, secondary)) =
            self.secondary_server.as_ref().map(|server| (server, self.secondary_database.as_ref().unwrap_or(database)))
        {
            const SQL: &str = "SELECT s.secondary_server FROM msdb.dbo.log_shipping_primary_secondaries s \
                               JOIN msdb.dbo.log_shipping_primary_databases p ON p.primary_id = s.primary_id \
                               WHERE p.primary_database = @P1 AND s.secondary_server = @P2 AND s.secondary_database = @P3";
            let known = [database.as_str().into(), server.as_str().into(), secondary.as_str().into()];
            if instance.rows(SQL, &known).await?.is_empty() {
                let add = format!(
                    "EXEC master.dbo.sp_add_log_shipping_primary_secondary @primary_database = {}, @secondary_server = {}, @secondary_database = {}",
                    literal(database),
                    literal(server),
                    literal(secondary)
                );
                instance.batch(&add).await.map_err(|error| Failure::Failed(fault(&error)))?;
            }
        }
        let summary =
            format!("{database} is shipped from {}: every {} to {}", instance.label(), self.every, self.backup_share);
        Ok(Effect { summary, data: json!({ "job": job }), changed: None })
    }

    /// The procedure overwrites its own entry.
    fn repeatable(&self) -> bool {
        true
    }
}
