//! `mssql.log_shipping.primary`: the database's log is backed up for shipping.
//!
//! Stage by stage (entry, job, the secondary's name), each looked at first: a crash between two of them is no reason to begin
//! anew. An entry that is there and otherwise is never overwritten.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingPrimary,
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::{
    super::{copy_of::existing, instance::Instance},
    job::{self, Job},
};
use crate::{
    action::{Context, Effect, Failure, Perform},
    host::sqlserver::{Row, text::literal},
};

/// How it is now.
struct Now {
    entry: Option<Row>,
    jobs: Vec<Job>,
    lists_secondary: bool,
}

async fn now(wished: &LogShippingPrimary, instance: &mut Instance<'_>) -> Result<Now, Fault> {
    const ENTRY: &str = "SELECT backup_directory, backup_share, backup_retention_period \
                         FROM msdb.dbo.log_shipping_primary_databases WHERE primary_database = @P1";
    const JOB: &str =
        "SELECT backup_job_id AS job_id FROM msdb.dbo.log_shipping_primary_databases WHERE primary_database = @P1";
    const LISTED: &str = "SELECT s.secondary_server FROM msdb.dbo.log_shipping_primary_secondaries s \
                          JOIN msdb.dbo.log_shipping_primary_databases p ON p.primary_id = s.primary_id \
                          WHERE p.primary_database = @P1 AND s.secondary_server = @P2 AND s.secondary_database = @P3";
    let database = wished.database.as_str();
    let entry = instance.rows(ENTRY, &[database.into()]).await?.into_iter().next();
    let jobs = job::jobs(instance, JOB, &[database.into()]).await?;
    let lists_secondary = match secondary(wished) {
        Some((server, name)) => {
            !instance.rows(LISTED, &[database.into(), server.into(), name.into()]).await?.is_empty()
        }
        None => true,
    };
    Ok(Now { entry, jobs, lists_secondary })
}

fn secondary(wished: &LogShippingPrimary) -> Option<(&str, &str)> {
    let server = wished.secondary_server.as_deref()?;
    Some((server, wished.secondary_database.as_deref().unwrap_or(&wished.database)))
}

/// What the entry says and should not.
fn differs(wished: &LogShippingPrimary, entry: &Row) -> Vec<String> {
    let pairs = [
        ("backup directory", entry.text("backup_directory"), wished.backup_directory.clone()),
        ("share", entry.text("backup_share"), wished.backup_share.clone()),
        ("minutes of retention", entry.text("backup_retention_period"), job::minutes(wished.retention).to_string()),
    ];
    let other = |(what, is, to_be): &(&str, Option<String>, String)| {
        let is = is.clone().unwrap_or_default();
        (!is.eq_ignore_ascii_case(to_be)).then(|| format!("{what} {to_be} instead of {is}"))
    };
    pairs.iter().filter_map(other).collect()
}

#[async_trait]
impl Perform for LogShippingPrimary {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let now = now(self, &mut instance).await?;
        let Some(entry) = &now.entry else {
            return Ok(Observation::Differs {
                change: format!(
                    "make {} a log shipping primary: its log is backed up every {} to {} ({}), and kept for {}",
                    self.database, self.every, self.backup_directory, self.backup_share, self.retention
                ),
            });
        };
        let changes = differs(self, entry);
        Ok(match () {
            () if !changes.is_empty() => Observation::Differs {
                change: format!(
                    "it will be refused: {}",
                    job::otherwise(&instance.label(), &self.database, &changes).message
                ),
            },
            () if now.jobs.is_empty() || !now.jobs.iter().all(Job::runs) => {
                Observation::Differs { change: format!("{}: schedule and enable its backup job", self.database) }
            }
            () if !now.lists_secondary => {
                Observation::Differs { change: format!("{}: list its secondary", self.database) }
            }
            () => Observation::InPlace {
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
        let before = now(self, &mut instance).await?;
        match &before.entry {
            Some(entry) => {
                let changes = differs(self, entry);
                if !changes.is_empty() {
                    return Err(job::otherwise(&instance.label(), database, &changes).into());
                }
            }
            None => {
                let add = format!(
                    "EXEC master.dbo.sp_add_log_shipping_primary_database @database = {}, @backup_directory = {}, \
                     @backup_share = {}, @backup_job_name = {}, @backup_retention_period = {}, @backup_threshold = 60, \
                     @threshold_alert_enabled = 1, @history_retention_period = 5760",
                    literal(database),
                    literal(&self.backup_directory),
                    literal(&self.backup_share),
                    literal(&format!("LSBackup_{database}")),
                    job::minutes(self.retention),
                );
                instance.batch(&add).await.map_err(|error| job::failure(&error))?;
            }
        }
        let jobs = now(self, &mut instance).await?.jobs;
        for one in &jobs {
            job::schedule(&mut instance, one, self.every).await?;
        }
        if let Some((server, name)) = secondary(self).filter(|_| !before.lists_secondary) {
            let add = format!(
                "EXEC master.dbo.sp_add_log_shipping_primary_secondary @primary_database = {}, @secondary_server = {}, \
                 @secondary_database = {}",
                literal(database),
                literal(server),
                literal(name)
            );
            instance.batch(&add).await.map_err(|error| job::failure(&error))?;
        }
        let summary =
            format!("{database} is shipped from {}: every {} to {}", instance.label(), self.every, self.backup_share);
        let changed = before.entry.is_none() || !before.lists_secondary || !before.jobs.iter().all(Job::runs);
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        Ok(Effect { summary, data: json!({ "jobs": names }), changed: Some(changed) })
    }

    /// What is there is not added again.
    fn repeatable(&self) -> bool {
        true
    }
}
