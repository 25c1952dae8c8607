//! SQL Server in a lab's world: simulated instances as services of machines, the lab's own client, and a client's writes.
//!
//! Apart from Baton's own door to SQL Server, so that Baton is judged by somebody else's questions.

pub mod client;
pub mod process;
pub mod writer;

pub use client::{Endpoint, Session};
pub use writer::Writer;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
pub use baton_sqlserver::control::{Control, GroupPlan, Received, ReplicaPlan, WorldBuilder};
pub use baton_sqlserver::{control, world};

use crate::machine::{Service, Work};

/// The service's name on its machine.
pub const SERVICE: &str = "mssqlserver";
/// Where instances listen.
pub const PORT: u16 = 1433;

/// A simulated world of instances: its directory, and the truth about it.
#[derive(Debug, Clone)]
pub struct Instances {
    directory: PathBuf,
    control: Control,
}

impl Instances {
    /// A new world; an earlier one in its place goes. No instance runs yet.
    pub fn create(directory: &Path, world: &WorldBuilder) -> Result<Self> {
        if directory.exists() {
            std::fs::remove_dir_all(directory)?;
        }
        let control = world.create(directory, unix_ms())?;
        Ok(Self { directory: directory.to_owned(), control })
    }

    /// The instance as a service of a machine: `service mssqlserver start`.
    pub fn service(&self, instance: &str) -> Service {
        let work = Work::SqlServer { world: self.directory.clone(), instance: instance.to_owned() };
        Service { name: SERVICE.to_owned(), work }
    }

    /// The truth, and what goes wrong.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What an instance was asked in these words, in any case and with any blanks; every request's time in Unix milliseconds.
    pub fn asked(&self, instance: &str, words: &str) -> Vec<Received> {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let words = plain(words);
        self.control.received(instance).into_iter().filter(|one| plain(&one.text).contains(&words)).collect()
    }
}

/// An instance's address on its machine.
pub fn at(machine: &crate::machine::Machine) -> SocketAddr {
    machine.at(PORT)
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
