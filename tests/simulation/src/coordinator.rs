//! A coordinator of the simulation: the whole node, over a simulated network, clock and disk.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use baton_coordinator::{
    config::{Config, Delivery, Member, Raft},
    node,
    replica::Witness,
};
use baton_log::Storage;
use baton_platform::tls::{ConnectOptions, Connector, ReloadableTls};
use tokio_util::sync::CancellationToken;

use crate::{clock::MachineClock, disk::Disk, life::Life, network::Network};

pub const NAMES: [&str; 3] = ["c1", "c2", "c3"];
pub const PORT: u16 = 7400;

/// What one life of a coordinator is given.
pub struct Coordinator {
    pub life: Arc<Life>,
    pub clock: MachineClock,
    pub disk: Disk,
    pub network: Network,
    pub node: usize,
    pub tls: Arc<ReloadableTls>,
    pub witness: Arc<dyn Witness>,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
}

impl Coordinator {
    fn config(&self) -> Config {
        let member = |name: &&str| Member { name: (*name).to_owned(), address: format!("{name}:{PORT}") };
        let members: BTreeMap<String, Member> =
            NAMES.iter().enumerate().map(|(at, name)| ((at + 1).to_string(), member(name))).collect();
        let id = NAMES.iter().position(|name| *name == self.life.name).expect("its name is one of them") + 1;
        Config {
            cluster: "simulated".to_owned(),
            id: id as u64,
            listen: ([10, 0, 0, 1], PORT).into(),
            identity: PathBuf::new(),
            data: PathBuf::new(),
            members,
            raft: Raft {
                heartbeat_ms: 250,
                election_min_ms: 700,
                election_max_ms: 1_100,
                snapshot_every: self.snapshot_every,
            },
            delivery: Delivery { heartbeat_ms: 1_000, unreachable_after_ms: 4_000 },
            http: None,
        }
    }

    pub async fn run(self) -> Result<(), String> {
        let dial = self.network.dialler(self.node, &self.life);
        let world = node::World {
            clock: Arc::new(self.clock.clone()),
            connector: Connector::new(dial.clone(), self.tls.clone(), ConnectOptions::default()),
            tls: self.tls.clone(),
            dial,
            listener: self.network.listen(self.node, &self.life),
            storage: Storage::backend(self.disk.open(&self.life)).inline_commit(),
            pages: None,
            witness: Some(self.witness.clone()),
        };
        let bootstrap = self.life.name == NAMES[0];
        node::run(self.config(), world, bootstrap, CancellationToken::new()).await.map_err(|error| format!("{error:#}"))
    }
}
