//! Faults of statements, and what random worlds once found.

use crate::{copies, role, until, wsfc};
use baton_sqlserver::answer::Answer;
use baton_sqlserver::control::StatementFault;
use baton_sqlserver::control::What;
use baton_sqlserver::world::Life;

const FAILOVER: &str = "ALTER AVAILABILITY GROUP [ag1] FAILOVER";

fn fault(what: What) -> StatementFault {
    StatementFault {
        instance: Some("s2".into()),
        statement: "availability  GROUP [ag1] failover".into(),
        times: Some(1),
        what,
    }
}

#[test]
fn an_error_may_hide_a_failover_that_happened() {
    let mut stage = wsfc();
    stage.world.faults.push(fault(What::FailAfterEffect { number: 41131, text: None }));
    assert_eq!(stage.ask("S2", FAILOVER).errors(), [41131]);
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    until(&mut stage, "S1 is synchronized", |stage| copies(stage, "S1") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
    stage.world.doubts.late_failure_is_error = false;
    stage
        .world
        .faults
        .push(StatementFault { instance: None, ..fault(What::FailAfterEffect { number: 41149, text: None }) });
    let outcome = stage.ask("S1", FAILOVER);
    assert!(outcome.errors().is_empty() && outcome.messages()[0].number == 41149, "{outcome:?}");
    assert!(stage.world.faults.is_empty());
}

#[test]
fn an_error_may_come_instead_of_the_effect() {
    let mut stage = wsfc();
    stage.world.faults.push(fault(What::Refuse { number: 41138, text: None }));
    assert_eq!(stage.ask("S2", FAILOVER).errors(), [41138]);
    assert_eq!(role(&mut stage, "S2"), "SECONDARY ONLINE");
    assert!(stage.ask("S2", FAILOVER).succeeded(), "once only");
}

#[test]
fn a_process_dies_before_or_after_the_effect() {
    let mut stage = wsfc();
    stage.world.faults.push(fault(What::DieBefore));
    assert!(stage.ask("S2", FAILOVER).unfinished);
    assert_eq!(stage.alive["S2"], Life::Dead);
    stage.start("S2");
    until(&mut stage, "S2 is synchronized", |stage| copies(stage, "S2") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
    assert_eq!(role(&mut stage, "S1"), "PRIMARY ONLINE");
    stage.world.faults.push(StatementFault { statement: "insert".into(), instance: None, ..fault(What::DieAfter) });
    assert!(stage.ask("S1", "CREATE TABLE db1.dbo.t (id int)").succeeded());
    assert!(stage.ask("S1", "INSERT db1.dbo.t VALUES (1)").unfinished);
    until(&mut stage, "S2 takes over", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    assert_eq!(stage.ask("S2", "SELECT id FROM db1.dbo.t").lines(), ["1"], "it had its effect");
}

#[test]
fn answers_come_late_or_never_or_break_off() {
    let mut stage = wsfc();
    for (what, ms) in [(What::Delay { ms: 3000 }, 3000), (What::AnswerLate { ms: 5000 }, 5000)] {
        stage.world.faults.push(StatementFault { instance: None, statement: "select 7".into(), times: Some(1), what });
        let before = stage.world.clock;
        assert_eq!(stage.ask("S1", "SELECT   7").lines(), ["7"]);
        assert!((ms..ms + 1000).contains(&(stage.world.clock - before)));
    }
    stage.world.faults.push(fault(What::DropAfter));
    assert!(stage.ask("S2", FAILOVER).answers.contains(&Answer::Cut));
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
    stage.world.faults.push(StatementFault { instance: None, ..fault(What::DropBefore) });
    assert!(stage.ask("S1", FAILOVER).answers.contains(&Answer::Cut));
    assert_eq!(role(&mut stage, "S1"), "SECONDARY ONLINE");
    stage.world.faults.push(StatementFault { statement: "select 8".into(), instance: None, ..fault(What::Hang) });
    let silent = stage.ask("S3", "SELECT 8");
    assert!(silent.unfinished && silent.answers.is_empty());
}

#[test]
fn a_failover_over_a_link_that_is_just_broken_loses_nothing_that_was_acknowledged() {
    let mut stage = wsfc();
    assert!(stage.ask("S1", "CREATE TABLE db1.dbo.t (id int)").succeeded());
    stage.world.cut_link("S1", "S2");
    assert!(stage.ask("S2", FAILOVER).succeeded());
    stage.world.mend_link("S1", "S2");
    assert!(!stage.ask("S1", "INSERT db1.dbo.t VALUES (1)").succeeded(), "its role is being taken away");
    until(&mut stage, "S2 is primary", |stage| role(stage, "S2") == "PRIMARY ONLINE");
}

#[test]
fn a_replica_that_hears_of_its_new_mode_from_the_cluster_is_not_synchronized_any_more() {
    let mut stage = wsfc();
    stage.world.cut_link("S1", "S2");
    for option in ["FAILOVER_MODE = MANUAL", "AVAILABILITY_MODE = ASYNCHRONOUS_COMMIT"] {
        assert!(
            stage
                .ask("S1", &format!("ALTER AVAILABILITY GROUP ag1 MODIFY REPLICA ON N'S2' WITH ({option})"))
                .succeeded()
        );
    }
    assert_eq!(copies(&mut stage, "S2"), ["db1 1 0 - 0", "db2 1 0 - 0"]);
}

#[test]
fn a_copy_that_slept_through_two_failovers_follows_the_right_path() {
    let mut stage = wsfc();
    stage.alive.insert("S2".into(), Life::Hung);
    let manual = "ALTER AVAILABILITY GROUP ag1 MODIFY REPLICA ON N'S3' WITH (AVAILABILITY_MODE = SYNCHRONOUS_COMMIT)";
    assert!(stage.ask("S1", manual).succeeded());
    until(&mut stage, "S3 is synchronized", |stage| copies(stage, "S3") == ["db1 2 0 - 0", "db2 2 0 - 0"]);
    for target in ["S3", "S1"] {
        until(&mut stage, "the failover begins", |stage| stage.ask(target, FAILOVER).succeeded());
        until(&mut stage, "the target leads", |stage| role(stage, target) == "PRIMARY ONLINE");
    }
    stage.alive.insert("S2".into(), Life::Running);
    stage.pass(2000);
    let (copy, source) =
        (stage.world.database("S2", "db1").expect("a copy"), stage.world.database("S1", "db1").expect("its source"));
    assert_eq!((copy.fork, copy.end), (source.fork, source.end));
}
