//! `baton lost`: a detached member will not come back.

use baton_model::ids::{GroupName, MemberName};
use baton_proto::v1::ActRequest;
use clap::Args;
use serde_json::Value;

use super::Session;
use crate::{exit::Exit, failure::Failure};

/// Declare a detached member lost, so that the role may move again without it
#[derive(Debug, Args)]
pub struct Lost {
    group: GroupName,
    member: MemberName,
    /// Why, for the record
    #[arg(short, long)]
    reason: String,
}

impl Lost {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let mut client = session.client()?;
        let request = ActRequest {
            request_id: client.request_id(),
            verb: "lost".to_owned(),
            reason: self.reason.clone(),
            group: self.group.to_string(),
            member: self.member.to_string(),
            ..ActRequest::default()
        };
        let done: Value = client.act(request).await?;
        session.data(&done, || format!("{} of {} is declared lost\n", self.member, self.group))?;
        Ok(Exit::Done)
    }
}
