//! A directory of backup files: listed by this host, their headers read by the server.
//!
//! Apart because two eyes look at it, and they may see it under different names. A file that is still being copied, or that the
//! server cannot read, is an entry with a reason and never left away.

use std::{path::PathBuf, time::Duration};

use baton_model::outcome::Fault;

use super::super::{
    chain::Seen,
    instance::{Instance, at_server},
};
use crate::action::Context;

/// Log shipping's own copy job writes to a file of this ending, and renames it when it is whole.
const BEING_COPIED: &str = ".wrk";
/// Baton's.
pub const OURS: &str = ".baton-copy";
/// A dead share may answer never.
const LIST_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub bytes: u64,
}

/// The files of a directory, by name; why not, where it cannot be read. The policy has been asked for the directory.
pub async fn list(directory: &str) -> Result<Vec<Entry>, String> {
    let path = PathBuf::from(directory);
    let listing = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.metadata()?;
            if kind.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(Entry { name, bytes: kind.len() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    });
    match tokio::time::timeout(LIST_WITHIN, listing).await {
        Ok(Ok(listed)) => listed.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {LIST_WITHIN:?}")),
    }
}

/// Why a file is none to be looked into, by its name alone.
pub fn unfinished(name: &str) -> Option<&'static str> {
    let ends = |suffix: &str| name.to_ascii_lowercase().ends_with(suffix);
    match () {
        () if ends(BEING_COPIED) => Some("log shipping is still copying it, or was cut short (.wrk)"),
        () if ends(OURS) => Some("a copy of Baton's that was cut short"),
        () => None,
    }
}

/// What the server reads in each of the files. An error where it can open none of them.
pub async fn headers(
    instance: &mut Instance<'_>,
    directory: &str,
    entries: &[Entry],
    context: &Context,
) -> Result<Vec<Seen>, Fault> {
    const TOLD_EVERY: usize = 25;
    let mut all = Vec::with_capacity(entries.len());
    let (mut asked, mut closed) = (0, 0);
    for (number, entry) in entries.iter().enumerate() {
        let file = entry.name.clone();
        if let Some(why) = unfinished(&file) {
            all.push(Seen::Unreadable { file, why: why.to_owned() });
            continue;
        }
        if number % TOLD_EVERY == TOLD_EVERY - 1 {
            context.progress(format!("{directory}: header {} of {}", number + 1, entries.len()), None);
        }
        asked += 1;
        all.push(match instance.headers(&at_server(directory, &file), &file).await? {
            Some(seen) => seen,
            None => {
                closed += 1;
                Seen::Unreadable { file, why: "the server cannot open it (3201)".to_owned() }
            }
        });
    }
    if asked > 0 && asked == closed {
        let message = format!("{} can open none of the {asked} files in {directory}", instance.label());
        let remedy = "Name the directory as the server sees it (…_at_server), and let its service account read it.";
        return Err(Fault::new("BTN-0671", message, remedy));
    }
    Ok(all)
}
