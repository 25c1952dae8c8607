//! `baton switchover`: the planned way. Never forced.

use baton_model::ids::GroupName;
use clap::Args;

use super::{
    Session,
    start::{Start, Word},
};
use crate::{exit::Exit, failure::Failure};

/// Move the primary role with both sides alive; nothing is lost. Runs the group's runbook `switchover`
#[derive(Debug, Args)]
pub struct Switchover {
    group: GroupName,
    #[command(flatten)]
    start: Start,
}

impl Switchover {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.start.perform(session, Word::Switchover, &self.group, "switchover").await
    }
}
