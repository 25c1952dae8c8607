//! The whole truth of a world of SQL Server instances, as data, and the rules by which it changes.
//!
//! Apart and pure, so that tests step it and every process of a world computes the same: no clock, no file, no randomness
//! but the seed inside. Time and who lives come in. It must never change but through `advance` and the functions that
//! statements call.

pub mod lsn;
pub mod log;
pub mod database;
pub mod group;
pub mod cluster;
pub mod server;
pub mod fault;
pub mod options;
pub mod error;
pub mod msdb;
pub mod reach;
pub mod replication;
pub mod advance;
pub mod election;
pub mod failover;
pub mod configure;
pub mod movement;
pub mod access;

pub use error::SqlError;
pub use options::{Doubts, Options};

use cluster::Cluster;
use database::Database;
use fault::{Clients, Fault};
use group::{Group, Replica};
use log::{Guid, Log};
use serde::{Deserialize, Serialize};
use server::Server;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// Up to when it has been advanced; unix ms.
    pub clock: i64,
    /// The only source of chance.
    pub seed: u64,
    /// The next row's number in any table.
    pub next_row: u64,
    pub options: Options,
    pub doubts: Doubts,
    /// By name, as `@@SERVERNAME` says it.
    pub servers: BTreeMap<String, Server>,
    /// By name.
    pub groups: BTreeMap<String, Group>,
    /// By family.
    pub logs: BTreeMap<Guid, Log>,
    pub cluster: Option<Cluster>,
    pub faults: Vec<Fault>,
    /// Pairs of instances that cannot reach each other, in order of their names.
    pub cut: BTreeSet<(String, String)>,
    pub clients: BTreeMap<String, Clients>,
    /// Instances that refuse to start, with what they say.
    pub no_start: BTreeMap<String, String>,
    /// KB per second that a primary sends to an instance; without an entry: at once.
    pub send_limit: BTreeMap<String, u32>,
    /// KB per second that an instance redoes.
    pub redo_limit: BTreeMap<String, u32>,
}

/// How a process fares, as the others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Alive, and silent.
    Hung,
    Dead,
}

/// What comes in from outside when the world moves on.
pub type Alive = BTreeMap<String, Life>;

/// What becomes of a message from one instance to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Open,
    /// Nobody answers.
    Silent,
    /// The other end says at once that nobody is there.
    Closed,
}

impl World {
    pub fn new(seed: u64, at: i64) -> World {
        World {
            clock: at,
            seed,
            next_row: 1,
            options: Options::default(),
            doubts: Doubts::default(),
            servers: BTreeMap::new(),
            groups: BTreeMap::new(),
            logs: BTreeMap::new(),
            cluster: None,
            faults: Vec::new(),
            cut: BTreeSet::new(),
            clients: BTreeMap::new(),
            no_start: BTreeMap::new(),
            send_limit: BTreeMap::new(),
            redo_limit: BTreeMap::new(),
        }
    }

    /// The next number of the world's own chance (splitmix64).
    pub fn chance(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn guid(&mut self) -> Guid {
        let mut guid = [0; 16];
        guid[..8].copy_from_slice(&self.chance().to_be_bytes());
        guid[8..].copy_from_slice(&self.chance().to_be_bytes());
        guid[6] = guid[6] & 0x0f | 0x40;
        guid[8] = guid[8] & 0x3f | 0x80;
        guid
    }

    /// Between half and all of a duration.
    pub fn jittered(&mut self, ms: i64) -> i64 {
        let half = ms / 2;
        let chance = self.chance();
        half + i64::try_from(chance % u64::try_from(ms - half + 1).unwrap_or(1)).unwrap_or(0)
    }

    /// A server by name, in any case.
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.get(name).or_else(|| self.servers.values().find(|server| server.name.eq_ignore_ascii_case(name)))
    }

    /// The group of that name, if `instance` has a replica of it.
    pub fn group_on(&self, instance: &str, group: &str) -> Option<&Group> {
        self.groups.values().find(|one| one.name.eq_ignore_ascii_case(group) && one.replicas.contains_key(instance))
    }

    pub fn replica(&self, instance: &str, group: &str) -> Option<&Replica> {
        self.groups.get(group)?.replicas.get(instance)
    }

    pub fn replica_mut(&mut self, instance: &str, group: &str) -> Option<&mut Replica> {
        self.groups.get_mut(group)?.replicas.get_mut(instance)
    }

    pub fn database(&self, instance: &str, name: &str) -> Option<&Database> {
        self.servers.get(instance)?.databases.get(&name.to_lowercase())
    }

    pub fn database_mut(&mut self, instance: &str, name: &str) -> Option<&mut Database> {
        self.servers.get_mut(instance)?.databases.get_mut(&name.to_lowercase())
    }

    /// The copy of a group's database on an instance, if it has joined.
    pub fn copy(&self, instance: &str, group: &str, name: &str) -> Option<&Database> {
        self.database(instance, name).filter(|one| one.hadr.as_ref().is_some_and(|hadr| hadr.group == group))
    }

    pub fn copy_mut(&mut self, instance: &str, group: &str, name: &str) -> Option<&mut Database> {
        self.database_mut(instance, name).filter(|one| one.hadr.as_ref().is_some_and(|hadr| hadr.group == group))
    }

    pub fn log_of(&self, database: &Database) -> &Log {
        self.logs.get(&database.family).expect("every database has the log of its family")
    }
}
