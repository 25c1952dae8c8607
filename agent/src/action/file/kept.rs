//! What a run's steps replaced, kept until the run's directory goes: the ground of `undo`.
//!
//! Apart because it must hold when the agent is killed at any point: the original is on the disk before the file changes,
//! and a second attempt of the same step does not take the changed file for the original.

use std::io;
use std::path::{Path, PathBuf};

use baton_model::outcome::Fault;
use baton_platform::atomic_file::{self, WriteOptions};
use serde::{Deserialize, Serialize};

use super::original::{Original, sha256};
use crate::action::Context;

/// One file as one step found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub step: String,
    pub path: PathBuf,
    pub existed: bool,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub original_sha256: String,
    /// What the step was about to write.
    pub written_sha256: String,
    /// Counts what the run kept here.
    pub number: u64,
}

/// Keeps what stands at `path`, before `written` replaces it. Returns where.
pub fn keep(context: &Context, path: &Path, original: &Original, written: &[u8]) -> Result<PathBuf, Fault> {
    let directory = directory(context)?;
    let step = step_of(context);
    let stem = stem(&directory, &step, path);
    let bytes = original.bytes.as_deref().unwrap_or_default();
    let (original_sha256, written_sha256) = (sha256(bytes), sha256(written));
    let failed = |error: String| cannot("keep the original of", path, &error);
    let options = WriteOptions { mode: Some(0o600), ..WriteOptions::default() };
    let all = all(&directory).map_err(|error| failed(error.to_string()))?;
    let earlier = all.iter().find(|kept| kept.step == step && kept.path == path);
    if let Some(earlier) = earlier
        && original.exists()
        && (original_sha256 == earlier.written_sha256 || original_sha256 == earlier.original_sha256)
        && earlier.existed
    {
        // An earlier attempt of this step: its original is the original.
        let meta = Kept { written_sha256, ..earlier.clone() };
        put_meta(&stem, &meta, &options).map_err(failed)?;
        return Ok(stem.with_extension("original"));
    }
    if earlier.is_some_and(|earlier| !earlier.existed && original_sha256 == earlier.written_sha256) {
        return Ok(stem.with_extension("original"));
    }
    std::fs::create_dir_all(&directory).map_err(|error| failed(error.to_string()))?;
    let kept_at = stem.with_extension("original");
    atomic_file::write(&kept_at, bytes, &options).map_err(|error| failed(error.to_string()))?;
    // The second file makes it count: without it the first is litter.
    let meta = Kept {
        step,
        path: path.to_owned(),
        existed: original.exists(),
        mode: original.mode,
        uid: original.uid,
        gid: original.gid,
        original_sha256,
        written_sha256,
        number: all.iter().map(|kept| kept.number + 1).max().unwrap_or_default(),
    };
    put_meta(&stem, &meta, &options).map_err(failed)?;
    Ok(kept_at)
}

/// Keeps what a restore is about to overwrite although no step of the run wrote it.
pub fn keep_overwritten(context: &Context, path: &Path, bytes: &[u8]) -> Result<PathBuf, Fault> {
    let directory = directory(context)?;
    let kept_at = stem(&directory, &step_of(context), path).with_extension("overwritten");
    let options = WriteOptions { mode: Some(0o600), ..WriteOptions::default() };
    atomic_file::write(&kept_at, bytes, &options)
        .map_err(|error| cannot("keep what is overwritten at", path, &error.to_string()))?;
    Ok(kept_at)
}

/// What the step that this task undoes had replaced at `path`; else what the run's last step there had.
pub fn find(context: &Context, path: &Path) -> Result<Option<(Kept, Vec<u8>)>, Fault> {
    let directory = directory(context)?;
    let step = step_of(context);
    let failed = |error: io::Error| cannot("read the original of", path, &error.to_string());
    let here: Vec<Kept> = all(&directory).map_err(failed)?.into_iter().filter(|kept| kept.path == path).collect();
    let own = here.iter().find(|kept| kept.step == step);
    let Some(kept) = own.or_else(|| here.iter().max_by_key(|kept| kept.number)) else { return Ok(None) };
    let bytes = std::fs::read(stem(&directory, &kept.step, path).with_extension("original")).map_err(failed)?;
    if sha256(&bytes) != kept.original_sha256 {
        return Err(cannot("read the original of", path, "it is not what was kept (its digest differs)"));
    }
    Ok(Some((kept.clone(), bytes)))
}

fn put_meta(stem: &Path, meta: &Kept, options: &WriteOptions) -> Result<(), String> {
    let text = serde_json::to_vec_pretty(meta).expect("strings and numbers are always JSON");
    atomic_file::write(&stem.with_extension("json"), &text, options).map_err(|error| error.to_string())
}

fn all(directory: &Path) -> io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            all.push(serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)?);
        }
    }
    Ok(all)
}

fn directory(context: &Context) -> Result<PathBuf, Fault> {
    context.run_directory().map(|run| run.join("files")).ok_or_else(|| {
        Fault::new("BTN-0527", "there is no place to keep the original of a file: this is a dry run.", "Run the step.")
    })
}

/// `4/undo` belongs to `4`.
fn step_of(context: &Context) -> String {
    let step = context.task().map(|task| task.step.to_string()).unwrap_or_default();
    step.split("/undo").next().unwrap_or_default().to_owned()
}

fn stem(directory: &Path, step: &str, path: &Path) -> PathBuf {
    let digest = sha256(format!("{step}\n{}", path.display()).as_bytes());
    directory.join(&digest[..24])
}

fn cannot(what: &str, path: &Path, why: &str) -> Fault {
    Fault::new(
        "BTN-0527",
        format!("cannot {what} {}: {why}.", path.display()),
        "See that the agent's state directory has space and belongs to the agent's user.",
    )
}
