//! The topology and its state: `lync.json` beside the program.
//!
//! Several shells may be called at once: the file `lync.lock` is held by one.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{cmdlet, script::Call};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Modules that can be imported.
    pub modules: Vec<String>,
    pub pools: Vec<Pool>,
    /// Mirrors that were set up.
    #[serde(default)]
    pub mirrors: Vec<Mirror>,
    /// Instances of SQL Server that can be reached, by FQDN; unknown ones cannot.
    pub sql_servers: Vec<String>,
    /// How often each cmdlet that changes something did so: written together with the change, so that it is exact whenever the
    /// program dies. The calls are not: one is noted before its effect.
    #[serde(default)]
    pub performed: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub fqdn: String,
    /// Servers of the pool, all sites.
    pub computers: Vec<String>,
    #[serde(default)]
    pub active: Vec<String>,
    /// `Normal` or `FailedOver`.
    pub state: String,
    /// Where `mgc` is in state Normal, and where in state FailedOver.
    pub primary_sql: String,
    pub backup_sql: String,
    /// The mirror instances of each.
    #[serde(default)]
    pub primary_mirror: Option<String>,
    #[serde(default)]
    pub backup_mirror: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    pub database_type: String,
    pub principal: String,
    pub mirror: String,
    /// Which of the two the clients write to: the one called `principal`, or after a failover the other.
    #[serde(default)]
    pub swapped: bool,
}

pub struct World {
    directory: PathBuf,
    pub state: State,
    _lock: File,
}

impl World {
    pub fn open(directory: &Path) -> Result<Self, String> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lync.lock"));
        let lock = lock.map_err(|error| format!("lync.lock: {error}"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| format!("lync.lock: {error}"))?;
        let path = directory.join("lync.json");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let state = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { directory: directory.to_owned(), state, _lock: lock })
    }

    pub fn note(&self, call: &Call) -> Result<(), String> {
        let line = json!({ "modules": call.modules, "cmdlet": call.cmdlet, "parameters": call.parameters });
        let file = OpenOptions::new().create(true).append(true).open(self.directory.join("lync-calls.jsonl"));
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(|error| format!("lync-calls.jsonl: {error}"))
    }

    /// Cmdlets of Lync are known where its module was imported.
    pub fn check_modules(&self, modules: &[String]) -> Result<(), cmdlet::Error> {
        for module in modules {
            if !self.state.modules.iter().any(|known| known.eq_ignore_ascii_case(module)) {
                let message = format!(
                    "The specified module '{module}' was not loaded because no valid module file was found in any module directory."
                );
                return Err((
                    message,
                    "Modules_ModuleNotFound,Microsoft.PowerShell.Commands.ImportModuleCommand".to_owned(),
                ));
            }
        }
        Ok(())
    }

    pub fn save(&self) -> Result<(), String> {
        replace(&self.directory.join("lync.json"), &serde_json::to_string_pretty(&self.state).expect("JSON"))
    }
}

/// All of it or nothing: the program may be killed at any time.
pub fn replace(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
