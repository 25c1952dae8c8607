//! `baton auto`: an operator's word on failing over without a person.

use baton_model::ids::GroupName;
use baton_proto::v1::ActRequest;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Session;
use crate::{exit::Exit, failure::Failure};

/// Pause, resume or rearm the automatic failover of a group
#[derive(Debug, Args)]
pub struct Auto {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Nothing starts by itself until it is resumed
    Pause(OnGroup),
    /// What was paused goes on
    Resume(OnGroupAnyway),
    /// A group that failed over by itself may do so again, without a switchback
    Rearm(OnGroup),
}

#[derive(Debug, Args)]
struct OnGroup {
    group: GroupName,
    /// Why, for the record
    #[arg(short, long)]
    reason: String,
}

#[derive(Debug, Args)]
struct OnGroupAnyway {
    group: GroupName,
    /// Why, for the record
    #[arg(short, long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Auto {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let (guard, group, reason, done) = match &self.word {
            Word::Pause(on) => ("pause", &on.group, &on.reason, "nothing starts by itself"),
            Word::Resume(on) => ("resume", &on.group, &on.reason, "it is watched again"),
            Word::Rearm(on) => ("rearm", &on.group, &on.reason, "it may fail over by itself again"),
        };
        let mut client = session.client()?;
        let request = ActRequest {
            request_id: client.request_id(),
            verb: "auto".to_owned(),
            reason: reason.clone(),
            group: group.to_string(),
            guard: guard.to_owned(),
            ..ActRequest::default()
        };
        let said: Value = client.act(request).await?;
        session.data(&said, || format!("{group}: {done}\n"))?;
        Ok(Exit::Done)
    }
}
