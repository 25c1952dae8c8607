//! A world of real processes for one case, and how it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use baton_sqlserver::control::{Control, GroupPlan, ReplicaPlan, Shipping, WorldBuilder};
use baton_sqlserver::instance::system_clock;
use baton_sqlserver::world::group::{Availability, ClusterType, FailoverMode};
use baton_sqlserver::world::{Doubts, Options, SqlError};
use serde_json::Value as Json;

use crate::clients::{Answer, Client, Failure, Target, run};

pub const PASSWORD: &str = "Simulated-1";
const DEADLINE: Duration = Duration::from_secs(30);

/// What a case stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// S1 primary, S2 synchronous with automatic failover, S3 asynchronous.
    Wsfc,
    /// The same without automatic failover.
    Manual,
    External,
    NoCluster,
    /// P ships mgc to L.
    Shipping,
    /// The same in STANDBY.
    Standby,
}

pub struct Site {
    pub client: Client,
    pub doubts: Doubts,
    pub control: Control,
    /// Before the directory, so that they end before it is removed.
    processes: Mutex<BTreeMap<String, Process>>,
    directory: tempfile::TempDir,
    addresses: BTreeMap<String, SocketAddr>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address of this world's instance alone, on the port that everybody knows.
fn address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let process = std::process::id();
    let next = NEXT.fetch_add(1, Ordering::SeqCst);
    let bytes =
        [127, 192 + (process / 250 % 32) as u8, (process % 250) as u8, u8::try_from(next % 250 + 1).unwrap_or(1)];
    (bytes, 1433 + next / 250).into()
}

fn plan(kind: Kind) -> Option<GroupPlan> {
    let external = |name: &str, mode| ReplicaPlan::new(name, mode, FailoverMode::External);
    let (cluster, replicas) = match kind {
        Kind::Wsfc => (
            ClusterType::Wsfc,
            vec![ReplicaPlan::automatic("S1"), ReplicaPlan::automatic("S2"), ReplicaPlan::asynchronous("S3")],
        ),
        Kind::Manual => (
            ClusterType::Wsfc,
            vec![ReplicaPlan::synchronous("S1"), ReplicaPlan::synchronous("S2"), ReplicaPlan::asynchronous("S3")],
        ),
        Kind::External => (
            ClusterType::External,
            vec![
                external("S1", Availability::Synchronous),
                external("S2", Availability::Synchronous),
                external("S3", Availability::Asynchronous),
            ],
        ),
        Kind::NoCluster => (
            ClusterType::None,
            vec![ReplicaPlan::synchronous("S1"), ReplicaPlan::synchronous("S2"), ReplicaPlan::asynchronous("S3")],
        ),
        Kind::Shipping | Kind::Standby => return None,
    };
    let databases = vec!["db1".to_owned(), "db2".to_owned()];
    Some(GroupPlan { name: "ag1".into(), cluster, databases, replicas, listener: None, required_synchronized: 0 })
}

impl Site {
    pub fn create(client: Client, doubts: Doubts, kind: Kind) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = WorldBuilder::new().options(Options::quick()).doubts(doubts.clone());
        let names: &[&str] = if plan(kind).is_some() { &["S1", "S2", "S3"] } else { &["P", "L"] };
        let mut addresses = BTreeMap::new();
        for name in names {
            let address = address();
            builder = builder.instance(name, &address.to_string(), PASSWORD);
            addresses.insert((*name).to_owned(), address);
        }
        match plan(kind) {
            Some(group) => builder = builder.group(group),
            None => {
                let place = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
                builder = builder.shipping(Shipping {
                    primary: "P".into(),
                    secondary: "L".into(),
                    database: "mgc".into(),
                    share: place("share"),
                    destination: place("copied"),
                    standby: kind == Kind::Standby,
                });
            }
        }
        let control = builder.create(&directory.path().join("world"), system_clock()()).unwrap();
        let site = Site { client, doubts, control, directory, addresses, processes: Mutex::new(BTreeMap::new()) };
        for name in names {
            site.start(name);
        }
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn start(&self, instance: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_baton-sqlserver"))
            .arg("--directory")
            .arg(self.directory.path().join("world"))
            .args(["--instance", instance])
            .env("BATON_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready "), "{instance} said {line:?}");
        self.processes.lock().unwrap().insert(instance.to_owned(), Process(child));
    }

    /// SIGKILL.
    pub fn kill(&self, instance: &str) {
        self.processes.lock().unwrap().remove(instance);
    }

    pub fn target(&self, instance: &str) -> Target {
        Target::new(self.addresses[instance], "sa", PASSWORD)
    }

    /// One connection of the case's client, one statement after the other.
    pub async fn say(&self, instance: &str, statements: &[&str]) -> Vec<Result<Answer, Failure>> {
        run(self.client, &self.target(instance), statements.iter().copied()).await.unwrap()
    }

    /// The last of the statements, through the case's client, ends with these errors; none: it succeeds.
    pub async fn expect(&self, instance: &str, statements: &[&str], errors: &[i32]) {
        let last = self.say(instance, statements).await.pop().unwrap();
        self.check(&last, errors, statements);
    }

    pub fn check(&self, outcome: &Result<Answer, Failure>, errors: &[i32], of: &[&str]) {
        let classed: Vec<(i32, u8)> =
            errors.iter().map(|number| (*number, SqlError::new(*number, &[]).class)).collect();
        let expected = self.client.shown(&classed);
        let seen = match outcome {
            Ok(_) => Vec::new(),
            Err(failure) => failure.numbers(),
        };
        assert_eq!(seen, expected, "{:?}: {of:?}: {outcome:?}", self.client);
    }

    /// What an instance answers, a line a row, NULL as a dash; `None` where it does not answer.
    pub async fn see(&self, instance: &str, sql: &str) -> Option<Vec<String>> {
        tokio::net::TcpStream::connect(self.addresses[instance]).await.ok()?;
        let answers = run(Client::Tiberius, &self.target(instance), [sql]).await.ok()?;
        let answer = answers.into_iter().next()?.ok()?;
        let write = |value: &Json| match value {
            Json::Null => "-".to_owned(),
            Json::Bool(bit) => u8::from(*bit).to_string(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        let rows = answer.sets.first().map(|set| set.rows.clone()).unwrap_or_default();
        Some(rows.iter().map(|row| row.iter().map(write).collect::<Vec<_>>().join(" ")).collect())
    }

    pub async fn until(&self, instance: &str, sql: &str, expected: &[&str]) {
        let begin = Instant::now();
        loop {
            let seen = self.see(instance, sql).await;
            if seen.as_ref().is_some_and(|seen| seen == expected) {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "{instance}: {sql} is not {expected:?} but {seen:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

/// Role and operational state of the local replica.
pub const ROLE: &str = "SELECT role, operational_state FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1";

/// Local copies: name, synchronization_state, is_suspended, suspend_reason, database_state.
pub const COPIES: &str = "SELECT c.database_name, d.synchronization_state, d.is_suspended, d.suspend_reason, d.database_state \
     FROM sys.dm_hadr_database_replica_states d \
     JOIN sys.availability_databases_cluster c ON c.group_database_id = d.group_database_id \
     WHERE d.is_local = 1 ORDER BY c.database_name";
