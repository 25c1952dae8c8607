//! `baton hosts`: which agents are on the line, and with whom.

use baton_model::view::HostView;
use clap::Args;

use super::Session;
use crate::{exit::Exit, failure::Failure, output::groups};

/// List the hosts, and which coordinators have their agents on the line
#[derive(Debug, Args)]
pub struct Hosts {}

impl Hosts {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let hosts: Vec<HostView> = session.client()?.list("hosts", "").await?;
        session.data(&hosts, || groups::hosts(&hosts, &session.look))?;
        Ok(Exit::Done)
    }
}
