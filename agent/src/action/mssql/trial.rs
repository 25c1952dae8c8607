//! A world of simulated instances for tests: one process each, which are this test's own program started again, so that one
//! can die in the middle of a statement.

use std::{
    net::TcpListener as StdListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use baton_sqlserver::{
    control::{Control, GroupPlan, Instance as Plan, ReplicaPlan, StatementFault, What},
    instance::{Instance, system_clock},
    listening, tds,
    world::{
        Doubts, Options, World,
        group::{ClusterType, FailoverMode, Role},
        server::Account,
    },
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::action::trial::Trial;

pub const PASSWORD: &str = "Geheim-1";
const DIRECTORY: &str = "BATON_TRIAL_DIRECTORY";
const INSTANCE: &str = "BATON_TRIAL_INSTANCE";
static LABS: AtomicU32 = AtomicU32::new(0);
const PATIENCE: Duration = Duration::from_secs(40);

/// S1 is primary, S2 synchronous, S3 asynchronous.
pub struct Shape {
    pub cluster: ClusterType,
    pub doubts: Doubts,
    pub accounts: Vec<Account>,
}

impl Shape {
    pub fn new(cluster: ClusterType) -> Self {
        Self { cluster, doubts: Doubts::default(), accounts: Vec::new() }
    }
    pub fn doubts(mut self, doubts: Doubts) -> Self {
        self.doubts = doubts;
        self
    }
}

pub const NAMES: [&str; 3] = ["S1", "S2", "S3"];

pub struct Lab {
    pub trial: Trial,
    pub control: Control,
    directory: PathBuf,
    host: String,
    processes: Mutex<Vec<(String, Child)>>,
    addresses: Vec<(String, u16)>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (_, process) in self.processes.get_mut().expect("not poisoned") {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Not a test of anything: an instance's process.
#[tokio::test]
#[ignore = "started by other tests as a process"]
async fn instance_process() {
    let (Ok(directory), Ok(name)) = (std::env::var(DIRECTORY), std::env::var(INSTANCE)) else { return };
    let stopping = CancellationToken::new();
    let instance =
        Instance::start(&PathBuf::from(directory), &name, system_clock(), stopping.clone()).expect("it starts");
    let address = instance.address().expect("an address");
    let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free");
    tokio::spawn(Arc::clone(&instance).tick());
    let options = tds::Options { encryption: tds::Encryption::None, ..tds::Options::default() };
    let _ = listening::serve(instance, listener, options, stopping).await;
}

impl Lab {
    pub async fn start(shape: Shape) -> Self {
        let trial = Trial::new();
        let directory = trial.path("world");
        // Ports that were free a moment ago, on an address that nobody else uses: every test is a process of its own.
        let number = std::process::id() * 16 + LABS.fetch_add(1, Ordering::Relaxed);
        let host = format!("127.{}.{}.{}", 10 + (number >> 16) % 200, (number >> 8) & 0xff, 1 + (number & 0xff) % 254);
        let ports = NAMES.map(|_| StdListener::bind((host.as_str(), 0)).expect("a port"));
        let addresses: Vec<(String, u16)> = NAMES
            .iter()
            .zip(&ports)
            .map(|(name, port)| ((*name).to_owned(), port.local_addr().expect("an address").port()))
            .collect();
        let mut builder = baton_sqlserver::control::WorldBuilder::new().options(Options::quick()).doubts(shape.doubts);
        for (name, port) in &addresses {
            let mut logins = shape.accounts.clone();
            logins.push(Account::administrator("baton", PASSWORD));
            let address = format!("{host}:{port}");
            builder = builder.instance_with(Plan { name: name.clone(), address, logins, ..Plan::default() });
        }
        let failover =
            if shape.cluster == ClusterType::External { FailoverMode::External } else { FailoverMode::Manual };
        let replicas = NAMES.map(|name| match name {
            "S3" => ReplicaPlan { failover, session_timeout_seconds: 2, ..ReplicaPlan::asynchronous(name) },
            _ => ReplicaPlan { failover, session_timeout_seconds: 2, ..ReplicaPlan::synchronous(name) },
        });
        let builder = builder.group(GroupPlan {
            name: "ag1".to_owned(),
            cluster: shape.cluster,
            databases: vec!["db1".to_owned(), "db2".to_owned()],
            replicas: replicas.to_vec(),
            listener: None,
            required_synchronized: 0,
        });
        let control = builder.create(&directory, system_clock()()).expect("a world");
        control.set_load("db1", 20).expect("a load");
        drop(ports);
        let lab = Self { trial, control, directory, host, processes: Mutex::default(), addresses };
        for name in NAMES {
            lab.run(name);
        }
        lab.well().await;
        lab
    }

    /// Waits until S1 leads and the others have what they should.
    pub async fn well(&self) {
        self.until("all is well", |world| {
            let group = &world.groups["ag1"];
            let moves = |name: &str| {
                let copies = ["db1", "db2"].map(|database| world.copy(name, "ag1", database));
                copies
                    .iter()
                    .all(|copy| copy.and_then(|copy| copy.hadr.as_ref()).is_some_and(|hadr| hadr.movement.moves()))
            };
            let answers = NAMES.iter().all(|name| {
                let port = self.port(name);
                std::net::TcpStream::connect((self.host.as_str(), port)).is_ok()
            });
            answers
                && group.replicas["S1"].leads()
                && moves("S2")
                && moves("S3")
                && group.replicas["S1"].known.all_ready("S2")
        })
        .await;
    }

    fn port(&self, name: &str) -> u16 {
        self.addresses.iter().find(|(other, _)| other == name).expect("an instance of this lab").1
    }

    /// Starts an instance's process.
    pub fn run(&self, name: &str) {
        self.processes
            .lock()
            .expect("not poisoned")
            .retain_mut(|(other, process)| other != name || process.try_wait().ok().flatten().is_none());
        let program = std::env::current_exe().expect("this program");
        // This module is not everywhere at the same place.
        let (_, here) = module_path!().split_once("::").expect("below a crate");
        let process = Command::new(program)
            .args([&format!("{here}::instance_process"), "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, &self.directory)
            .env(INSTANCE, name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        self.processes.lock().expect("not poisoned").push((name.to_owned(), process));
    }

    /// SIGKILL.
    pub fn kill(&self, name: &str) {
        self.processes.lock().expect("not poisoned").retain_mut(|(other, process)| {
            if other == name {
                let _ = process.kill();
                let _ = process.wait();
            }
            other != name
        });
    }

    /// Waits until its process has ended by itself, and starts it again.
    pub async fn revive(&self, name: &str) {
        let lives = || {
            let mut all = self.processes.lock().expect("not poisoned");
            all.iter_mut().any(|(other, process)| other == name && process.try_wait().is_ok_and(|end| end.is_none()))
        };
        while lives() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.run(name);
    }

    /// Once, to a statement with these words, on this instance.
    pub fn mishap(&self, instance: &str, statement: &str, what: What) {
        let fault = StatementFault {
            instance: Some(instance.to_owned()),
            statement: statement.to_owned(),
            times: Some(1),
            what,
        };
        self.control.add_fault(fault).expect("added");
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&World) -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let world = self.control.world().expect("a world");
            if holds(&world) {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{what}: waited in vain: {:?}", world.groups);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn role(&self, name: &str) -> Role {
        self.control.world().expect("a world").groups["ag1"].replicas[name].role
    }

    /// How often any instance was told these words by anybody.
    pub fn told(&self, words: &str) -> usize {
        let words = words.to_lowercase();
        NAMES
            .iter()
            .flat_map(|name| self.control.received(name))
            .filter(|received| received.text.to_lowercase().contains(&words))
            .count()
    }

    pub fn connection(&self, name: &str) -> Value {
        json!({ "kind": "sqlserver", "host": self.host, "port": self.port(name), "database": "master", "user": "baton",
            "password": PASSWORD, "server_name": name, "connect_timeout": "2s" })
    }

    /// Parameters of an action on the group about this instance, with more.
    pub fn about(&self, name: &str, more: Value) -> Value {
        let replicas: Vec<Value> = self.addresses.iter().map(|(name, _)| self.connection(name)).collect();
        let mut params = json!({ "group": "ag1", "connection": self.connection(name), "replicas": replicas });
        for (key, value) in more.as_object().into_iter().flatten() {
            params[key] = value.clone();
        }
        params
    }
}
