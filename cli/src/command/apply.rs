//! `baton apply`: define groups, or change them.

use std::path::PathBuf;

use baton_model::view::AppliedView;
use baton_proto::v1::{ApplyRequest, SourceFile};
use clap::Args;

use super::{Session, check};
use crate::{exit::Exit, failure::Failure, files, output::groups};

/// Define or change groups; a group's file brings the runbooks along that it names
#[derive(Debug, Args)]
pub struct Apply {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Why, for the record
    #[arg(short, long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub async fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let gathered = files::gather(&self.files)?;
        if !gathered.diagnostics.is_empty() {
            check::tell(session, &gathered)?;
            return Ok(Exit::Usage);
        }
        let mut client = session.client()?;
        let request = ApplyRequest {
            request_id: client.request_id(),
            files: gathered.files.into_iter().map(|(path, text)| SourceFile { path, text }).collect(),
            reason: self.reason.clone(),
            dry_run: self.dry_run,
        };
        let view: AppliedView = client.apply(request).await?;
        session.data(&view, || groups::applied(&view, &session.look))?;
        if self.dry_run {
            session.talk("Dry run: nothing was changed.")?;
        }
        Ok(Exit::Done)
    }
}
