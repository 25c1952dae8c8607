//! The doors to the machine: programs, processes, users, services, databases. Actions decide, this reaches.
//!
//! Apart so that everything that touches the host is in one place that can be read, and so that a test brings its own
//! doors. It knows nothing of runs and runbooks.

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use baton_model::group::ComponentProbe;

use crate::probe::Answer;

pub mod postgres;
pub mod processes;
pub mod program;
pub mod services;
pub mod sqlserver;
pub mod users;

/// Where this machine's doors are.
#[derive(Debug, Clone)]
pub struct Host {
    /// The system bus, as D-Bus writes addresses; without it the usual one.
    pub bus: Option<String>,
    /// Where SysV scripts are.
    pub init_scripts: PathBuf,
    /// Answers probes instead of the machine: a simulated host's.
    pub respondent: Option<Arc<dyn Respond>>,
}

/// Stands where the machine stands, for what probes ask.
#[async_trait]
pub trait Respond: Send + Sync {
    async fn answer(&self, probe: &ComponentProbe) -> Answer;
}

impl fmt::Debug for dyn Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Respond")
    }
}

impl Default for Host {
    fn default() -> Self {
        Self { bus: None, init_scripts: PathBuf::from("/etc/init.d"), respondent: None }
    }
}
