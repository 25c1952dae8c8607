//! One process of an installation that something befell: how it ends, what it says then, and its unit that starts it again.
//!
//! Apart from the stories, because all of them ask the same: did it say what an operator must know? It must never look away from a process that
//! ended although nothing befell it.

use std::{fs, process::ExitStatus};

use rustix::process::{Pid, Resource, Rlimit};

use crate::{World, eventually};

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party<'a> {
    Coordinator(usize),
    Agent(&'a str),
}

impl Party<'_> {
    /// All that it has logged since it was made.
    pub fn log(self, world: &World) -> String {
        let path = match self {
            Party::Coordinator(number) => world.cluster.coordinator_log(number).to_owned(),
            Party::Agent(host) => world.cluster.agent_directory(host).join("log"),
        };
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Waits for a line of its log, after this many bytes, that has all of these words. Returns it.
    pub fn says(self, world: &World, after: usize, words: &[&str]) -> String {
        eventually(&format!("{self:?} says {words:?}"), || {
            let log = self.log(world);
            let said = log[after.min(log.len())..].lines().find(|line| words.iter().all(|word| line.contains(word)));
            said.map(str::to_owned).ok_or_else(|| log.lines().rev().take(5).collect::<Vec<_>>().join("\n"))
        })
    }

    /// How it ended by itself, if it has.
    pub fn ended(self, world: &mut World) -> Option<ExitStatus> {
        match self {
            Party::Coordinator(number) => world.cluster.coordinator_ended(number),
            Party::Agent(host) => world.cluster.agent_ended(host),
        }
    }

    pub fn start(self, world: &mut World) {
        let (cluster, registry) = (&mut world.cluster, &world.registry);
        match self {
            Party::Coordinator(number) => cluster.start_coordinator(registry, number).expect("started"),
            Party::Agent(host) => cluster.start_agent(registry, host).expect("started"),
        }
    }

    pub fn kill(self, world: &mut World) {
        match self {
            Party::Coordinator(number) => world.cluster.kill_coordinator(number),
            Party::Agent(host) => world.cluster.kill_agent(host),
        }
    }

    /// SIGTERM, as a unit is stopped, and waits.
    pub fn stop(self, world: &mut World) -> ExitStatus {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stopped = runtime.block_on(async {
            match self {
                Party::Coordinator(number) => world.cluster.stop_coordinator(number).await,
                Party::Agent(host) => world.cluster.stop_agent(host).await,
            }
        });
        stopped.expect("it runs")
    }

    /// Waits until it has ended by itself, in failure; its last line, which must have all of these words.
    pub fn ends_saying(self, world: &mut World, words: &[&str]) -> String {
        let status = eventually(&format!("{self:?} ends by itself"), || {
            let log = self.log(world);
            self.ended(world).ok_or_else(|| log.lines().rev().take(3).collect::<Vec<_>>().join("\n"))
        });
        let log = self.log(world);
        assert!(status.code().is_some_and(|code| code != 0), "{self:?} {status:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
        let last = log.lines().last().unwrap_or_default().to_owned();
        for word in words {
            assert!(last.contains(word), "no {word:?} in the last word of {self:?}: {last}");
        }
        last
    }

    /// Started as by its unit while nothing has changed: it ends again, and says the same.
    pub fn ends_again_saying(self, world: &mut World, words: &[&str]) -> String {
        self.start(world);
        self.ends_saying(world, words)
    }

    /// How many files it may have open from now on, and how many before.
    pub fn limit_files(self, world: &World, limit: u64) -> u64 {
        let process = self.process(world);
        let now = Rlimit { current: Some(limit), maximum: None };
        // A soft limit alone, so that it can be lifted again.
        let (_, maximum) = limits(process);
        let before = rustix::process::prlimit(Pid::from_raw(process), Resource::Nofile, Rlimit { maximum, ..now });
        before.expect("its limit is set").current.unwrap_or(u64::MAX)
    }

    /// How many files it has open.
    pub fn open_files(self, world: &World) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process(world))).expect("it runs").count()
    }

    /// Its number, while it runs.
    pub fn process(self, world: &World) -> i32 {
        let process = match self {
            Party::Coordinator(number) => world.cluster.coordinator_process(number),
            Party::Agent(host) => world.cluster.agent_process(host),
        };
        process.filter(|process| process.alive()).expect("it runs").pid
    }
}

/// Soft and hard.
fn limits(process: i32) -> (Option<u64>, Option<u64>) {
    let text = fs::read_to_string(format!("/proc/{process}/limits")).expect("it runs");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a limit of open files");
    let mut numbers = line.split_whitespace().skip(3).map(|word| word.parse().ok());
    (numbers.next().flatten(), numbers.next().flatten())
}
