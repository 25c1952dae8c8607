//! How tests and labs make worlds, break them, and learn the truth about them.
//!
//! Apart from what clients may see: this is the only door through which the truth leaves a world. It must never run inside an
//! instance's process.

use crate::answer::Value;
use crate::directory::{Directory, DirectoryError};
use crate::world::cluster::Cluster;
use crate::world::database::{Membership, Movement, Times};
use crate::world::fault::{Clients, Fault};
use crate::world::group::{
    Availability, ClusterType, Config, FailoverMode, Group, Listener, Member, Operational, Replica, Role,
};
use crate::world::server::{Account, Server};
use crate::world::{Alive, Doubts, Life, Options, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

mod shipping;
pub mod stage;

pub use crate::world::fault::{Fault as StatementFault, What};
pub use crate::world::server::Right;
pub use shipping::{Shipping, ShippingJob, run_job};

/// A world as it should begin; also the shape of the file that `--create` reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct WorldBuilder {
    pub seed: u64,
    pub options: Options,
    pub doubts: Doubts,
    pub instances: Vec<Instance>,
    pub groups: Vec<GroupPlan>,
    pub shipping: Vec<Shipping>,
}

impl Default for WorldBuilder {
    fn default() -> WorldBuilder {
        WorldBuilder {
            seed: 1,
            options: Options::default(),
            doubts: Doubts::default(),
            instances: Vec::new(),
            groups: Vec::new(),
            shipping: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    pub name: String,
    /// `host:port`.
    pub address: String,
    pub version: u16,
    pub force_encryption: bool,
    pub agent_running: bool,
    /// Databases outside of groups.
    pub databases: Vec<String>,
    pub logins: Vec<Account>,
}

impl Default for Instance {
    fn default() -> Instance {
        Instance {
            name: String::new(),
            address: String::new(),
            version: 16,
            force_encryption: false,
            agent_running: true,
            databases: Vec::new(),
            logins: Vec::new(),
        }
    }
}

/// An availability group; its first replica begins as the primary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupPlan {
    pub name: String,
    pub cluster: ClusterType,
    pub databases: Vec<String>,
    pub replicas: Vec<ReplicaPlan>,
    #[serde(default)]
    pub listener: Option<Listener>,
    #[serde(default)]
    pub required_synchronized: i32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplicaPlan {
    pub instance: String,
    pub availability: Availability,
    pub failover: FailoverMode,
    /// 0 nobody, 1 with read-only intent, 2 everybody.
    pub secondary_allow: u8,
    pub session_timeout_seconds: i32,
    pub routing_list: Vec<String>,
}

impl ReplicaPlan {
    pub fn new(instance: &str, availability: Availability, failover: FailoverMode) -> ReplicaPlan {
        ReplicaPlan {
            instance: instance.to_owned(),
            availability,
            failover,
            secondary_allow: 2,
            session_timeout_seconds: 10,
            routing_list: Vec::new(),
        }
    }

    pub fn synchronous(instance: &str) -> ReplicaPlan {
        ReplicaPlan::new(instance, Availability::Synchronous, FailoverMode::Manual)
    }

    pub fn automatic(instance: &str) -> ReplicaPlan {
        ReplicaPlan::new(instance, Availability::Synchronous, FailoverMode::Automatic)
    }

    pub fn asynchronous(instance: &str) -> ReplicaPlan {
        ReplicaPlan::new(instance, Availability::Asynchronous, FailoverMode::Manual)
    }
}

impl WorldBuilder {
    pub fn new() -> WorldBuilder {
        WorldBuilder::default()
    }

    #[must_use]
    pub fn seed(mut self, seed: u64) -> WorldBuilder {
        self.seed = seed;
        self
    }

    #[must_use]
    pub fn options(mut self, options: Options) -> WorldBuilder {
        self.options = options;
        self
    }

    #[must_use]
    pub fn doubts(mut self, doubts: Doubts) -> WorldBuilder {
        self.doubts = doubts;
        self
    }

    /// An instance with the login `sa`.
    #[must_use]
    pub fn instance(self, name: &str, address: &str, password: &str) -> WorldBuilder {
        self.instance_with(Instance {
            name: name.to_owned(),
            address: address.to_owned(),
            logins: vec![Account::administrator("sa", password)],
            ..Instance::default()
        })
    }

    #[must_use]
    pub fn instance_with(mut self, instance: Instance) -> WorldBuilder {
        self.instances.push(instance);
        self
    }

    /// One more login on every instance named so far.
    #[must_use]
    pub fn login(mut self, account: &Account) -> WorldBuilder {
        for instance in &mut self.instances {
            instance.logins.push(account.clone());
        }
        self
    }

    #[must_use]
    pub fn group(mut self, group: GroupPlan) -> WorldBuilder {
        self.groups.push(group);
        self
    }

    #[must_use]
    pub fn shipping(mut self, shipping: Shipping) -> WorldBuilder {
        self.shipping.push(shipping);
        self
    }

    /// The world at `now`: all instances run, all is synchronized that can be.
    pub fn build(&self, now: i64) -> World {
        let begin = now - 60_000;
        let mut world = World::new(self.seed, begin);
        world.options = self.options.clone();
        world.doubts = self.doubts.clone();
        for plan in &self.instances {
            let mut server = Server::new(&plan.name, &plan.address, begin);
            server.version = plan.version;
            server.force_encryption = plan.force_encryption;
            server.agent_running = plan.agent_running;
            server.logins = plan.logins.iter().map(|account| (account.name.to_lowercase(), account.clone())).collect();
            world.servers.insert(plan.name.clone(), server);
            for database in
                ["master", "tempdb", "model", "msdb"].into_iter().chain(plan.databases.iter().map(String::as_str))
            {
                world.create_database(&plan.name, database);
            }
        }
        if self.groups.iter().any(|group| group.cluster == ClusterType::Wsfc) {
            let mut nodes: Vec<&str> = world.servers.values().map(|server| server.node.as_str()).collect();
            nodes.dedup();
            world.cluster = Some(Cluster::of_nodes("cluster", nodes.into_iter()));
        }
        for group in &self.groups {
            add_group(&mut world, group);
        }
        let alive: Alive = world.servers.keys().map(|name| (name.clone(), Life::Running)).collect();
        let mut at = begin;
        while at < now {
            at = (at + 250).min(now);
            world.advance(at, &alive);
        }
        for shipping in &self.shipping {
            shipping::establish(&mut world, shipping);
        }
        world
    }

    /// Writes the world into a directory; its processes can start.
    pub fn create(&self, directory: &Path, now: i64) -> Result<Control, DirectoryError> {
        let control = Control { directory: Directory::new(directory) };
        control.directory.create(&self.build(now))?;
        Ok(control)
    }
}

fn add_group(world: &mut World, plan: &GroupPlan) {
    let at = world.clock;
    let id = world.guid();
    let mut config = Config {
        sequence: 1 << 32 | 1,
        required_synchronized: plan.required_synchronized,
        health_check_timeout_ms: 30_000,
        failure_condition_level: 3,
        backup_preference: 2,
        ..Config::default()
    };
    for (number, replica) in (1..).zip(&plan.replicas) {
        let server = &world.servers[&replica.instance];
        let host = server.address.split(':').next().unwrap_or("127.0.0.1").to_owned();
        let routing_url = Some(format!("TCP://{}", server.address));
        let member = Member {
            id: world.guid(),
            metadata_id: 65_535 + number,
            endpoint: format!("TCP://{host}:5022"),
            availability: replica.availability,
            failover: replica.failover,
            session_timeout_seconds: replica.session_timeout_seconds,
            primary_allow: 2,
            secondary_allow: replica.secondary_allow,
            created: at,
            modified: at,
            backup_priority: 50,
            routing_url,
            routing_list: replica.routing_list.clone(),
            seeding_manual: true,
        };
        config.members.insert(replica.instance.clone(), member);
    }
    let primary = plan.replicas[0].instance.clone();
    for name in &plan.databases {
        let database_id = world.guid();
        config.databases.insert(name.clone(), database_id);
        if world.database(&primary, name).is_none() {
            world.create_database(&primary, name);
        }
        let database = world.database_mut(&primary, name).expect("it was just made");
        database.last_full_backup = Some(database.end);
        database.log_backed_up_to = Some(database.end);
        database.hadr = Some(Membership {
            group: plan.name.clone(),
            database: database_id,
            movement: Movement::NotSynchronizing,
            suspended: None,
            recovery: database.end,
            times: Times::default(),
        });
        let source = database.clone();
        for replica in &plan.replicas[1..] {
            let server = world.servers.get_mut(&replica.instance).expect("replicas stand on instances of this world");
            let mut copy = source.clone();
            copy.id = server.next_database_id();
            server.databases.insert(name.to_lowercase(), copy);
        }
    }
    let mut replicas = BTreeMap::new();
    for replica in &plan.replicas {
        let mut made = Replica::new(config.clone());
        made.primary = Some(primary.clone());
        if replica.instance == primary {
            made.role = Role::Primary;
            made.operational = Operational::Online;
        }
        replicas.insert(replica.instance.clone(), made);
    }
    let group = Group {
        id,
        name: plan.name.clone(),
        cluster: plan.cluster,
        replicas,
        owner: (plan.cluster == ClusterType::Wsfc).then_some(primary),
        store: config,
        leaderless_since: None,
        listener: plan.listener.clone(),
    };
    world.groups.insert(plan.name.clone(), group);
}

/// A world that exists, from outside.
#[derive(Debug, Clone)]
pub struct Control {
    directory: Directory,
}

/// A request that an instance received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    pub at: i64,
    pub spid: u16,
    pub login: String,
    pub application: String,
    pub text: String,
    /// Parameters, the first of them the declaration.
    pub values: Vec<String>,
}

impl Control {
    pub fn open(directory: &Path) -> Control {
        Control { directory: Directory::new(directory) }
    }

    /// The world as it was last written.
    pub fn world(&self) -> Result<World, DirectoryError> {
        let _lock = self.directory.lock()?;
        Ok(self.directory.load()?.1)
    }

    /// Changes anything. Time does not move.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> Result<T, DirectoryError> {
        let _lock = self.directory.lock()?;
        let (_, mut world) = self.directory.load()?;
        let given = change(&mut world);
        self.directory.save(&world)?;
        Ok(given)
    }

    pub fn add_fault(&self, fault: Fault) -> Result<(), DirectoryError> {
        self.change(|world| world.faults.push(fault))
    }

    /// Takes away every fault: of statements, links, clients, quorum, speed and start.
    pub fn heal(&self) -> Result<(), DirectoryError> {
        self.change(|world| {
            world.faults.clear();
            world.cut.clear();
            world.clients.clear();
            world.no_start.clear();
            world.send_limit.clear();
            world.redo_limit.clear();
            if let Some(cluster) = &mut world.cluster {
                cluster.lost = false;
                for member in &mut cluster.members {
                    member.up = true;
                }
            }
        })
    }

    pub fn cut_link(&self, one: &str, other: &str) -> Result<(), DirectoryError> {
        self.change(|world| world.cut_link(one, other))
    }

    pub fn mend_link(&self, one: &str, other: &str) -> Result<(), DirectoryError> {
        self.change(|world| world.mend_link(one, other))
    }

    pub fn set_clients(&self, instance: &str, clients: Clients) -> Result<(), DirectoryError> {
        self.change(|world| {
            world.clients.insert(instance.to_owned(), clients);
        })
    }

    pub fn set_quorum_lost(&self, lost: bool) -> Result<(), DirectoryError> {
        self.change(|world| {
            if let Some(cluster) = &mut world.cluster {
                cluster.lost = lost;
            }
        })
    }

    /// KB per second from the primary to this instance; `None`: at once.
    pub fn set_send_limit(&self, instance: &str, limit: Option<u32>) -> Result<(), DirectoryError> {
        self.change(|world| match limit {
            Some(limit) => world.send_limit.insert(instance.to_owned(), limit),
            None => world.send_limit.remove(instance),
        })
        .map(|_| ())
    }

    pub fn set_redo_limit(&self, instance: &str, limit: Option<u32>) -> Result<(), DirectoryError> {
        self.change(|world| match limit {
            Some(limit) => world.redo_limit.insert(instance.to_owned(), limit),
            None => world.redo_limit.remove(instance),
        })
        .map(|_| ())
    }

    /// Records per second that are written to a database wherever it is writable.
    pub fn set_load(&self, database: &str, records_per_second: u32) -> Result<(), DirectoryError> {
        self.change(|world| {
            world.options.load.insert(database.to_owned(), records_per_second);
        })
    }

    /// The instance refuses to start, and says why.
    pub fn set_no_start(&self, instance: &str, reason: Option<&str>) -> Result<(), DirectoryError> {
        self.change(|world| match reason {
            Some(reason) => world.no_start.insert(instance.to_owned(), reason.to_owned()),
            None => world.no_start.remove(instance),
        })
        .map(|_| ())
    }

    /// Every living instance that calls itself primary.
    pub fn primaries(&self, group: &str) -> Result<Vec<String>, DirectoryError> {
        let world = self.world()?;
        let alive = self.directory.alive(&world, None);
        let found = world.groups.get(group).map(|group| &group.replicas);
        Ok(found
            .into_iter()
            .flatten()
            .filter(|(name, replica)| replica.leads() && world.runs(&alive, name))
            .map(|(name, _)| name.clone())
            .collect())
    }

    /// The rows that an instance's copy of a table holds: hardened, whether redone or not.
    pub fn rows(&self, instance: &str, database: &str, table: &str) -> Result<Vec<Vec<Value>>, DirectoryError> {
        let world = self.world()?;
        let Some(copy) = world.database(instance, database) else { return Ok(Vec::new()) };
        let tables = world.log_of(copy).tables(copy.fork, copy.end);
        Ok(tables.get(&table.to_lowercase()).map(|table| table.rows.values().cloned().collect()).unwrap_or_default())
    }

    /// What clients asked of an instance, in order.
    pub fn received(&self, instance: &str) -> Vec<Received> {
        let text = std::fs::read_to_string(self.directory.statement_log(instance)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Everything, for eyes.
    pub fn dump(&self) -> Result<String, DirectoryError> {
        Ok(format!("{:#?}", self.world()?))
    }
}
