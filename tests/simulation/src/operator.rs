//! An operator of the simulation: the command's own client, over the simulated network, and what it was answered.
//!
//! Apart because what was acknowledged is what must not be lost: it is kept here, and nobody else writes it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_cli::{client::Client, failure::Failure};
use baton_model::{
    ids::RunId,
    view::{AppliedView, GroupView, PlanView, RunView, StepWord},
};
use baton_proto::v1::{ActRequest, ApplyRequest, ClusterRequest, PlanRequest, StartRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{ground::Ground, product, story::Story};

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Press {
    Apply,
    Start {
        group: String,
        runbook: String,
    },
    Retry {
        group: String,
    },
    Skip {
        group: String,
    },
    Resume {
        group: String,
    },
    Abort {
        group: String,
    },
    Confirm {
        group: String,
    },
    Auto {
        group: String,
        word: String,
    },
    Override {
        group: String,
        guard: String,
    },
    Lead {
        to: String,
    },
    /// Whatever it takes to have the group without an open run.
    Mend {
        group: String,
    },
}

/// One request, and what came of it.
#[derive(Debug, Clone)]
pub struct Pressed {
    pub who: String,
    pub verb: String,
    pub run: Option<RunId>,
    /// In the reason that went with it: found again in the run's history.
    pub token: String,
    pub sent: u64,
    /// Taken, by the coordinators' word.
    pub taken: bool,
}

/// What all operators did. Clones are the same desk.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Vec<Pressed>>>);

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Vec<Pressed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> Vec<Pressed> {
        self.lock().clone()
    }

    fn begin(&self, pressed: Pressed) -> usize {
        let mut all = self.lock();
        all.push(pressed);
        all.len() - 1
    }

    /// Whether somebody has asked for another attempt in this run, whatever was answered.
    pub fn wanted_again(&self, run: &RunId, from: u64, to: u64) -> bool {
        let all = self.lock();
        let again = all.iter().filter(|pressed| pressed.verb == "retry" && pressed.run.as_ref() == Some(run));
        again.into_iter().any(|pressed| (from..=to).contains(&pressed.sent))
    }
}

pub struct Operator {
    pub name: String,
    pub client: Client,
    pub desk: Desk,
    pub ground: Ground,
    pub story: Story,
    pub presses: mpsc::UnboundedReceiver<Press>,
    pub number: u64,
}

impl Operator {
    pub async fn run(mut self) {
        while let Some(press) = self.presses.recv().await {
            if let Err(failure) = self.press(&press).await {
                self.story.tell(&self.name, format!("is refused {press:?}: {}", failure.fault));
            }
        }
    }

    async fn press(&mut self, press: &Press) -> Result<(), Failure> {
        match press {
            Press::Apply => {
                let request = ApplyRequest {
                    request_id: self.client.request_id(),
                    files: product::files(),
                    reason: "as it is".to_owned(),
                    dry_run: false,
                };
                let applied: AppliedView = self.client.apply(request).await?;
                self.story.tell(&self.name, format!("has applied {} groups", applied.changes.len()));
                Ok(())
            }
            Press::Start { group, runbook } => self.start(group, runbook).await,
            Press::Retry { group } => self.word_of(group, "retry").await,
            Press::Skip { group } => self.word_of(group, "skip").await,
            Press::Resume { group } => self.word_of(group, "resume").await,
            Press::Abort { group } => self.word_of(group, "abort").await,
            Press::Confirm { group } => match self.open_run(group).await? {
                Some(run) => self.confirm(&run).await,
                None => Ok(()),
            },
            Press::Auto { group, word } => {
                let request = ActRequest { group: group.clone(), guard: word.clone(), ..self.request("auto") };
                self.act(request, None).await
            }
            Press::Override { group, guard } => match self.open_run(group).await? {
                Some(run) => {
                    let request = ActRequest { run: run.to_string(), guard: guard.clone(), ..self.request("override") };
                    self.act(request, Some(run)).await
                }
                None => Ok(()),
            },
            Press::Lead { to } => {
                let request = ClusterRequest { verb: "transfer".to_owned(), to: to.clone() };
                let _: Value = self.client.cluster(request).await?;
                Ok(())
            }
            Press::Mend { group } => self.mend(group).await,
        }
    }

    fn token(&mut self) -> String {
        self.number += 1;
        format!("{}{}", self.name, self.number)
    }

    fn request(&mut self, verb: &str) -> ActRequest {
        let reason = self.token();
        ActRequest { request_id: self.client.request_id(), verb: verb.to_owned(), reason, ..ActRequest::default() }
    }

    async fn group(&mut self, group: &str) -> Result<GroupView, Failure> {
        self.client.get("group", group).await
    }

    async fn open_run(&mut self, group: &str) -> Result<Option<RunId>, Failure> {
        Ok(self.group(group).await?.open_run.map(|run| run.id))
    }

    async fn word_of(&mut self, group: &str, verb: &str) -> Result<(), Failure> {
        match self.open_run(group).await? {
            Some(run) => self.word(&run, verb, "").await,
            None => Ok(()),
        }
    }

    async fn word(&mut self, run: &RunId, verb: &str, step: &str) -> Result<(), Failure> {
        let request = ActRequest { run: run.to_string(), step: step.to_owned(), ..self.request(verb) };
        self.act(request, Some(run.clone())).await
    }

    async fn act(&mut self, request: ActRequest, run: Option<RunId>) -> Result<(), Failure> {
        let (verb, token) = (request.verb.clone(), request.reason.clone());
        let on = run.as_ref().map_or_else(|| request.group.clone(), ToString::to_string);
        self.story.tell(&self.name, format!("says {verb} {on} {} ({token})", request.step));
        let pressed = Pressed {
            who: self.name.clone(),
            verb: verb.clone(),
            run,
            token: token.clone(),
            sent: self.ground.tick(),
            taken: false,
        };
        let at = self.desk.begin(pressed);
        let _: Value = self.client.act(request).await?;
        self.desk.lock()[at].taken = true;
        self.story.tell(&self.name, format!("is told that {verb} {on} ({token}) is taken"));
        Ok(())
    }

    async fn start(&mut self, group: &str, runbook: &str) -> Result<(), Failure> {
        let token = self.token();
        let mut wish = PlanRequest {
            group: group.to_owned(),
            runbook: runbook.to_owned(),
            reason: token.clone(),
            ..PlanRequest::default()
        };
        if group == "ledger" {
            wish.inputs.insert("token".to_owned(), token.clone());
            let view = self.group(group).await?;
            let other = view.members.iter().find(|member| !member.primary);
            wish.to = other.map(|member| member.name.to_string()).unwrap_or_default();
        }
        self.story.tell(&self.name, format!("wants {runbook} of {group} ({token})"));
        let view: PlanView = self.client.plan(wish.clone()).await?;
        let request = StartRequest {
            request_id: self.client.request_id(),
            plan: Some(wish),
            digest: view.digest.0.clone(),
            shown: serde_json::to_vec(&view.plan).expect("a plan has string keys").into(),
            ..StartRequest::default()
        };
        let pressed = Pressed {
            who: self.name.clone(),
            verb: "start".to_owned(),
            run: None,
            token: token.clone(),
            sent: self.ground.tick(),
            taken: false,
        };
        let at = self.desk.begin(pressed);
        let started = self.client.start(request).await?;
        let mut all = self.desk.lock();
        all[at].taken = true;
        all[at].run = Some(started.run.clone());
        drop(all);
        self.story.tell(&self.name, format!("is told that {} ({token}) has started", started.run));
        Ok(())
    }

    async fn confirm(&mut self, run: &RunId) -> Result<(), Failure> {
        let view: RunView = self.client.get("run", &run.to_string()).await?;
        for step in view.steps.iter().filter(|step| step.state == StepWord::Waiting) {
            self.word(run, "confirm", &step.id.0).await?;
        }
        Ok(())
    }

    async fn mend(&mut self, group: &str) -> Result<(), Failure> {
        let mut tried = 0;
        loop {
            match self.mend_once(group, tried).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) => {
                    self.story.tell(&self.name, format!("mends {group}, and is refused: {}", failure.fault))
                }
            }
            tried += 1;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// True where no run is open.
    async fn mend_once(&mut self, group: &str, tried: u32) -> Result<bool, Failure> {
        let Some(summary) = self.group(group).await?.open_run else { return Ok(true) };
        let run = summary.id;
        let view: RunView = self.client.get("run", &run.to_string()).await?;
        for step in view.steps.iter().filter(|step| step.state == StepWord::Waiting) {
            self.word(&run, "confirm", &step.id.0).await?;
        }
        let phase = view.summary.phase.as_str();
        if phase.ends_with("halted") {
            // A retry first; what does not go well by it is left out, and at last the run is given up.
            let verb = match tried % 8 {
                0..=3 => "retry",
                4 => "resume",
                5 | 6 => "skip",
                _ => "abort",
            };
            self.word(&run, verb, "").await?;
        }
        Ok(false)
    }
}
