//! `baton runs`: what ran, runs and waits.

use baton_model::{ids::GroupName, view::RunSummary};
use clap::Args;

use super::Session;
use crate::{exit::Exit, failure::Failure, output::run};

/// List the runs, newest first
#[derive(Debug, Args)]
pub struct Runs {
    /// Of one group only
    group: Option<GroupName>,
}

impl Runs {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let group = self.group.as_ref().map(GroupName::as_str).unwrap_or_default();
        let mut runs: Vec<RunSummary> = session.client()?.list("runs", group).await?;
        runs.sort_by(|a, b| (b.started.when, &b.id).cmp(&(a.started.when, &a.id)));
        session.data(&runs, || run::list(&runs, &session.look))?;
        Ok(Exit::Done)
    }
}
