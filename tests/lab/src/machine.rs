//! A host of a lab's world on loopback: a directory, an address, and services that are real processes.
//!
//! Apart from the products, which put their own services on such hosts, and without anything of Baton in it: it counts effects in
//! its own journals and kills what it is told to kill. It must never know a run or a plan.
//!
//! ```text
//! MACHINE/bin/service NAME VERB    its service manager, with the exit codes of SysV
//! MACHINE/etc/init.d/NAME          the same, a script a service, as an agent calls it
//! MACHINE/etc/services/NAME.json   what a service is: see [`service::Service`]
//! MACHINE/run/  MACHINE/var/log/   pid files, logs
//! MACHINE/var/effects.log          every start and stop, noted by the service itself
//! ```

pub mod fleet;
pub mod program;
pub mod service;

mod layout;

pub use fleet::{Allowed, Fleet};
pub use service::{Need, Service, Work};

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

pub use crate::horizon::appliance::{Effect, effects};

/// One machine. Cheap to clone: a name, an address, a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// As its agent's certificate says it.
    pub name: String,
    pub address: Ipv4Addr,
    /// Its root directory.
    pub root: PathBuf,
}

impl Machine {
    /// A path inside its root directory.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// A port of it.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address, port))
    }

    /// `service NAME start|stop|restart|status`.
    pub fn service_command(&self) -> PathBuf {
        self.path("/bin/service")
    }

    /// The scripts that an agent calls.
    pub fn init_scripts(&self) -> PathBuf {
        self.path("/etc/init.d")
    }

    /// What its services said.
    pub fn log(&self, service: &str) -> PathBuf {
        self.path(&format!("/var/log/{service}.log"))
    }

    /// The journal of effects: a line `TIME NAME VERB` for each.
    pub fn effects(&self) -> PathBuf {
        self.path("/var/effects.log")
    }

    fn pid_file(&self, service: &str) -> PathBuf {
        self.path(&format!("/run/{service}.pid"))
    }
}
