//! Log shipping's jobs: the procedures make them disabled and without a schedule.

use baton_model::time::Span;

use super::super::instance::Instance;
use crate::{
    action::{Failure, sql::sqlserver::fault},
    host::sqlserver::{Error, text::literal},
};

/// A job that runs every so often, from now on. A schedule that it has already stays.
pub async fn schedule(instance: &mut Instance<'_>, job: &str, every: Span) -> Result<(), Failure> {
    const HAS_ONE: &str = "SELECT s.schedule_id FROM msdb.dbo.sysjobschedules s JOIN msdb.dbo.sysjobs j ON j.job_id = s.job_id WHERE j.name = @P1";
    if instance.rows(HAS_ONE, &[job.into()]).await?.is_empty() {
        // Daily, and within the day every so many minutes.
        let add = format!(
            "EXEC msdb.dbo.sp_add_jobschedule @job_name = {}, @name = {}, @enabled = 1, @freq_type = 4, @freq_interval = 1, \
             @freq_subday_type = 4, @freq_subday_interval = {}",
            literal(job),
            literal(&format!("{job} every {every}")),
            minutes(every)
        );
        instance.batch(&add).await.map_err(|error| failure(&error))?;
    }
    let enable = format!("EXEC msdb.dbo.sp_update_job @job_name = {}, @enabled = 1", literal(job));
    instance.batch(&enable).await.map_err(|error| failure(&error))
}

/// At least one: what log shipping counts in.
pub fn minutes(span: Span) -> i64 {
    i64::try_from(span.as_millis() / 60_000).unwrap_or(i64::MAX).max(1)
}

pub fn failure(error: &Error) -> Failure {
    if error.is_uncertain() { Failure::Unclear(fault(error)) } else { Failure::Failed(fault(error)) }
}
