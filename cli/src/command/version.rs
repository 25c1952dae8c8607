//! `baton version`.

use clap::Args;
use serde_json::json;

use super::Session;
use crate::{exit::Exit, failure::Failure};

/// Print the version of this command
#[derive(Debug, Args)]
pub struct Version {}

impl Version {
    pub fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        session.data(&json!({"version": version}), || format!("baton {version}\n"))?;
        Ok(Exit::Done)
    }
}
