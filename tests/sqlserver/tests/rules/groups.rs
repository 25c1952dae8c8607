//! Roles, movement and loss.

use crate::{copies, role, three, until, wsfc};
use baton_sqlserver::world::Doubts;
use baton_sqlserver::world::group::ClusterType;

#[test]
fn who_sees_what() {
    let mut stage = wsfc();
    let count = |stage: &mut baton_sqlserver::control::stage::Stage, instance: &str, view: &str| {
        stage.ask(instance, &format!("SELECT COUNT(*) FROM sys.{view}")).lines().join(",")
    };
    assert_eq!(count(&mut stage, "S1", "dm_hadr_availability_replica_states"), "3");
    assert_eq!(count(&mut stage, "S1", "dm_hadr_database_replica_states"), "6");
    assert_eq!(count(&mut stage, "S2", "dm_hadr_availability_replica_states"), "1");
    assert_eq!(count(&mut stage, "S2", "dm_hadr_database_replica_states"), "2");
    assert_eq!(count(&mut stage, "S2", "availability_replicas"), "3");
    assert_eq!(copies(&mut stage, "S2"), ["db1 2 0 - 0", "db2 2 0 - 0"]);
    assert_eq!(copies(&mut stage, "S3"), ["db1 1 0 - 0", "db2 1 0 - 0"]);
    assert_eq!(role(&mut stage, "S1"), "PRIMARY ONLINE");
}

#[test]
fn a_planned_failover_moves_the_role_and_resumes_by_itself() {
    let mut stage = wsfc();
    assert!(stage.ask("S1", "USE db1; CREATE TABLE t (id int NOT NULL PRIMARY KEY, v nvarchar(20)); INSERT t VALUES (1, N'a'), (2, N'b')").succeeded());
    let inside = stage.log_in("S1");
    assert!(stage.run("S1", inside, "USE db1").succeeded());
    assert!(stage.ask("S2", "ALTER AVAILABILITY GROUP [ag1] FAILOVER").succeeded());
    assert_eq!(stage.ask("S2", "alter availability group ag1 failover;").errors(), [41113]);
    assert_eq!(role(&mut stage, "S2"), "RESOLVING PENDING_FAILOVER");
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    assert!(stage.run("S1", inside, "SELECT 1").unfinished, "the session in db1 was cut");
    until(&mut stage, "S1 is synchronized", |stage| copies(stage, "S1") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
    assert_eq!(role(&mut stage, "S1"), "SECONDARY ONLINE");
    assert_eq!(stage.ask("S2", "SELECT id FROM db1.dbo.t ORDER BY id DESC").lines(), ["2", "1"]);
    assert_eq!(stage.ask("S2", "ALTER AVAILABILITY GROUP [ag1] FAILOVER").errors(), [41122]);
    assert_eq!(stage.ask("S1", "INSERT db1.dbo.t VALUES (3, N'c')").errors(), [3906]);
}

#[test]
fn a_forced_failover_loses_what_was_not_hardened_and_suspends_the_others() {
    let mut stage = wsfc();
    let sql = "ALTER AVAILABILITY GROUP ag1 MODIFY REPLICA ON N'S2' WITH (FAILOVER_MODE = MANUAL)";
    assert!(stage.ask("S1", sql).succeeded());
    assert!(stage.ask("S1", "USE db1 CREATE TABLE t (id int) INSERT t VALUES (1)").succeeded());
    stage.pass(1000);
    stage.world.send_limit.insert("S3".into(), 0);
    assert!(stage.ask("S1", "INSERT db1.dbo.t VALUES (2)").succeeded());
    stage.pass(200);
    stage.kill("S1");
    stage.pass(5000);
    assert_eq!(role(&mut stage, "S2"), "SECONDARY ONLINE");
    assert_eq!(copies(&mut stage, "S2"), ["db1 0 0 - 0", "db2 0 0 - 0"]);
    assert!(stage.ask("S3", "ALTER AVAILABILITY GROUP ag1 FORCE_FAILOVER_ALLOW_DATA_LOSS").succeeded());
    until(&mut stage, "S3 is primary", |stage| role(stage, "S3") == "PRIMARY ONLINE");
    assert_eq!(stage.ask("S3", "SELECT id FROM db1.dbo.t").lines(), ["1"]);
    until(&mut stage, "S2 is suspended", |stage| copies(stage, "S2") == ["db1 0 1 1 0", "db2 0 1 1 0"]);
    assert_eq!(stage.ask("S2", "SELECT id FROM db1.dbo.t").lines(), ["1", "2"]);
    assert!(stage.ask("S2", "ALTER DATABASE db1 SET HADR RESUME").succeeded());
    until(&mut stage, "S2's db1 moves", |stage| copies(stage, "S2") == ["db1 1 0 - 0", "db2 0 1 1 0"]);
    assert_eq!(stage.ask("S2", "SELECT id FROM db1.dbo.t").lines(), ["1"]);
    stage.start("S1");
    until(&mut stage, "S1 is back", |stage| copies(stage, "S1") == ["db1 0 1 1 0", "db2 0 1 1 0"]);
    assert_eq!(role(&mut stage, "S1"), "SECONDARY ONLINE");
}

#[test]
fn the_primary_that_dies_is_followed_by_its_automatic_partner() {
    let mut stage = wsfc();
    stage.kill("S1");
    until(&mut stage, "S2 takes over", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    stage.start("S1");
    until(&mut stage, "S1 is synchronized", |stage| copies(stage, "S1") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
}

#[test]
fn a_synchronous_replica_that_is_cut_off_holds_commits_until_its_session_times_out() {
    let mut stage = wsfc();
    assert!(stage.ask("S1", "USE db1 CREATE TABLE t (id int)").succeeded());
    stage.world.cut_link("S1", "S2");
    let before = stage.world.clock;
    assert!(stage.ask("S1", "INSERT db1.dbo.t VALUES (1)").succeeded());
    assert!(stage.world.clock - before >= 9_900, "{}", stage.world.clock - before);
    let ready = "SELECT COUNT(*) FROM sys.dm_hadr_database_replica_cluster_states c JOIN sys.availability_replicas r \
                 ON r.replica_id = c.replica_id WHERE r.replica_server_name = 'S2' AND c.is_failover_ready = 1";
    assert_eq!(stage.ask("S1", ready).lines(), ["0"]);
    assert_eq!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FAILOVER").errors(), [41142]);
    stage.world.mend_link("S1", "S2");
    until(&mut stage, "S2 has caught up", |stage| copies(stage, "S2") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
    assert_eq!(stage.ask("S2", "SELECT id FROM db1.dbo.t").lines(), ["1"]);
}

#[test]
fn a_group_without_a_cluster_is_forced_after_its_primary_was_taken_offline() {
    let mut stage = three(ClusterType::None, Doubts::default());
    assert_eq!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FAILOVER").errors(), [47122]);
    assert!(stage.ask("S1", "ALTER AVAILABILITY GROUP ag1 OFFLINE").succeeded());
    assert_eq!(role(&mut stage, "S1"), "RESOLVING OFFLINE");
    assert_eq!(stage.ask("S1", "USE db1").errors(), [983]);
    assert!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FORCE_FAILOVER_ALLOW_DATA_LOSS").succeeded());
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    assert!(stage.ask("S1", "ALTER AVAILABILITY GROUP ag1 SET (ROLE = SECONDARY)").succeeded());
    until(&mut stage, "S1 is suspended", |stage| copies(stage, "S1") == ["db1 0 1 1 0", "db2 0 1 1 0"]);
    assert!(stage.ask("S1", "ALTER DATABASE db1 SET HADR RESUME").succeeded());
    until(&mut stage, "S1's db1 is synchronized", |stage| copies(stage, "S1") == ["db1 2 0 - 0", "db2 0 1 1 0"]);
}

#[test]
fn without_a_demotion_two_replicas_say_primary() {
    let mut stage = three(ClusterType::None, Doubts::default());
    assert!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FORCE_FAILOVER_ALLOW_DATA_LOSS").succeeded());
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    assert_eq!(role(&mut stage, "S1"), "PRIMARY ONLINE");
    let mut stage = three(ClusterType::None, Doubts::opposite());
    assert!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FORCE_FAILOVER_ALLOW_DATA_LOSS").succeeded());
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    assert_eq!(role(&mut stage, "S1"), "SECONDARY ONLINE");
}

#[test]
fn an_external_group_wants_its_session_context() {
    for (doubts, number) in [(Doubts::default(), 47104), (Doubts::opposite(), 41105)] {
        let mut stage = three(ClusterType::External, doubts);
        assert_eq!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FAILOVER").errors(), [number]);
        let both = "EXEC sp_set_session_context @key = N'external_cluster', @value = N'yes'; ALTER AVAILABILITY GROUP ag1 FAILOVER";
        assert!(stage.ask("S2", both).succeeded());
        until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    }
}

#[test]
fn without_quorum_nothing_leads_and_nothing_can_be_forced() {
    for (doubts, number, read) in [(Doubts::default(), 41131, 983), (Doubts::opposite(), 35220, 988)] {
        let mut stage = three(ClusterType::Wsfc, doubts);
        stage.world.cluster.as_mut().expect("a cluster").lost = true;
        stage.pass(100);
        for instance in ["S1", "S2"] {
            assert_eq!(role(&mut stage, instance), "RESOLVING FAILED_NO_QUORUM");
            assert_eq!(stage.ask(instance, "SELECT * FROM sys.dm_hadr_cluster").rows().len(), 0);
        }
        assert_eq!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FORCE_FAILOVER_ALLOW_DATA_LOSS").errors(), [number]);
        assert_eq!(stage.ask("S1", "USE db1").errors(), [read]);
        stage.world.cluster.as_mut().expect("a cluster").lost = false;
        until(&mut stage, "S1 leads again", |stage| role(stage, "S1") == "PRIMARY ONLINE");
    }
}

#[test]
fn a_target_that_dies_leaves_the_role_with_the_old_primary() {
    let mut stage = wsfc();
    assert!(stage.ask("S2", "ALTER AVAILABILITY GROUP ag1 FAILOVER").succeeded());
    stage.kill("S2");
    until(&mut stage, "S1 leads again", |stage| role(stage, "S1") == "PRIMARY ONLINE");
    stage.start("S2");
    until(&mut stage, "S2 follows", |stage| copies(stage, "S2") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
    assert_eq!(role(&mut stage, "S2"), "SECONDARY ONLINE");
}
