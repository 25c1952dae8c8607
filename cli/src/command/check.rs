//! `baton check`: are these files right? Needs no cluster.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Session;
use crate::{arguments::Format, exit::Exit, failure::Failure, files, output::text, terminal::Stream};

/// Check group and runbook files, and the runbooks that groups name; needs no cluster
#[derive(Debug, Args)]
pub struct Check {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub fn perform(&self, session: &Session) -> Result<Exit, Failure> {
        let gathered = files::gather(&self.files)?;
        tell(session, &gathered)?;
        if !gathered.diagnostics.is_empty() {
            return Ok(Exit::Usage);
        }
        session.talk(format!("{} checked, nothing wrong", text::count(gathered.files.len(), "file")))?;
        Ok(Exit::Done)
    }
}

/// Everything that is wrong, a line each: what an editor or a reviewer jumps to.
pub fn tell(session: &Session, gathered: &files::Gathered) -> Result<(), Failure> {
    match session.format {
        Format::Table => {
            let lines = gathered.diagnostics.iter().map(|diagnostic| text::printable(&format!("{diagnostic}\n")));
            Stream::Stdout.write(lines.collect::<String>().as_bytes())
        }
        Format::Json => {
            let each = gathered.diagnostics.iter().map(|diagnostic| {
                json!({
                    "file": diagnostic.file,
                    "line": diagnostic.line,
                    "column": diagnostic.column,
                    "code": diagnostic.code,
                    "message": diagnostic.message,
                    "remedy": diagnostic.remedy,
                })
            });
            let files: Vec<&str> = gathered.files.iter().map(|(path, _)| path.as_str()).collect();
            session.json(&json!({"files": files, "diagnostics": each.collect::<Vec<_>>()}))
        }
    }
}
