//! The service managers of this host: what state a service is in, and the request to change it.
//!
//! Apart because systemd, SysV scripts and a product's own commands answer the same questions. A request is not its
//! effect: whoever asks must look at the state afterwards.

use std::path::Path;

use async_trait::async_trait;
use baton_model::action::service::Manager;
use baton_model::outcome::Fault;

use crate::action::{Context, Failure};

pub mod scripts;
pub mod systemd;

use scripts::{OwnCommands, Sysv};
use systemd::{Changes, Systemd};

/// What a service manager says of a service; the text is for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Running(String),
    Stopped(String),
    /// On its way to one of the two.
    Changing(String),
    /// The manager answered, and its answer tells nothing.
    Unknown(String),
    /// The manager does not know the service.
    Missing(String),
}

impl State {
    pub fn text(&self) -> &str {
        match self {
            State::Running(text)
            | State::Stopped(text)
            | State::Changing(text)
            | State::Unknown(text)
            | State::Missing(text) => text,
        }
    }
}

#[async_trait]
pub trait ServiceManager: Send + Sync {
    async fn state(&self, name: &str, context: &Context) -> Result<State, Fault>;
    /// Returns when the manager has done what it does for a start.
    async fn start(&self, name: &str, context: &Context) -> Result<(), Failure>;
    async fn stop(&self, name: &str, context: &Context) -> Result<(), Failure>;
    /// What still runs of a service that says it has stopped; empty where the manager cannot say.
    async fn remains(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
    /// What the manager says of its own accord when the service's state changes; none where it says nothing.
    async fn changes(&self, _name: &str) -> Result<Option<Changes>, Fault> {
        Ok(None)
    }
}

/// The manager that is meant: for `Auto`, systemd where it runs this host and its bus answers, else SysV.
pub async fn manager(manager: &Manager, context: &Context) -> Result<Box<dyn ServiceManager>, Fault> {
    let host = context.host();
    match manager {
        Manager::Commands { start, stop, status } => {
            Ok(Box::new(OwnCommands { start: start.clone(), stop: stop.clone(), status: status.clone() }))
        }
        Manager::Sysv => Ok(Box::new(Sysv { scripts: host.init_scripts.clone() })),
        Manager::Systemd => Ok(Box::new(Systemd::connect(host.bus.as_deref()).await?)),
        Manager::Auto => {
            // As sd_booted(3) tells. A bus may answer without systemd, in a container.
            let booted = host.bus.is_some() || Path::new("/run/systemd/system").is_dir();
            if booted && let Ok(systemd) = Systemd::connect(host.bus.as_deref()).await {
                return Ok(Box::new(systemd));
            }
            Ok(Box::new(Sysv { scripts: host.init_scripts.clone() }))
        }
    }
}
