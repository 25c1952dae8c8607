//! The rules of groups and queries, on a stage whose clock the test moves.

mod faults;
mod groups;
mod queries;
mod shipping;

use baton_sqlserver::control::stage::Stage;
use baton_sqlserver::control::{GroupPlan, ReplicaPlan, WorldBuilder};
use baton_sqlserver::world::group::{Availability, ClusterType, FailoverMode};
use baton_sqlserver::world::server::{Account, Right};
use baton_sqlserver::world::{Doubts, Options};

/// 2026-11-21, some time.
pub const NOW: i64 = 1_795_230_000_000;

/// S1 primary, S2 synchronous, S3 asynchronous; ag1 with db1 and db2.
pub fn three(cluster: ClusterType, doubts: Doubts) -> Stage {
    let (first, second) = match cluster {
        ClusterType::Wsfc => (ReplicaPlan::automatic("S1"), ReplicaPlan::automatic("S2")),
        ClusterType::None => (ReplicaPlan::synchronous("S1"), ReplicaPlan::synchronous("S2")),
        ClusterType::External => (
            ReplicaPlan::new("S1", Availability::Synchronous, FailoverMode::External),
            ReplicaPlan::new("S2", Availability::Synchronous, FailoverMode::External),
        ),
    };
    let third = match cluster {
        ClusterType::External => ReplicaPlan::new("S3", Availability::Asynchronous, FailoverMode::External),
        _ => ReplicaPlan::asynchronous("S3"),
    };
    let world = WorldBuilder::new()
        .options(Options::quick())
        .doubts(doubts)
        .instance("S1", "127.0.0.1:11", "secret")
        .instance("S2", "127.0.0.1:12", "secret")
        .instance("S3", "127.0.0.1:13", "secret")
        .login(&Account::with_rights("watcher", "pw", &[Right::ViewServerState, Right::ViewAnyDefinition]))
        .login(&Account::with_rights("nobody", "pw", &[]))
        .group(GroupPlan {
            name: "ag1".into(),
            cluster,
            databases: vec!["db1".into(), "db2".into()],
            replicas: vec![first, second, third],
            listener: None,
            required_synchronized: 0,
        })
        .build(NOW);
    Stage::new(world)
}

pub fn wsfc() -> Stage {
    three(ClusterType::Wsfc, Doubts::default())
}

/// Steps until something holds, or fails after a minute of the world's time.
pub fn until(stage: &mut Stage, what: &str, mut holds: impl FnMut(&mut Stage) -> bool) {
    for _ in 0..1200 {
        if holds(stage) {
            return;
        }
        stage.pass(50);
    }
    panic!("never: {what}");
}

/// role of the local replica, as the instance itself says it.
pub fn role(stage: &mut Stage, instance: &str) -> String {
    let asked = stage.ask(
        instance,
        "SELECT role_desc, operational_state_desc FROM sys.dm_hadr_availability_replica_states WHERE is_local = 1",
    );
    asked.lines().join(",")
}

/// db: state, suspended, reason of the instance's own copies.
pub fn copies(stage: &mut Stage, instance: &str) -> Vec<String> {
    stage
        .ask(
            instance,
            "SELECT c.database_name, d.synchronization_state, d.is_suspended, d.suspend_reason, d.database_state \
             FROM sys.dm_hadr_database_replica_states d \
             JOIN sys.availability_databases_cluster c ON c.group_database_id = d.group_database_id \
             WHERE d.is_local = 1 ORDER BY c.database_name",
        )
        .lines()
}
