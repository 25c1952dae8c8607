//! What the leader asks its fellow coordinators before it may propose: what time it is for them, what they can connect to.
//!
//! Apart from the dispatcher's loop, which must not wait for answers; each question runs beside it, once at a time. Nothing is
//! decided here: the answers go into the entry, and applying that decides.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use baton_engine::{
    command::Command,
    due::{DueOpening, DueProbe},
};
use baton_log::Log;
use baton_model::ids::{RunId, StepId};

use super::Reachability;
use crate::{
    proposer::{ProposalError, Proposer},
    replica::Replica,
};

/// A cheap handle.
#[derive(Clone)]
pub struct Questions {
    log: Log<Replica>,
    proposer: Proposer,
    reachability: Reachability,
    under_way: Arc<Mutex<BTreeSet<Question>>>,
    /// Where clocks were said to disagree: once is enough.
    disagreed: Arc<Mutex<BTreeSet<DueOpening>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Clocks(RunId),
    Connections(RunId, StepId, u64),
}

/// Takes its question off the list when it ends, whichever way.
struct UnderWay {
    list: Arc<Mutex<BTreeSet<Question>>>,
    question: Question,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.question);
    }
}

impl Questions {
    pub fn new(log: Log<Replica>, proposer: Proposer, reachability: Reachability) -> Self {
        Self { log, proposer, reachability, under_way: Arc::default(), disagreed: Arc::default() }
    }

    /// Proposes to open a stage's windows, where most coordinators' clocks agree that they are open.
    pub fn open_window(&self, due: DueOpening) {
        let Some(under_way) = self.begin(Question::Clocks(due.run.clone())) else { return };
        let questions = self.clone();
        tokio::spawn(async move {
            let _under_way = under_way;
            let survey = questions.reachability.survey().await;
            let coordinators = u32::try_from(survey.coordinators).unwrap_or(u32::MAX);
            let agreed = questions.log.with(|replica| {
                let run = replica.state.runs.get(&due.run).filter(|run| run.stage == due.stage);
                run.is_some_and(|run| {
                    let windows = run.awaited_windows(&run.plan);
                    windows.iter().all(|(_, window)| window.is_open_for_most(survey.clocks.values(), coordinators))
                })
            });
            if !agreed {
                if !questions.disagreed.lock().unwrap_or_else(PoisonError::into_inner).insert(due.clone()) {
                    return;
                }
                tracing::warn!(run = %due.run, clocks = ?survey.clocks, "a window is open by this clock, and most coordinators do not say so");
                return;
            }
            let DueOpening { run, stage } = due;
            questions.propose(Command::OpenWindow { run, stage, clocks: survey.clocks, coordinators }).await;
        });
    }

    /// Has the coordinators try to connect, and proposes what they saw.
    pub fn probe(&self, due: DueProbe) {
        let question = Question::Connections(due.run.clone(), due.step.clone(), due.index);
        let Some(under_way) = self.begin(question) else { return };
        let questions = self.clone();
        tokio::spawn(async move {
            let _under_way = under_way;
            let (sightings, coordinators) = questions.reachability.sightings(&due.endpoints, due.timeout).await;
            let DueProbe { run, step, index, .. } = due;
            let coordinators = u32::try_from(coordinators).unwrap_or(u32::MAX);
            questions.propose(Command::ReportSightings { run, step, index, sightings, coordinators }).await;
        });
    }

    /// `None` where it is being asked already.
    fn begin(&self, question: Question) -> Option<UnderWay> {
        let mut list = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        list.insert(question.clone()).then(|| UnderWay { list: self.under_way.clone(), question })
    }

    /// Nothing is lost if it fails: the next look finds the same duty.
    async fn propose(&self, command: Command) {
        match self.proposer.propose(self.proposer.itself(), "", None, command.clone()).await {
            Ok(_) => {}
            Err(ProposalError::Log(error)) => tracing::debug!(%error, ?command, "not proposed"),
            Err(error) => tracing::warn!(%error, ?command, "not accepted"),
        }
    }
}
