//! `baton output`: a task's file, from its host.

use baton_model::{
    ids::{HostName, RunId},
    view::{RunView, TaskView},
};
use baton_proto::v1::ReadTaskFileRequest;
use clap::Args;

use super::Session;
use crate::{
    client::Client,
    exit::Exit,
    failure::{Failure, code},
    terminal::Stream,
};

/// What an agent calls the whole output of a task.
const OUTPUT_FILE: &str = "output.txt";

/// Print all output of a task, or another of its files, as it is on the host
#[derive(Debug, Args)]
pub struct TaskOutput {
    /// As in pom-17
    run: RunId,
    /// As in 4 or 5[edb]
    step: String,
    host: HostName,
    /// A file of the task; "baton show" lists them
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
}

impl TaskOutput {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        let view: RunView = client.get("run", &self.run.to_string()).await?;
        let task = self.task_of(&view)?;
        let has = |name: &str| task.attachments.iter().any(|file| file.name == name);
        match &self.file {
            Some(name) if !has(name) => Err(self.no_file(task, name)),
            None if !has(OUTPUT_FILE) => {
                // Short output is in the log as a whole, and has no file.
                Stream::Stdout.write(task.output.head.as_bytes())?;
                if task.output.omitted_bytes > 0 {
                    session
                        .talk(format!("[{} bytes left out, and not kept on the host]", task.output.omitted_bytes))?;
                }
                Stream::Stdout.write(task.output.tail.as_bytes())?;
                Ok(Exit::Done)
            }
            name => {
                let name = name.as_deref().unwrap_or(OUTPUT_FILE);
                let content = fetch(&mut client, &self.run, &self.step, task, name).await?;
                Stream::Stdout.write(&content)?;
                Ok(Exit::Done)
            }
        }
    }

    fn task_of<'a>(&self, view: &'a RunView) -> Result<&'a TaskView, Failure> {
        let absent = |message: String, known: Vec<&str>| {
            let remedy = format!("There is: {}.", if known.is_empty() { "none".to_owned() } else { known.join(", ") });
            Failure::new(Exit::NotFound, code::NO_SUCH_TASK, message, remedy)
        };
        let step = view.steps.iter().find(|step| step.id.0 == self.step).ok_or_else(|| {
            let known = view.steps.iter().map(|step| step.id.0.as_str()).collect();
            absent(format!("{} has no step {}.", self.run, self.step), known)
        })?;
        step.tasks.iter().find(|task| task.host == self.host).ok_or_else(|| {
            let known = step.tasks.iter().map(|task| task.host.as_str()).collect();
            absent(format!("step {} of {} has no task on {}.", self.step, self.run, self.host), known)
        })
    }

    fn no_file(&self, task: &TaskView, name: &str) -> Failure {
        let known: Vec<&str> = task.attachments.iter().map(|file| file.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("step {} of {} on {} has no file {name}.", self.step, self.run, self.host);
        Failure::new(Exit::NotFound, code::NO_SUCH_TASK, message, format!("There is: {known}."))
    }
}

/// One file of a task, held against the digest that is in the log: what is printed is what the task wrote.
pub async fn fetch(
    client: &mut Client,
    run: &RunId,
    step: &str,
    task: &TaskView,
    name: &str,
) -> Result<Vec<u8>, Failure> {
    let request = ReadTaskFileRequest {
        run: run.to_string(),
        step: step.to_owned(),
        host: task.host.to_string(),
        attempt: task.attempt,
        name: name.to_owned(),
    };
    let content = client.read_task_file(request).await?;
    let recorded = task.attachments.iter().find(|file| file.name == name);
    let digest = baton_model::digest::Digest::of_bytes(&content);
    match recorded {
        Some(file) if file.sha256 != digest.0 => Err(Failure::new(
            Exit::Failed,
            code::DAMAGED,
            format!(
                "{name} on {} is not what the task wrote: {} bytes with SHA-256 {}, the record says {} bytes with {}.",
                task.host,
                content.len(),
                digest.short(),
                file.bytes,
                file.sha256.get(..12).unwrap_or(&file.sha256),
            ),
            "Somebody changed the file on the host; do not rely on it.",
        )),
        _ => Ok(content),
    }
}
