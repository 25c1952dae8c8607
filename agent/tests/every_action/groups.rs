//! Availability groups against simulated instances, each a process. Where no action leads back, the instances are put back as they were.

use std::{fmt::Write as _, fs, path::Path};

use async_trait::async_trait;
use baton_model::time::Span;
use baton_sqlserver::world::group::ClusterType;
use serde_json::{Value, json};

use super::{
    action::lab::{Lab, NAMES, Shape},
    agent::Agent,
    cycle::go_through,
    row::{Outside, Row, Undo},
};

rows! {
    side by side;
    failover("mssql.ag.failover");
    force_failover("mssql.ag.force_failover");
    suspend("mssql.ag.suspend");
    resume("mssql.ag.resume");
    set_mode("mssql.ag.set_mode");
    leave("mssql.ag.leave");
    join("mssql.ag.join");
    add("mssql.ag.add");
    checks("mssql.ag.synchronized", "mssql.ag.role", "mssql.ag.sample");
}

const SHORT: Span = Span::from_secs(20);

struct Group {
    lab: Lab,
    beginning: tempfile::TempDir,
    counted: &'static str,
    /// Whose process is not there at the beginning.
    dead: Option<&'static str>,
    /// Ended, to make a check fail.
    spoilt: Option<&'static str>,
}

impl Group {
    /// As it is now, with nobody dead, is the beginning.
    async fn new(lab: Lab, counted: &'static str) -> Self {
        let group =
            Self { lab, beginning: tempfile::tempdir().expect("a directory"), counted, dead: None, spoilt: None };
        for name in NAMES {
            group.lab.kill(name);
        }
        copy(&group.lab.trial.path("world"), group.beginning.path());
        group.revive().await;
        group
    }

    async fn healthy(counted: &'static str) -> Self {
        Self::new(Lab::start(Shape::new(ClusterType::Wsfc)).await, counted).await
    }

    async fn revive(&self) {
        for name in NAMES {
            self.lab.run(name);
        }
        self.lab.well().await;
        if let Some(dead) = self.dead {
            self.lab.kill(dead);
        }
    }

    fn about(&self, name: &str, more: Value) -> Value {
        let mut params = self.lab.about(name, more);
        // A busy machine is no dead instance; of a dead one the port is closed.
        params["connection"]["connect_timeout"] = json!("15s");
        for replica in params["replicas"].as_array_mut().expect("a list") {
            replica["connect_timeout"] = json!("15s");
        }
        params
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() => copy(&entry.path(), &target),
            kind if kind.is_file() => drop(fs::copy(entry.path(), target).expect("copied")),
            _ => {}
        }
    }
}

#[async_trait]
impl Outside for Group {
    async fn picture(&self, _kept: &Path) -> String {
        let world = self.lab.control.world().expect("a world");
        let group = &world.groups["ag1"];
        let mut text = String::new();
        for name in NAMES {
            let member = &group.store.members[name];
            let _ = writeln!(
                text,
                "{name}: {:?} {:?} {:?}",
                group.replicas[name].role, member.availability, member.failover
            );
            for (database, one) in &world.servers[name].databases {
                let hadr = one.hadr.as_ref();
                let suspended = hadr.map(|hadr| hadr.suspended.is_some());
                let _ = writeln!(text, "{name} {database}: in the group {}, suspended {suspended:?}", hadr.is_some());
            }
        }
        let _ = writeln!(text, "databases: {:?}", group.store.databases.keys().collect::<Vec<_>>());
        text
    }

    fn effects(&self) -> Option<usize> {
        (!self.counted.is_empty()).then(|| self.lab.told(self.counted))
    }

    async fn undo(&self) {
        for name in NAMES {
            self.lab.kill(name);
        }
        let world = self.lab.trial.path("world");
        fs::remove_dir_all(&world).expect("removed");
        copy(self.beginning.path(), &world);
        self.revive().await;
    }

    async fn spoil(&self) {
        self.lab.kill(self.spoilt.expect("whom"));
    }
}

async fn failover(action: &'static str) {
    let group = Group::healthy("] FAILOVER").await;
    let undo = Undo::Action("mssql.ag.failover", group.about("S1", json!({})));
    go_through(&Agent::new(), &Row::changes(action, group.about("S2", json!({})), undo, &group)).await;
}

async fn force_failover(action: &'static str) {
    let mut group = Group::healthy("FORCE_FAILOVER_ALLOW_DATA_LOSS").await;
    group.dead = Some("S1");
    group.lab.kill("S1");
    let params = group.about("S3", json!({ "accept_data_loss": true }));
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &group)).await;
}

async fn suspend(action: &'static str) {
    let group = Group::healthy("SET HADR SUSPEND").await;
    let of = || group.about("S2", json!({ "databases": ["db1"] }));
    let undo = Undo::Action("mssql.ag.resume", of());
    go_through(&Agent::new(), &Row::changes(action, of(), undo, &group)).await;
}

async fn resume(action: &'static str) {
    let group = Group::healthy("SET HADR RESUME").await;
    let of = || group.about("S2", json!({ "databases": ["db1"] }));
    Agent::new().prepare("mssql.ag.suspend", &of()).await;
    let undo = Undo::Action("mssql.ag.suspend", of());
    go_through(&Agent::new(), &Row::changes(action, of(), undo, &group)).await;
}

async fn set_mode(action: &'static str) {
    let group = Group::healthy("MODIFY REPLICA").await;
    let of = |availability: &str| group.about("S3", json!({ "availability": availability }));
    let undo = Undo::Action("mssql.ag.set_mode", of("asynchronous"));
    go_through(&Agent::new(), &Row::changes(action, of("synchronous"), undo, &group)).await;
}

async fn leave(action: &'static str) {
    let group = Group::healthy("SET HADR OFF").await;
    let of = || group.about("S3", json!({ "database": "db2" }));
    let undo = Undo::Action("mssql.ag.join", of());
    go_through(&Agent::new(), &Row::changes(action, of(), undo, &group)).await;
}

async fn join(action: &'static str) {
    let group = Group::healthy("SET HADR AVAILABILITY GROUP").await;
    let of = || group.about("S3", json!({ "database": "db2" }));
    Agent::new().prepare("mssql.ag.leave", &of()).await;
    let undo = Undo::Action("mssql.ag.leave", of());
    go_through(&Agent::new(), &Row::changes(action, of(), undo, &group)).await;
}

async fn add(action: &'static str) {
    let lab = Lab::start(Shape::new(ClusterType::Wsfc)).await;
    let made = lab.control.change(|world| {
        world.create_database("S1", "db3");
        let database = world.database_mut("S1", "db3").expect("made just now");
        database.last_full_backup = Some(database.end);
    });
    made.expect("changed");
    let group = Group::new(lab, "ADD DATABASE").await;
    let params = group.about("S2", json!({ "database": "db3" }));
    go_through(&Agent::new(), &Row::changes(action, params, Undo::World, &group)).await;
}

async fn checks(synchronized: &'static str, role: &'static str, sample: &'static str) {
    let mut group = Group::healthy("").await;
    group.spoilt = Some("S2");
    go_through(&Agent::new(), &Row::checks(synchronized, group.about("S2", json!({})), SHORT, &group)).await;
    let params = group.about("S2", json!({ "is": "secondary" }));
    go_through(&Agent::new(), &Row::checks(role, params, SHORT, &group)).await;
    go_through(&Agent::new(), &Row::checks(sample, group.about("S2", json!({})), SHORT, &group)).await;
}
