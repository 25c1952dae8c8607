//! `file.*`: text and whole files changed atomically, with what was there before kept for `undo`.
//!
//! Apart because every one of them is the same thing: read, compute what should stand there, compare, keep the original,
//! write beside, rename. What a file should hold is computed by an [`Edit`], which never writes. Nothing here may write a
//! file in place, or show a secret in a diff.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use baton_model::outcome::{Fault, Observation};
use baton_platform::atomic_file::{self, WriteOptions};
use serde_json::json;

use super::{Context, Effect, Failure, Perform};

mod diff;
mod edits;
pub mod escapes;
mod kept;
mod original;
pub mod properties;
mod restore;

pub use original::Original;
pub use restore::{Backup, Restore};

use diff::Hidden;

/// What a file should hold.
#[derive(Debug)]
pub struct Wanted {
    pub bytes: Vec<u8>,
    /// For a file that does not exist yet.
    pub mode: Option<u32>,
    pub hidden: Hidden,
    /// For a person: what was done.
    pub summary: String,
}

/// One way to say what a file should hold, given what it holds.
#[async_trait]
pub trait Edit: Send + Sync {
    fn path(&self) -> &str;
    /// No side effects.
    async fn wanted(&self, original: &Original, context: &Context) -> Result<Wanted, Fault>;
}

/// An edit as an action.
pub struct Editing<E>(pub E);

impl<E: Edit> Editing<E> {
    async fn look(&self, context: &Context) -> Result<(PathBuf, Original, Wanted), Fault> {
        // What the policy checked is what is used: every link is followed already.
        let path = context.policy().check_path(self.0.path())?;
        let original = Original::read(&path)?;
        let wanted = self.0.wanted(&original, context).await?;
        Ok((path, original, wanted))
    }
}

#[async_trait]
impl<E: Edit> Perform for Editing<E> {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let (path, original, wanted) = self.look(context).await?;
        if original.bytes.as_deref() == Some(wanted.bytes.as_slice()) {
            return Ok(Observation::InPlace { note: format!("{} is as it should be", path.display()) });
        }
        let old = original.bytes.as_deref().unwrap_or_default();
        let change = diff::unified(&path, old, &wanted.bytes, &wanted.hidden, context.redactor());
        Ok(Observation::Differs { change })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let (path, original, wanted) = self.look(context).await?;
        if original.bytes.as_deref() == Some(wanted.bytes.as_slice()) {
            let summary = format!("{} was as it should be", path.display());
            return Ok(Effect { summary, changed: Some(false), ..Effect::default() });
        }
        kept::keep(context, &path, &original, &wanted.bytes)?;
        write(&path, &wanted.bytes, if original.exists() { None } else { wanted.mode })?;
        Ok(Effect {
            summary: format!("{}: {}", path.display(), wanted.summary),
            data: json!({ "path": path, "existed": original.exists() }),
            changed: Some(true),
        })
    }

    /// Each says what the file should hold, not what to do to it.
    fn repeatable(&self) -> bool {
        true
    }
}

/// Old or new, never a part; owner and mode of the old file are kept.
fn write(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), Fault> {
    original::sweep(path);
    let attributes = original::attributes(path);
    atomic_file::write(path, bytes, &WriteOptions { mode, ..WriteOptions::default() }).map_err(|error| {
        Fault::new(
            "BTN-0522",
            format!("{error}; the file is as it was."),
            "See that its directory exists, has space, and that the agent's user may write there.",
        )
    })?;
    original::put_attributes(path, &attributes);
    Ok(())
}

/// The action of parameters; a fault where they make no sense.
pub mod bind {
    use baton_model::action::file as parameters;

    use super::*;

    pub fn properties(parameters: &parameters::Properties) -> Result<Box<dyn Perform>, Fault> {
        edits::check_properties(parameters)?;
        Ok(Box::new(Editing(parameters.clone())))
    }
    pub fn line(parameters: &parameters::Line) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(Editing(edits::LineEdit::new(parameters)?)))
    }
    pub fn replace(parameters: &parameters::Replace) -> Result<Box<dyn Perform>, Fault> {
        edits::check_replace(parameters)?;
        Ok(Box::new(Editing(parameters.clone())))
    }
    pub fn template(parameters: &parameters::Template) -> Result<Box<dyn Perform>, Fault> {
        edits::mode_of(parameters)?;
        Ok(Box::new(Editing(parameters.clone())))
    }
    pub fn copy(parameters: &parameters::Copy) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(Editing(parameters.clone())))
    }
    pub fn backup(parameters: &parameters::Backup) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(Backup(parameters.clone())))
    }
    pub fn restore(parameters: &parameters::Restore) -> Result<Box<dyn Perform>, Fault> {
        Ok(Box::new(Restore(parameters.clone())))
    }
}

#[cfg(test)]
mod tests;
