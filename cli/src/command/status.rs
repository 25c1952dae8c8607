//! `baton status`: who is primary, and what keeps the role from moving.

use baton_model::{
    ids::GroupName,
    view::{GroupView, StatusView},
};
use clap::Args;

use super::Session;
use crate::{exit::Exit, failure::Failure, output::groups};

/// Show who is primary in each group, or everything about one group
#[derive(Debug, Args)]
pub struct Status {
    /// One group, with its members, hosts and runbooks
    group: Option<GroupName>,
}

impl Status {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        match &self.group {
            None => {
                let view: StatusView = client.get("status", "").await?;
                session.data(&view, || groups::status(&view, &session.look))?;
            }
            Some(group) => {
                let view: GroupView = client.get("group", group.as_str()).await?;
                session.data(&view, || groups::group(&view, &session.look))?;
            }
        }
        Ok(Exit::Done)
    }
}
