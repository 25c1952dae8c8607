//! `baton schema`: the JSON Schemas of the files, for editors.

use baton_model::schema;
use clap::{Args, ValueEnum};

use super::Session;
use crate::{exit::Exit, failure::Failure};

/// Print the JSON Schema of group or runbook files, for editors
#[derive(Debug, Args)]
pub struct Schema {
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Group,
    Runbook,
}

impl Schema {
    pub fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        session.json(&match self.kind {
            Kind::Group => schema::group_schema(),
            Kind::Runbook => schema::runbook_schema(),
        })?;
        Ok(Exit::Done)
    }
}
