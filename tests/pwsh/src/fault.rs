//! What shall go wrong: `lync-faults.json`, a list of `{ "cmdlet": "Set-…", "fault": { … } }`. Each is taken once.

use std::{fs, io::ErrorKind, path::Path};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Fault {
    /// An error that ends the cmdlet, before it did anything.
    Terminating {
        message: String,
    },
    /// An error beside which the cmdlet goes on, and does what it should.
    NonTerminating {
        message: String,
    },
    Slow {
        milliseconds: u64,
    },
    /// The process dies before anything was done.
    DieBefore,
    /// The process dies when all was done, without a word.
    DieAfter,
    /// A warning in front of the answer.
    Chatty,
    /// Exit code 0, no output, nothing done: some stubs of powershell.exe are like that.
    Silent,
}

#[derive(Serialize, Deserialize)]
struct Planned {
    cmdlet: String,
    fault: Fault,
}

/// The first one for this cmdlet, which is gone from then on.
pub fn take(directory: &Path, cmdlet: &str) -> Result<Option<Fault>, String> {
    let path = directory.join("lync-faults.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let mut all: Vec<Planned> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(at) = all.iter().position(|planned| planned.cmdlet.eq_ignore_ascii_case(cmdlet)) else { return Ok(None) };
    let taken = all.remove(at);
    crate::world::replace(&path, &serde_json::to_string_pretty(&all).expect("JSON"))?;
    Ok(Some(taken.fault))
}
