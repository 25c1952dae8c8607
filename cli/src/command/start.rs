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

use super::{
    Session,
    acceptance::{self, Consent},
    watch,
    wish::Wish,
};
use crate::{
    arguments::Format,
    client::{Client, Started},
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
    /// Accept, for this one run, that data may be lost; the group's name is then asked for, or given here. --yes is no
    /// acceptance
    #[arg(long, value_name = "GROUP", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    accept_data_loss: Option<String>,
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
        let mut request = self.wish.request(group, runbook);
        request.accept_data_loss = self.accept_data_loss.is_some();
        let run = loop {
            let view = client.plan(request.clone()).await?;
            check_word(word, &view)?;
            // With JSON, stdout has the run, and a program needs no picture of the plan.
            if session.format == Format::Table || !self.yes {
                session.talk(plan::render(&view, &session.talk_look))?;
            }
            let consent = acceptance::of(&view, self.accept_data_loss.as_deref())?;
            // Who typed the group's name has read what starts.
            if !self.yes && !matches!(consent, Consent::Typed(_)) {
                confirm(&view)?;
            }
            match start(&mut client, request.clone(), &view, consent.word()).await {
                // Meanwhile more would be lost: shown, and asked again, as long as somebody answers.
                Err(failure) if failure.fault.code == code::WORSE_BILL && matches!(consent, Consent::Typed(_)) => {
                    session.talk(failure.fault.to_string())?;
                }
                started => break self.told(session, started?)?,
            }
        };
        if self.detach {
            session.data(&json!({"run": run}), || format!("{run}\n"))?;
            session.talk(format!("{run} runs. Watch it with \"baton watch {run}\"."))?;
            return Ok(Exit::Done);
        }
        watch::follow(session, &mut client, &run).await
    }

    /// The bill with which it started: what was shown may be minutes old.
    fn told(&self, session: &Session, started: Started) -> Result<RunId, Failure> {
        if let Some(bill) = started.bill {
            session.talk(format!("{} starts with the loss accepted: {}.", started.run, bill.verdict()))?;
        }
        Ok(started.run)
    }
}

async fn start(
    client: &mut Client,
    mut request: PlanRequest,
    view: &PlanView,
    accepted: &str,
) -> Result<Started, Failure> {
    request.observe = false;
    let request = StartRequest {
        request_id: client.request_id(),
        plan: Some(request),
        digest: view.digest.0.clone(),
        shown: serde_json::to_vec(&view.plan).expect("a plan has string keys").into(),
        accepted_data_loss: accepted.to_owned(),
        shown_bill: view.bill.as_ref().map(acceptance::as_shown).unwrap_or_default().into(),
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
