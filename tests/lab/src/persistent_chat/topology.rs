//! The pool's topology, as the stand-in shell keeps it, and what was called there.
//!
//! Apart from the instances: it is the other half of the truth, in files of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{POOL, Site};

/// The directory with the shell, its state and its journal.
#[derive(Debug, Clone)]
pub struct Topology(PathBuf);

impl Topology {
    pub(super) fn of(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// A pool in its normal state, active in Atlanta, mirrored there.
    pub(super) fn create(directory: &Path, shell: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let topology = Self::of(directory);
        // An earlier world's.
        drop(fs::remove_file(topology.shell()));
        std::os::unix::fs::symlink(shell, topology.shell()).context("put the shell in its place")?;
        let servers: Vec<String> = Site::BOTH.iter().flat_map(|site| [site.database(), site.mirror()]).collect();
        let computers: Vec<String> = Site::BOTH.iter().flat_map(|site| site.chat()).collect();
        let state = json!({
            "modules": ["SkypeForBusiness"],
            "sql_servers": servers,
            "mirrors": [{
                "database_type": "PersistentChat", "principal": Site::Atlanta.database(), "mirror": Site::Atlanta.mirror(),
            }],
            "pools": [{
                "fqdn": POOL, "computers": computers, "active": Site::Atlanta.chat(), "state": "Normal",
                "primary_sql": Site::Atlanta.database(), "primary_mirror": Site::Atlanta.mirror(),
                "backup_sql": Site::Dallas.database(), "backup_mirror": Site::Dallas.mirror(),
            }],
        });
        fs::write(directory.join("lync.json"), state.to_string()).context("write the topology")?;
        Ok(topology)
    }

    /// The shell's path, as runbooks name it.
    pub fn shell(&self) -> PathBuf {
        self.0.join("pwsh")
    }

    fn state(&self) -> Result<Value> {
        let path = self.0.join("lync.json");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }

    /// `Normal` or `FailedOver`.
    pub fn pool_state(&self) -> Result<String> {
        Ok(self.state()?["pools"][0]["state"].as_str().unwrap_or_default().to_owned())
    }

    /// The active servers, by name.
    pub fn active(&self) -> Result<Vec<String>> {
        let state = self.state()?;
        let active = state["pools"][0]["active"].as_array().into_iter().flatten();
        let mut active: Vec<String> = active.filter_map(Value::as_str).map(str::to_owned).collect();
        active.sort();
        Ok(active)
    }

    /// The principals of the mirrors that are set up for mgc.
    pub fn principals(&self) -> Result<Vec<String>> {
        let state = self.state()?;
        let mirrors = state["mirrors"].as_array().into_iter().flatten();
        let mut principals: Vec<String> =
            mirrors.filter_map(|mirror| mirror["principal"].as_str()).map(str::to_owned).collect();
        principals.sort();
        Ok(principals)
    }

    /// How often each cmdlet that changes something did so.
    pub fn performed(&self) -> Result<BTreeMap<String, u64>> {
        let state = self.state()?;
        let counts = state["performed"].as_object().into_iter().flatten();
        Ok(counts.map(|(cmdlet, times)| (cmdlet.clone(), times.as_u64().unwrap_or_default())).collect())
    }

    /// The cmdlets that change something, as they were called since `before` of them.
    pub fn changes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("lync-calls.jsonl")).unwrap_or_default();
        let calls = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        calls
            .filter_map(|call| call["cmdlet"].as_str().map(str::to_owned))
            .filter(|cmdlet| !cmdlet.starts_with("Get-"))
            .collect()
    }
}
