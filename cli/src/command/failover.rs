//! `baton failover`: the forced way, for when the old side is lost.

use baton_model::ids::GroupName;
use clap::Args;

use super::{
    Session,
    start::{Start, Word},
};
use crate::{exit::Exit, failure::Failure};

/// Move the primary role although the old side is lost; data may be lost. Runs the group's runbook `failover`
#[derive(Debug, Args)]
pub struct Failover {
    group: GroupName,
    #[command(flatten)]
    start: Start,
}

impl Failover {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        self.start.perform(session, Word::Failover, &self.group, "failover").await
    }
}
