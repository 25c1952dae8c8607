//! `baton lost-rows`: which rows the old primary had and the new one never got.
//!
//! They are found when the old primary is back (its log is the only witness), so a failover's list is in a later run.

use baton_model::{
    ids::RunId,
    plan::Kind,
    view::{RunSummary, RunView, TaskView},
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Session, task_output};
use crate::{
    arguments::Format,
    client::Client,
    exit::Exit,
    failure::{Failure, code},
    output::{lost_rows, text},
    terminal::Stream,
};

/// The action that lists them.
const ACTION: &str = "slony.lost_rows";

/// List the rows that a failover lost, as far as the old primary has told
#[derive(Debug, Args)]
pub struct LostRows {
    /// The failover, or the run in which the old primary came back
    run: RunId,
    #[arg(long, value_enum, default_value_t)]
    format: As,
    /// One database only
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum As {
    #[default]
    Table,
    /// Statements that bring the rows back, to be read before they are run
    Sql,
    Csv,
}

/// Where a list is.
struct Found {
    run: RunId,
    step: String,
    task: TaskView,
}

impl LostRows {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        let found = self.find(&mut client).await?;
        let databases = self.databases(&found)?;
        let whence = format!("as step {} of {} found on {}", found.step, found.run, found.task.host);
        if self.format == As::Sql {
            session.talk(format!("{} {whence}", databases.join(", ")))?;
            for database in &databases {
                let sql = fetch(&mut client, &found, &format!("lost-rows-{database}.sql")).await?;
                Stream::Stdout.write(format!("-- database {database}, {whence}\n").as_bytes())?;
                Stream::Stdout.write(sql.as_bytes())?;
            }
            return Ok(Exit::Done);
        }
        let mut all = Vec::new();
        for database in &databases {
            let csv = fetch(&mut client, &found, &format!("lost-rows-{database}.csv")).await?;
            all.push(lost_rows::LostRows::read(database, &csv));
        }
        match (session.format, self.format) {
            (Format::Json, _) => session.json(&as_document(&found, &all))?,
            (Format::Table, As::Csv) => Stream::Stdout.write(lost_rows::csv(&all).as_bytes())?,
            (Format::Table, As::Table | As::Sql) => {
                Stream::Stdout.write(lost_rows::tables(&all, &session.look).as_bytes())?;
                let rows = all.iter().map(|lost| lost.rows.len()).sum();
                session.talk(format!("{} in all, {whence}", text::count(rows, "row")))?;
            }
        }
        Ok(Exit::Done)
    }

    /// The newest list of this run; where it is a failover without one, of the runs after it and before the next failover.
    async fn find(&self, client: &mut Client) -> Result<Found, Failure> {
        let view: RunView = client.get("run", &self.run.to_string()).await?;
        if let Some(found) = in_run(&view) {
            return Ok(found);
        }
        let mut looked_at = vec![self.run.to_string()];
        if view.summary.kind == Kind::Forced {
            let mut runs: Vec<RunSummary> = client.list("runs", self.run.group.as_str()).await?;
            runs.retain(|run| run.id.number > self.run.number);
            runs.sort_by_key(|run| run.id.number);
            let until_next_failover = runs.iter().position(|run| run.kind == Kind::Forced).unwrap_or(runs.len());
            for run in runs[..until_next_failover].iter().rev() {
                let view: RunView = client.get("run", &run.id.to_string()).await?;
                if let Some(found) = in_run(&view) {
                    return Ok(found);
                }
                looked_at.push(run.id.to_string());
            }
        }
        Err(Failure::new(
            Exit::NotFound,
            code::NO_LOST_ROWS,
            format!("no list of lost rows in {}.", looked_at.join(", ")),
            "It is made when the old primary is back, before anything is dropped there: by the group's rejoin runbook.",
        ))
    }

    fn databases(&self, found: &Found) -> Result<Vec<String>, Failure> {
        let names = found.task.attachments.iter().filter_map(|file| database_of(&file.name));
        let known: Vec<String> = names.map(str::to_owned).collect();
        match &self.database {
            None => Ok(known),
            Some(wanted) if known.contains(wanted) => Ok(vec![wanted.clone()]),
            Some(wanted) => Err(Failure::new(
                Exit::NotFound,
                code::NO_LOST_ROWS,
                format!("{} has no list of database {wanted}.", found.run),
                format!("There is: {}.", known.join(", ")),
            )),
        }
    }
}

fn database_of(file: &str) -> Option<&str> {
    file.strip_prefix("lost-rows-")?.strip_suffix(".csv")
}

fn in_run(view: &RunView) -> Option<Found> {
    let mut tasks = view.steps.iter().flat_map(|step| step.tasks.iter().map(move |task| (step, task)));
    let lists = |task: &TaskView| {
        task.action == ACTION && task.attachments.iter().any(|file| database_of(&file.name).is_some())
    };
    let (step, task) = tasks.rfind(|(_, task)| lists(task))?;
    Some(Found { run: view.summary.id.clone(), step: step.id.0.clone(), task: task.clone() })
}

async fn fetch(client: &mut Client, found: &Found, name: &str) -> Result<String, Failure> {
    let content = task_output::fetch(client, &found.run, &found.step, &found.task, name).await?;
    String::from_utf8(content).map_err(|error| {
        let message = format!("{name} on {} is not text: {error}.", found.task.host);
        Failure::new(Exit::Failed, code::DAMAGED, message, "Look at the file on the host.")
    })
}

fn as_document(found: &Found, all: &[lost_rows::LostRows]) -> Value {
    let database = |lost: &lost_rows::LostRows| {
        let row = |row: &Vec<String>| -> Value {
            lost.columns
                .iter()
                .cloned()
                .zip(row.iter().cloned().map(Value::from))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "database": lost.database,
            "count": lost.rows.len(),
            "rows": lost.rows.iter().map(row).collect::<Vec<_>>(),
        })
    };
    json!({
        "run": found.run,
        "step": found.step,
        "host": found.task.host,
        "count": all.iter().map(|lost| lost.rows.len()).sum::<usize>(),
        "databases": all.iter().map(database).collect::<Vec<_>>(),
    })
}
