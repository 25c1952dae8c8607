//! From a wish to a run: plan, show, ask, start what was shown, watch. What `switchover`, `failover` and `run` share.
//!
//! Apart because a run must never start in any other way: the digest of what was shown goes with the order to start.

use baton_model::{
    ids::{GroupName, RunId},
    plan::Kind,
    view::PlanView,
};
use baton_proto::v1::{PlanRequest, StartRequest};
use clap::Args;
use serde_json::json;

use super::{Session, watch, wish::Wish};
use crate::{
    arguments::Format,
    client::Client,
    exit::Exit,
    failure::{Failure, code},
    output::{plan, text},
    terminal,
};

#[derive(Debug, Clone, Args)]
pub struct Start {
    #[command(flatten)]
    wish: Wish,
    /// Do not ask before starting
    #[arg(short, long)]
    yes: bool,
    /// Do not watch the run; print its name and return
    #[arg(short, long)]
    detach: bool,
}

/// Which kinds of runbook a word may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Switchover,
    Failover,
    Run,
}

impl Start {
    pub async fn perform(
        &self,
        session: &Session,
        word: Word,
        group: &GroupName,
        runbook: &str,
    ) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        let request = self.wish.request(group, runbook);
        let view = client.plan(request.clone()).await?;
        check_word(word, &view)?;
        // With JSON, stdout has the run, and a program needs no picture of the plan.
        if session.format == Format::Table || !self.yes {
            session.talk(plan::render(&view, &session.talk_look))?;
        }
        if !self.yes {
            confirm(&view)?;
        }
        let run = start(&mut client, request, &view).await?;
        if self.detach {
            session.data(&json!({"run": run}), || format!("{run}\n"))?;
            session.talk(format!("{run} runs. Watch it with \"baton watch {run}\"."))?;
            return Ok(Exit::Done);
        }
        watch::follow(session, &mut client, &run).await
    }
}

async fn start(client: &mut Client, mut request: PlanRequest, view: &PlanView) -> Result<RunId, Failure> {
    request.observe = false;
    let request = StartRequest {
        request_id: client.request_id(),
        plan: Some(request),
        digest: view.digest.0.clone(),
        shown: serde_json::to_vec(&view.plan).expect("a plan has string keys").into(),
        ..StartRequest::default()
    };
    client.start(request).await
}

/// Nothing planned can turn into force, and nothing forced goes by a planned word.
fn check_word(word: Word, view: &PlanView) -> Result<(), Failure> {
    let (group, runbook, kind) = (&view.plan.group, &view.plan.runbook, view.plan.kind);
    let refused = |message: String, remedy: String| Err(Failure::new(Exit::Refused, code::WRONG_WORD, message, remedy));
    match (word, kind) {
        (Word::Switchover, Kind::Forced) => refused(
            format!("runbook {runbook} of {group} is forced: data may be lost, and a switchover loses none."),
            format!("If the old side is lost, use \"baton failover {group}\"."),
        ),
        (Word::Failover, Kind::Planned | Kind::Maintenance) => refused(
            format!("runbook {runbook} of {group} is not forced: it needs the old side alive."),
            format!(
                "Use \"baton switchover {group}\", or write \"kind: forced\" into the runbook that failover is to run."
            ),
        ),
        (Word::Switchover, Kind::Planned | Kind::Maintenance) | (Word::Failover, Kind::Forced) | (Word::Run, _) => {
            Ok(())
        }
    }
}

/// Asks, naming the consequence.
fn confirm(view: &PlanView) -> Result<(), Failure> {
    let again = "Nothing was started. Give --yes where nobody can answer.";
    let refused = |message: &str| Err(Failure::new(Exit::Refused, code::NOT_CONFIRMED, message, again));
    if !terminal::can_ask() {
        return refused(&format!(
            "starting this wants a confirmation, and there is no terminal to ask on: {}",
            view.consequence
        ));
    }
    let consequence = text::one_line(&view.consequence);
    let answer = terminal::ask(&format!("{consequence}\nType yes to start it: "))?;
    if answer == "yes" { Ok(()) } else { refused("not confirmed.") }
}
