//! The doors to the machine: programs, processes, users, services, databases. Actions decide, this reaches.
//!
//! Apart so that everything that touches the host is in one place that can be read, and so that a test brings its own
//! doors. It knows nothing of runs and runbooks.

use std::path::PathBuf;

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
}

impl Default for Host {
    fn default() -> Self {
        Self { bus: None, init_scripts: PathBuf::from("/etc/init.d") }
    }
}
