//! What happens to an installation's processes other than being killed, with which programs they come back, and where their files are.
//!
//! Apart from the installation itself, because only those who try to break it need it.

use std::{net::SocketAddr, path::PathBuf, process::ExitStatus};

use rustix::process::Signal;

use super::{Binaries, Cluster};
use crate::processes::{Daemon, ProcessId};

impl Cluster {
    /// Sends a signal to one coordinator. `false`: it does not run.
    pub fn signal_coordinator(&self, number: usize, signal: Signal) -> bool {
        self.coordinators[number].daemon.as_ref().is_some_and(|daemon| daemon.signal(signal))
    }

    /// Sends a signal to one agent, and not to what it has started. `false`: it does not run.
    pub fn signal_agent(&self, host: &str, signal: Signal) -> bool {
        self.agents.get(host).and_then(|node| node.daemon.as_ref()).is_some_and(|daemon| daemon.signal(signal))
    }

    /// How a coordinator that was started ended by itself; `None` while it runs.
    pub fn coordinator_ended(&mut self, number: usize) -> Option<ExitStatus> {
        self.coordinators[number].daemon.as_mut()?.ended()
    }

    /// How an agent that was started ended by itself; `None` while it runs.
    pub fn agent_ended(&mut self, host: &str) -> Option<ExitStatus> {
        self.agents.get_mut(host)?.daemon.as_mut()?.ended()
    }

    /// The coordinators that were started and not killed or stopped since.
    pub fn running_coordinators(&self) -> Vec<usize> {
        let running = self.coordinators.iter().enumerate().filter(|(_, node)| node.daemon.is_some());
        running.map(|(number, _)| number).collect()
    }

    /// The hosts whose agents were started and not killed since.
    pub fn running_agents(&self) -> Vec<String> {
        let running = self.agents.iter().filter(|(_, node)| node.daemon.is_some());
        running.map(|(host, _)| host.clone()).collect()
    }

    /// What a coordinator is started with from now on.
    pub fn install_coordinator(&mut self, number: usize, programs: &Binaries) {
        self.coordinators[number].program = programs.coordinator.clone();
    }

    /// What an agent is started with from now on.
    pub fn install_agent(&mut self, host: &str, programs: &Binaries) {
        if let Some(node) = self.agents.get_mut(host) {
            node.program = programs.agent.clone();
        }
    }

    /// The process of a coordinator; `None` where none was started.
    pub fn coordinator_process(&self, number: usize) -> Option<ProcessId> {
        self.coordinators[number].daemon.as_ref().map(Daemon::id)
    }

    /// The process of an agent; `None` where none was started.
    pub fn agent_process(&self, host: &str) -> Option<ProcessId> {
        self.agents.get(host)?.daemon.as_ref().map(Daemon::id)
    }

    /// Where a coordinator listens.
    pub fn coordinator_address(&self, number: usize) -> SocketAddr {
        self.address(number as u8)
    }

    /// A coordinator's configuration, data, identity and log.
    pub fn coordinator_directory(&self, number: usize) -> PathBuf {
        self.directory.join(&self.coordinators[number].name)
    }

    /// An agent's configuration, state, identity, secrets and log.
    pub fn agent_directory(&self, host: &str) -> PathBuf {
        self.directory.join(host)
    }
}
