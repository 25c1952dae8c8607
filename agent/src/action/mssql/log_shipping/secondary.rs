//! `mssql.log_shipping.secondary`: a database that is being restored is shipped to.
//!
//! Stage by stage (the source, the database, both jobs), each looked at first. What is there and otherwise is never overwritten.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingSecondary,
    outcome::{Fault, Observation},
};
use serde_json::json;

use super::{
    super::{copy_of::existing, instance::Instance},
    job::{self, Job},
    record::{self, Record},
};
use crate::{
    action::{Context, Effect, Failure, Perform},
    host::sqlserver::{Row, text::literal},
};

/// How it is now.
struct Now {
    /// The source, which may be there without the database.
    source: Option<Row>,
    record: Option<Record>,
    jobs: Vec<Job>,
}

impl Now {
    fn complete(&self) -> bool {
        self.source.is_some() && self.record.is_some() && self.jobs.len() >= 2 && self.jobs.iter().all(Job::runs)
    }
}

async fn now(wished: &LogShippingSecondary, instance: &mut Instance<'_>) -> Result<Now, Fault> {
    const SOURCE: &str = "SELECT backup_source_directory, backup_destination_directory, file_retention_period \
                          FROM msdb.dbo.log_shipping_secondary WHERE primary_server = @P1 AND primary_database = @P2";
    const JOBS: &str = "SELECT copy_job_id AS job_id FROM msdb.dbo.log_shipping_secondary \
                        WHERE primary_server = @P1 AND primary_database = @P2 \
                        UNION ALL SELECT restore_job_id AS job_id FROM msdb.dbo.log_shipping_secondary \
                        WHERE primary_server = @P1 AND primary_database = @P2";
    let primary = [wished.primary_server.as_str().into(), wished.primary_database.as_str().into()];
    let source = instance.rows(SOURCE, &primary).await?.into_iter().next();
    let record = record::read(instance, &wished.database).await?;
    let jobs = job::jobs(instance, JOBS, &primary).await?;
    Ok(Now { source, record, jobs })
}

/// What is set up and should not be.
fn differs(wished: &LogShippingSecondary, now: &Now) -> Vec<String> {
    let mut changes = Vec::new();
    let mut compare = |what: &str, is: &str, to_be: &str| {
        if !is.eq_ignore_ascii_case(to_be) {
            changes.push(format!("{what} {to_be} instead of {is}"));
        }
    };
    if let Some(record) = &now.record {
        compare("primary", &record.primary_server, &wished.primary_server);
        compare("primary database", &record.primary_database, &wished.primary_database);
    }
    if let Some(source) = &now.source {
        let text = |column: &str| source.text(column).unwrap_or_default();
        compare("source", &text("backup_source_directory"), &wished.source);
        compare("destination", &text("backup_destination_directory"), &wished.destination);
        compare("minutes of retention", &text("file_retention_period"), &job::minutes(wished.retention).to_string());
    }
    changes
}

#[async_trait]
impl Perform for LogShippingSecondary {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let now = now(self, &mut instance).await?;
        let changes = differs(self, &now);
        Ok(match () {
            () if !changes.is_empty() => Observation::Differs {
                change: format!(
                    "it will be refused: {}",
                    job::otherwise(&instance.label(), &self.database, &changes).message
                ),
            },
            () if now.complete() => Observation::InPlace {
                note: format!("{} is shipped from {} to {}", self.database, self.primary_server, instance.label()),
            },
            () => Observation::Differs {
                change: format!(
                    "make {} a log shipping secondary of {} on {}: files come every {} from {} to {}",
                    self.database,
                    self.primary_database,
                    self.primary_server,
                    self.every,
                    self.source,
                    self.destination
                ),
            },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.connection, context).await?;
        let database = &self.database;
        let before = now(self, &mut instance).await?;
        let changes = differs(self, &before);
        if !changes.is_empty() {
            return Err(job::otherwise(&instance.label(), database, &changes).into());
        }
        let copy = existing(&mut instance, database).await?;
        if !copy.takes_logs() {
            let message = format!("{}: {database} is {} and takes no log", instance.label(), copy.words());
            return Err(Fault::new("BTN-0678", message, "Restore it without recovery first (mssql.restore).").into());
        }
        let primary = format!("{}_{}", self.primary_server, self.primary_database);
        if before.source.is_none() {
            let add = format!(
                "EXEC master.dbo.sp_add_log_shipping_secondary_primary @primary_server = {}, @primary_database = {}, \
                 @backup_source_directory = {}, @backup_destination_directory = {}, @copy_job_name = {}, @restore_job_name = {}, \
                 @file_retention_period = {}",
                literal(&self.primary_server),
                literal(&self.primary_database),
                literal(&self.source),
                literal(&self.destination),
                literal(&format!("LSCopy_{primary}")),
                literal(&format!("LSRestore_{primary}")),
                job::minutes(self.retention),
            );
            instance.batch(&add).await.map_err(|error| job::failure(&error))?;
        }
        if before.record.is_none() {
            let add = format!(
                "EXEC master.dbo.sp_add_log_shipping_secondary_database @secondary_database = {}, @primary_server = {}, \
                 @primary_database = {}, @restore_delay = 0, @restore_mode = 0, @disconnect_users = 0, @restore_threshold = 45, \
                 @threshold_alert_enabled = 1, @history_retention_period = 5760",
                literal(database),
                literal(&self.primary_server),
                literal(&self.primary_database),
            );
            instance.batch(&add).await.map_err(|error| job::failure(&error))?;
        }
        let jobs = now(self, &mut instance).await?.jobs;
        for one in &jobs {
            job::schedule(&mut instance, one, self.every).await?;
        }
        let summary = format!(
            "{database} is shipped from {} on {}, every {}",
            self.primary_database, self.primary_server, self.every
        );
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        Ok(Effect { summary, data: json!({ "jobs": names }), changed: Some(!before.complete()) })
    }

    /// What is there is not added again.
    fn repeatable(&self) -> bool {
        true
    }
}
