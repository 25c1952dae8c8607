//! An operator's word on a run: resume, retry, skip, abort, confirm, approve, override.
//!
//! One file, because they differ in the verb alone; what a word may do is the coordinators' matter.

use baton_model::{
    ids::{HostName, RunId},
    view::RunView,
};
use baton_proto::v1::ActRequest;
use clap::Args;

use super::{Session, watch};
use crate::{
    exit::Exit,
    failure::Failure,
    output::tree::{self, Frame},
};

/// Which run, and why.
#[derive(Debug, Args)]
pub struct OnRun {
    /// As in pom-17
    run: RunId,
    /// Why, for the record
    #[arg(short, long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Watch the run afterwards
    #[arg(short, long)]
    watch: bool,
}

/// And which step.
#[derive(Debug, Args)]
pub struct OnStep {
    #[command(flatten)]
    on: OnRun,
    /// As in 4 or 5[edb]; may be left out where only one step is meant
    step: Option<String>,
}

/// And which of its hosts.
#[derive(Debug, Args)]
pub struct OnTask {
    #[command(flatten)]
    on: OnStep,
    /// One host of the step only
    #[arg(long)]
    host: Option<HostName>,
}

/// Go on with a halted run, where nothing holds it up any more
#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    on: OnRun,
}

/// Perform once more what failed or is unknown in a halted run
#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    on: OnTask,
}

/// Go on with a halted run as if what holds it up were done
#[derive(Debug, Args)]
pub struct Skip {
    #[command(flatten)]
    on: OnTask,
}

/// End a run: before the role has moved, what was done is undone
#[derive(Debug, Args)]
pub struct Abort {
    #[command(flatten)]
    on: OnRun,
}

/// Say that what a step asks is so
#[derive(Debug, Args)]
pub struct Confirm {
    #[command(flatten)]
    on: OnStep,
}

/// Approve a step, as a second person
#[derive(Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    on: OnStep,
}

/// Override a guard of a run that has begun: for this run, on the record
#[derive(Debug, Args)]
pub struct Override {
    #[command(flatten)]
    on: OnRun,
    /// As in window: what waits for a maintenance window begins now
    guard: String,
}

impl Override {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say_more(session, ActRequest { guard: self.guard.clone(), ..self.on.request("override") }).await
    }
}

impl Resume {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say(session, "resume", "", "").await
    }
}

impl Retry {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say(session, "retry").await
    }
}

impl Skip {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say(session, "skip").await
    }
}

impl Abort {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say(session, "abort", "", "").await
    }
}

impl Confirm {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say(session, "confirm", "").await
    }
}

impl Approve {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.on.say(session, "approve", "").await
    }
}

impl OnTask {
    async fn say(&self, session: &Session, verb: &str) -> Result<Exit, Failure> {
        self.on.say(session, verb, self.host.as_ref().map(HostName::as_str).unwrap_or_default()).await
    }
}

impl OnStep {
    async fn say(&self, session: &Session, verb: &str, host: &str) -> Result<Exit, Failure> {
        self.on.say(session, verb, self.step.as_deref().unwrap_or_default(), host).await
    }
}

impl OnRun {
    async fn say(&self, session: &Session, verb: &str, step: &str, host: &str) -> Result<Exit, Failure> {
        let request = ActRequest { step: step.to_owned(), host: host.to_owned(), ..self.request(verb) };
        self.say_more(session, request).await
    }

    fn request(&self, verb: &str) -> ActRequest {
        ActRequest {
            run: self.run.to_string(),
            verb: verb.to_owned(),
            reason: self.reason.clone(),
            ..ActRequest::default()
        }
    }

    async fn say_more(&self, session: &Session, request: ActRequest) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        let request = ActRequest { request_id: client.request_id(), ..request };
        let view: RunView = client.act(request).await?;
        if self.watch {
            return watch::follow(session, &mut client, &self.run).await;
        }
        let frame = Frame { view: &view, now: view.now, height: None, notice: None };
        session.data(&view, || tree::render(&frame, &session.look))?;
        if !view.summary.over {
            session.talk(format!("Watch it with \"baton watch {}\".", self.run))?;
        }
        Ok(Exit::Done)
    }
}
