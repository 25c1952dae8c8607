//! Log shipping's jobs: the procedures make them disabled and without a schedule.

use baton_model::{outcome::Fault, time::Span};

use super::super::instance::Instance;
use crate::{
    action::{Failure, sql::sqlserver::fault},
    host::sqlserver::{Error, Parameter, text::literal},
};

/// A job, as msdb has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: String,
    pub enabled: bool,
    pub scheduled: bool,
}

impl Job {
    /// It runs by itself.
    pub fn runs(&self) -> bool {
        self.enabled && self.scheduled
    }
}

/// Jobs of a log shipping table, as `source` finds their ids: `SELECT … AS job_id FROM … WHERE …`.
pub async fn jobs(instance: &mut Instance<'_>, source: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Job>, Fault> {
    let sql = format!(
        "SELECT DISTINCT j.name, j.enabled, c.schedule_id FROM ({source}) AS mine JOIN msdb.dbo.sysjobs j ON j.job_id = mine.job_id \
         LEFT JOIN msdb.dbo.sysjobschedules c ON c.job_id = j.job_id ORDER BY j.name, c.schedule_id"
    );
    let mut found: Vec<Job> = Vec::new();
    for row in instance.rows(&sql, parameters).await? {
        let name = row.text("name").unwrap_or_default();
        if found.last().is_none_or(|last| last.name != name) {
            let (enabled, scheduled) = (row.flag("enabled") == Some(true), row.int("schedule_id").is_some());
            found.push(Job { name, enabled, scheduled });
        }
    }
    Ok(found)
}

/// It runs every so often from now on. A schedule that it has already stays.
pub async fn schedule(instance: &mut Instance<'_>, job: &Job, every: Span) -> Result<(), Failure> {
    if !job.scheduled {
        // Daily, and within the day every so many minutes.
        let add = format!(
            "EXEC msdb.dbo.sp_add_jobschedule @job_name = {}, @name = {}, @enabled = 1, @freq_type = 4, @freq_interval = 1, \
             @freq_subday_type = 4, @freq_subday_interval = {}",
            literal(&job.name),
            literal(&format!("{} every {every}", job.name)),
            minutes(every)
        );
        instance.batch(&add).await.map_err(|error| failure(&error))?;
    }
    if !job.enabled {
        let enable = format!("EXEC msdb.dbo.sp_update_job @job_name = {}, @enabled = 1", literal(&job.name));
        instance.batch(&enable).await.map_err(|error| failure(&error))?;
    }
    Ok(())
}

/// At least one: what log shipping counts in.
pub fn minutes(span: Span) -> i64 {
    i64::try_from(span.as_millis() / 60_000).unwrap_or(i64::MAX).max(1)
}

pub fn failure(error: &Error) -> Failure {
    if error.is_uncertain() { Failure::Unclear(fault(error)) } else { Failure::Failed(fault(error)) }
}

/// It is set up already, and not as wished: which of the two is right is a person's to say.
pub fn otherwise(label: &str, database: &str, changes: &[String]) -> Fault {
    let message = format!("{label}: log shipping of {database} is set up otherwise; wished: {}", changes.join(", "));
    Fault::new(
        "BTN-0679",
        message,
        "Change or remove what is there first (mssql.log_shipping.remove keeps what it knew), then retry.",
    )
}
