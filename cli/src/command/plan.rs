//! `baton plan`: a dry run against the real hosts.

use baton_model::ids::{GroupName, RunbookName};
use clap::Args;

use super::{Session, wish::Wish};
use crate::{exit::Exit, failure::Failure, output::plan};

/// Show what a runbook would do: every step, and what would change on every host. Changes nothing
#[derive(Debug, Args)]
pub struct Plan {
    group: GroupName,
    runbook: RunbookName,
    #[command(flatten)]
    wish: Wish,
}

impl Plan {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let view = session.client()?.plan(self.wish.request(&self.group, self.runbook.as_str())).await?;
        session.data(&view, || plan::render(&view, &session.look))?;
        Ok(Exit::Done)
    }
}
