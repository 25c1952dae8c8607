//! An agent of the simulation: put together as `baton-agent` does it, over simulated doors.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use baton_agent::{
    executor::{self, Executor, crash::Crash},
    guard::{self, Post},
    host::Host,
    journal::Journal,
    policy::Policy,
    secrets::SecretStore,
    session,
    watchdog::Watchdog,
};
use baton_platform::{
    address::Address,
    backoff::BackoffOptions,
    random::Random,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use tokio_util::sync::CancellationToken;

use crate::{clock::MachineClock, deed::Doors, disk::Disk, network::Network};

const POLICY: &str = "services = ['*']\nprograms = ['/sim/*']\npaths = ['/sim/*']\ndatabases = ['*']";

/// What one life of an agent is given.
pub struct Agent {
    pub doors: Doors,
    pub clock: MachineClock,
    pub disk: Disk,
    pub network: Network,
    pub node: usize,
    pub tls: Arc<ReloadableTls>,
    pub crash: Arc<dyn Crash>,
    pub directory: PathBuf,
    pub coordinators: Vec<Address>,
    pub seed: u64,
    /// In which life of the machine this is, and whether an agent has run in it before.
    pub machine: String,
    pub rebooted: bool,
}

impl Agent {
    /// Until its journal is broken.
    pub async fn run(self) -> Result<(), String> {
        let life = self.doors.life.clone();
        let clock = Arc::new(self.clock.clone());
        let mut journal = Journal::open_backend(self.disk.open(&life)).map_err(|error| error.to_string())?;
        let now_ms = baton_platform::clock::Clock::boot_ms(clock.as_ref());
        journal.begin_waiting_on(&self.machine, self.rebooted, now_ms).map_err(|error| error.to_string())?;
        let post = Post::new(clock.clone(), journal.ledger());
        let random = Random::from_seed(self.seed);
        let policy = Policy::parse(&self.directory.join("policy.toml"), POLICY).map_err(|error| error.to_string())?;
        let host = Host { respondent: Some(Arc::new(self.doors.clone())), ..Host::default() };
        let options = executor::Options {
            host_name: self.doors.host.parse().map_err(|error| format!("{error}"))?,
            state_directory: self.directory.clone(),
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            secrets: Arc::new(SecretStore::new(Default::default())),
            host,
            clock: clock.clone(),
            tasks_max: 8,
            observations_max: 8,
            bind: self.doors.bind(),
            crash: self.crash.clone(),
            post: post.clone(),
        };
        let (executor, handle) = Executor::new(options.clone(), journal);
        let stop = CancellationToken::new();
        let watchdog = Watchdog::over(Box::new(self.doors.clone()));
        let guarding = guard::Options { perform: options, executor: handle.clone(), random: random.fork(), watchdog };
        tokio::spawn(guard::run(guarding, post.clone(), CancellationToken::new()));
        let connector =
            Connector::new(self.network.dialler(self.node, &life), self.tls.clone(), ConnectOptions::default());
        let session = session::Options {
            connector,
            clock,
            boot: format!("{:016x}", random.next_u64()),
            random,
            backoff: BackoffOptions::default(),
            cluster: String::new(),
            heartbeat_max: Duration::from_secs(10),
            state_directory: self.directory.clone(),
            post: post.clone(),
        };
        for address in &self.coordinators {
            tokio::spawn(session::hold(session.clone(), address.clone(), handle.clone(), stop.clone()));
        }
        drop(handle);
        let ended = executor.run(stop.clone()).await;
        stop.cancel();
        // As the program: without its journal it ends when nothing exclusive runs here any more.
        if ended.is_err() {
            guard::until_harmless(&post).await;
        }
        ended.map_err(|error| error.to_string())
    }
}
