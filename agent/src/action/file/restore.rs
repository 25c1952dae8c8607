//! `file.backup` keeps a file beside the run; `file.restore` puts back what the run's step had replaced.
//!
//! Apart from the edits because they look at what was kept, not at what the file should hold. A restore must never lose
//! what somebody else wrote in between: that is kept too.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use baton_model::action::file::{Backup as BackupParameters, Restore as RestoreParameters};
use baton_model::outcome::{Fault, Observation};
use baton_platform::atomic_file::{self, WriteOptions};
use serde_json::json;

use super::diff::{self, Hidden};
use super::kept::{self, Kept};
use super::original::{Original, sha256};
use crate::action::{Context, Effect, Failure, Perform};

pub struct Backup(pub BackupParameters);

#[async_trait]
impl Perform for Backup {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let path = context.policy().check_path(&self.0.path)?;
        let original = Original::read(&path)?;
        let bytes = original.required(&self.0.path)?;
        if context.run_directory().is_some()
            && kept::find(context, &path)?.is_some_and(|(kept, _)| kept.original_sha256 == sha256(bytes))
        {
            return Ok(Observation::InPlace { note: format!("a copy of {} is kept", path.display()) });
        }
        Ok(Observation::Differs { change: format!("keep a copy of {} ({} bytes)", path.display(), bytes.len()) })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let path = context.policy().check_path(&self.0.path)?;
        let original = Original::read(&path)?;
        let bytes = original.required(&self.0.path)?;
        let kept_at = kept::keep(context, &path, &original, bytes)?;
        Ok(Effect {
            summary: format!("kept a copy of {} as {}", path.display(), kept_at.display()),
            data: json!({ "path": path, "copy": kept_at, "bytes": bytes.len() }),
            changed: Some(true),
        })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

pub struct Restore(pub RestoreParameters);

fn is_back(current: &Original, kept: &Kept, bytes: &[u8]) -> bool {
    match &current.bytes {
        None => !kept.existed,
        Some(now) => kept.existed && now == bytes && current.mode == kept.mode,
    }
}

#[async_trait]
impl Perform for Restore {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let path = context.policy().check_path(&self.0.path)?;
        if context.run_directory().is_none() {
            let why = format!("what {} should be again is known once the run has changed it", path.display());
            return Ok(Observation::CannotTell { why });
        }
        let Some((kept, bytes)) = kept::find(context, &path)? else {
            return Ok(Observation::InPlace { note: format!("this run has not changed {}", path.display()) });
        };
        let current = Original::read(&path)?;
        if is_back(&current, &kept, &bytes) {
            return Ok(Observation::InPlace { note: format!("{} is as it was before", path.display()) });
        }
        let now = current.bytes.unwrap_or_default();
        // What was put in may have been a secret of the step that is undone, which this task does not know.
        let hidden = Hidden { everything: sha256(&now) != kept.original_sha256, ..Hidden::default() };
        let change = match kept.existed {
            true => diff::unified(&path, &now, &bytes, &hidden, context.redactor())
                .replace("it holds a secret", "it may hold a secret"),
            false => format!("remove {}, which was not there before", path.display()),
        };
        Ok(Observation::Differs { change })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let path = context.policy().check_path(&self.0.path)?;
        let nothing = |summary: String| Effect { summary, changed: Some(false), ..Effect::default() };
        let Some((kept, bytes)) = kept::find(context, &path)? else {
            return Ok(nothing(format!("this run had not changed {}", path.display())));
        };
        let current = Original::read(&path)?;
        if is_back(&current, &kept, &bytes) {
            return Ok(nothing(format!("{} was as before", path.display())));
        }
        let mut summary = format!("put {} back as it was", path.display());
        if let Some(now) = &current.bytes {
            let now_sha256 = sha256(now);
            if now_sha256 != kept.written_sha256 && now_sha256 != kept.original_sha256 {
                let at = kept::keep_overwritten(context, &path, now)?;
                summary.push_str(&format!("; somebody had changed it since, and that is kept as {}", at.display()));
            }
        }
        put_back(&path, &kept, &bytes, &current)?;
        Ok(Effect { summary, changed: Some(true), ..Effect::default() })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

fn put_back(path: &Path, kept: &Kept, bytes: &[u8], current: &Original) -> Result<(), Fault> {
    let cannot = |why: String| {
        let remedy = "See that the agent's user may write there, then retry.";
        Fault::new("BTN-0522", format!("cannot put {} back: {why}.", path.display()), remedy)
    };
    if !kept.existed {
        return std::fs::remove_file(path).map_err(|error| cannot(error.to_string()));
    }
    if current.bytes.as_deref() == Some(bytes) {
        let mode = std::fs::Permissions::from_mode(kept.mode);
        return std::fs::set_permissions(path, mode).map_err(|error| cannot(error.to_string()));
    }
    // Only root may give a file away; for anybody else the owner is what it was anyway.
    let owner = rustix::process::geteuid().is_root().then_some((kept.uid, kept.gid));
    let attributes = super::original::attributes(path);
    atomic_file::write(path, bytes, &WriteOptions { mode: Some(kept.mode), owner, ..WriteOptions::default() })
        .map_err(|error| cannot(error.to_string()))?;
    super::original::put_attributes(path, &attributes);
    Ok(())
}
