//! `baton show`: everything about one run.

use baton_model::{ids::RunId, view::RunView};
use clap::Args;

use super::Session;
use crate::{exit::Exit, failure::Failure, output::run};

/// Show a run: steps, tasks, outputs, faults, history
#[derive(Debug, Args)]
pub struct Show {
    /// As in pom-17
    run: RunId,
}

impl Show {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let view: RunView = session.client()?.get("run", &self.run.to_string()).await?;
        session.data(&view, || run::show(&view, &session.look))?;
        Ok(Exit::Done)
    }
}
