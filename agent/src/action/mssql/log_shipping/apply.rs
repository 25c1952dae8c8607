//! `mssql.log_shipping.apply`: every log backup that is there has been applied, in LSN order.
//!
//! The whole chain is proven before the first RESTORE; a gap ends the task with nothing restored. Where a restore stands is never
//! remembered here: after a crash, an error or a success, msdb is asked for the last applied LSN.

use async_trait::async_trait;
use baton_model::{
    action::mssql::LogShippingApply,
    outcome::{Fault, Observation},
};
use serde_json::{Value, json};

use super::{
    super::{
        chain::{Gap, Header, Lsn, Plan, Standing, Verdict, plan},
        copy_of::{Copy, existing, proven},
        instance::{Instance, Part, at_server},
        restoring,
        sessions::{Ended, end_once},
    },
    directory, left_out_data, left_out_words, listed,
};
use crate::action::{Context, Effect, Failure, Perform};

/// The action of parameters; a fault where they make no sense.
pub fn bind(parameters: &LogShippingApply) -> Result<Box<dyn Perform>, Fault> {
    let until = match parameters.until_lsn.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Some(Lsn::parse(text).ok_or_else(|| {
            Fault::new(
                "BTN-0670",
                format!("until_lsn: {text:?} is no LSN"),
                "Write it as RESTORE HEADERONLY does: digits alone.",
            )
        })?),
        None => None,
    };
    Ok(Box::new(Apply { parameters: parameters.clone(), until }))
}

struct Apply {
    parameters: LogShippingApply,
    until: Option<Lsn>,
}

struct Look {
    copy: Copy,
    standing: Standing,
    plan: Plan,
}

impl Apply {
    fn at_server(&self) -> &str {
        self.parameters.directory_at_server.as_deref().unwrap_or(&self.parameters.directory)
    }

    async fn look(&self, instance: &mut Instance<'_>, context: &Context) -> Result<Look, Fault> {
        let LogShippingApply { database, directory, .. } = &self.parameters;
        let copy = existing(instance, database).await?;
        let standing = proven(instance, database).await?;
        let directory_path = context.policy().check_path(directory)?.to_string_lossy().into_owned();
        let entries = directory::list(&directory_path).await.map_err(|why| {
            let message = format!("the directory {directory} cannot be read: {why}");
            Fault::new("BTN-0672", message, "Correct directory, or let the agent's user read it.")
        })?;
        let files = directory::headers(instance, self.at_server(), &entries, context).await?;
        Ok(Look { copy, plan: plan(&standing, &files, self.until), standing })
    }

    /// What is to be applied; the fault where nothing may be.
    fn verdict(&self, look: &Look, label: &str) -> Result<Vec<Header>, Fault> {
        let database = &self.parameters.database;
        match &look.plan.verdict {
            Verdict::Nothing => Ok(Vec::new()),
            Verdict::Apply(_) if !look.copy.takes_logs() => {
                let message = format!(
                    "{label}: {database} is {} and takes no more log; not applied: {}",
                    look.copy.words(),
                    self.words(look)
                );
                Err(Fault::new(
                    "BTN-0667",
                    message,
                    "It was recovered before all log was applied: restore it again from a full backup.",
                ))
            }
            Verdict::Apply(headers) => Ok(headers.clone()),
            Verdict::Gap(gap) => Err(missing(database, gap)),
            Verdict::Damaged(header) => {
                let message =
                    format!("{database}: {} (LSN {} to {}) is damaged", header.place(), header.first, header.last);
                Err(Fault::new(
                    "BTN-0669",
                    format!("{message}; nothing was restored"),
                    "Copy it again from its source.",
                ))
            }
        }
    }

    fn words(&self, look: &Look) -> String {
        match &look.plan.verdict {
            Verdict::Nothing => format!("nothing beyond LSN {}", look.standing.applied),
            Verdict::Apply(headers) => {
                let (first, last) = (headers.first().expect("not empty"), headers.last().expect("not empty"));
                format!(
                    "{} log backups, {} to {} (LSN {} to {})",
                    headers.len(),
                    first.place(),
                    last.place(),
                    look.standing.applied,
                    last.last
                )
            }
            Verdict::Gap(gap) => format!("a gap: {gap}"),
            Verdict::Damaged(header) => format!("{} is damaged", header.place()),
        }
    }

    fn data(&self, from: Lsn, to: Lsn, applied: &[Header], plan: &Plan) -> Value {
        let one =
            |header: &Header| json!({ "file": header.place(), "first_lsn": header.first, "last_lsn": header.last });
        json!({
            "from_lsn": from, "lsn": to, "applied": listed(applied.iter().map(one).collect()),
            "applied_before": plan.applied_before, "left_out": left_out_data(&plan.left_out),
        })
    }
}

/// LSNs and files on both sides of the gap.
pub fn missing(database: &str, gap: &Gap) -> Fault {
    let message =
        format!("{database}: {gap}. A log backup that includes LSN {} is needed; nothing was restored", gap.needed);
    let remedy = match gap.other_fork() {
        Some(_) => {
            "Find the one that begins in the fork of what is there. Where there is none, begin again with a full backup that is \
             made after the primary has come up for the last time; without a primary, the database can only be brought online \
             without what is behind."
        }
        None => {
            "Find it (the primary's backup directory, the share, tape) and put it in the directory, then retry. Without it the \
             database can only be brought online without what is behind the gap."
        }
    };
    Fault::new("BTN-0668", message, remedy)
}

#[async_trait]
impl Perform for Apply {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let mut instance = Instance::open(&self.parameters.connection, context).await?;
        let look = self.look(&mut instance, context).await?;
        let words = format!("{}{}", self.words(&look), left_out_words(&look.plan.left_out));
        Ok(match (self.verdict(&look, &instance.label()), &look.plan.verdict) {
            (_, Verdict::Nothing) => Observation::InPlace {
                note: format!(
                    "{}: all is applied, to LSN {}{}",
                    self.parameters.database,
                    look.standing.applied,
                    left_out_words(&look.plan.left_out)
                ),
            },
            (Ok(_), _) => Observation::Differs { change: format!("apply {words}") },
            (Err(fault), _) => Observation::Differs { change: format!("nothing can be applied: {}", fault.message) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut instance = Instance::open(&self.parameters.connection, context).await?;
        let look = self.look(&mut instance, context).await?;
        for left in &look.plan.left_out {
            context.output().line(format!("left out: {}: {}", left.place, left.why));
        }
        // From here to the first RESTORE nothing may come that could find a gap.
        let headers = self.verdict(&look, &instance.label())?;
        let database = &self.parameters.database;
        let mut ended = Ended::default();
        if !headers.is_empty() && look.copy.standby {
            end_once(&mut instance, database, &mut ended).await?;
        }
        for (done, header) in headers.iter().enumerate() {
            if context.is_cancelled() {
                let message = format!(
                    "{database}: {done} of {} log backups were applied before the end of the step",
                    headers.len()
                );
                return Err(Failure::Unclear(Fault::new("BTN-0674", message, "Retry goes on from there.")));
            }
            let (path, part) = (at_server(self.at_server(), &header.file), Part { done, all: headers.len() });
            restoring::log(&mut instance, database, &path, header, part, &mut ended).await?;
        }
        let now = proven(&mut instance, database).await?.applied;
        let readers = if ended.count() > 0 { format!("; readers ended: {}", ended.words()) } else { String::new() };
        Ok(Effect {
            summary: format!(
                "{database}: {} log backups were applied, LSN {} to {now}{}{readers}",
                headers.len(),
                look.standing.applied,
                left_out_words(&look.plan.left_out)
            ),
            data: self.data(look.standing.applied, now, &headers, &look.plan),
            changed: Some(!headers.is_empty()),
        })
    }

    async fn found(&self, context: &Context) -> Result<Value, Fault> {
        let mut instance = Instance::open(&self.parameters.connection, context).await?;
        let look = self.look(&mut instance, context).await?;
        Ok(self.data(look.standing.applied, look.standing.applied, &[], &look.plan))
    }

    /// It goes on from the last applied LSN.
    fn repeatable(&self) -> bool {
        true
    }
}
