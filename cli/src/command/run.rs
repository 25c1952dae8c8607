//! `baton run`: any runbook of a group, by its name.

use baton_model::ids::{GroupName, RunbookName};
use clap::Args;

use super::{
    Session,
    start::{Start, Word},
};
use crate::{exit::Exit, failure::Failure};

/// Run any runbook of a group
#[derive(Debug, Args)]
pub struct Run {
    group: GroupName,
    runbook: RunbookName,
    #[command(flatten)]
    start: Start,
}

impl Run {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.start.perform(session, Word::Run, &self.group, self.runbook.as_str()).await
    }
}
