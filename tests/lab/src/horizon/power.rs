//! Accidents: an appliance loses its power, gets it back, freezes, thaws.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::{Appliance, Error, World, appliance::Service, replication};
use crate::processes::{Process, ProcessId, kill_until_gone, registry, signal};

/// What is started when an appliance boots, besides its database server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Boot {
    /// The slons of its databases.
    pub slons: bool,
    /// The watchdog that restarts slons.
    pub watchdog: bool,
    /// dtService, av-manager, diagnose.
    pub services: bool,
}

impl Boot {
    /// The database server alone.
    pub const SERVER: Self = Self { slons: false, watchdog: false, services: false };
    /// As an appliance comes up in the field.
    pub const EVERYTHING: Self = Self { slons: true, watchdog: true, services: true };
}

impl World {
    /// Every process that runs on the appliance: its server, and all that carries its mark in the environment.
    pub fn running_on(&self, appliance: &Appliance) -> Result<Vec<Process>, Error> {
        Ok(self.registry().members_on(&appliance.name, &appliance.data())?)
    }

    /// Cuts the power: everything on the appliance, and `also`, gets SIGKILL until nothing is left.
    /// Returns how many processes died.
    ///
    /// One thing is kinder than a power cut: peers see their connections closed at once. For silence, [`World::freeze`].
    pub fn crash(&self, appliance: &Appliance, also: &[ProcessId]) -> Result<usize, Error> {
        // The server first: nothing may be replicated or acknowledged after the moment of the crash.
        let mut first = self.running_on(appliance)?;
        first.sort_by_key(|process| (process.name != "postgres", process.id.pid));
        for process in &first {
            signal(process.id, Signal::KILL);
        }
        let left = || {
            let mut left = self.running_on(appliance).unwrap_or_default();
            left.extend(also.iter().filter(|id| id.alive()).filter_map(|id| Process::read(id.pid)));
            left
        };
        kill_until_gone(left, Duration::from_secs(10))?;
        Ok(first.len() + also.len())
    }

    /// Ends the slons of an appliance, cleanly or not: SIGKILL, because a worker without its parent ignores the rest.
    /// A watchdog that runs brings them back.
    pub fn stop_slons(&self, appliance: &Appliance) -> Result<usize, Error> {
        let slons = || {
            let running = self.running_on(appliance).unwrap_or_default();
            running.into_iter().filter(|process| process.name == "slon").collect()
        };
        Ok(kill_until_gone(slons, Duration::from_secs(10))?)
    }

    /// Gives the power back: pid files are gone as in a fresh `/run`, the server recovers from its crash, and what
    /// `boot` says is started.
    pub async fn boot(&self, appliance: &Appliance, boot: Boot) -> Result<(), Error> {
        let run = appliance.path("/run");
        let failed = |source| Error::File { verb: "empty", path: run.clone(), source };
        for entry in fs::read_dir(&run).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        if self.running_on(appliance)?.iter().all(|process| process.name != "postgres") {
            registry::forget_dead_server(&appliance.data());
        }
        self.server(appliance).start().await?;
        if boot.slons {
            self.start_slons(appliance).await?;
        }
        if boot.watchdog {
            replication::script(&appliance.watchdog_script(), &[]).await?;
        }
        if boot.services {
            for service in Service::ALL {
                self.service(appliance, service, "start").await?;
            }
        }
        Ok(())
    }

    /// Stops the clock of everything on the appliance: connections stay open and nobody answers.
    pub fn freeze(&self, appliance: &Appliance) -> Result<usize, Error> {
        let running = self.running_on(appliance)?;
        Ok(running.iter().filter(|process| signal(process.id, Signal::STOP)).count())
    }

    /// Lets everything on the appliance go on.
    pub fn thaw(&self, appliance: &Appliance) -> Result<usize, Error> {
        let running = self.running_on(appliance)?;
        Ok(running.iter().filter(|process| signal(process.id, Signal::CONT)).count())
    }
}
