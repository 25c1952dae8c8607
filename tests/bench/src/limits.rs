//! How many files this process, and what it starts, may have open.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as it must be and may be.
pub fn raise_open_files(needed: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(
        now.maximum.is_none_or(|maximum| maximum >= needed),
        "{needed} open files are needed, and the hard limit is {}: raise it (ulimit -Hn)",
        now.maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: now.maximum })?;
    Ok(())
}
