//! The chain is applied, or nothing is.

use std::{fs, time::Duration};

use baton_agent::action::Failure;
use baton_model::outcome::Observation;
use baton_sqlserver::world::fault::What;
use serde_json::json;

use super::world::{DATABASE, SECONDARY, World};

/// Five files in the secondary's own directory.
async fn copied() -> World {
    let world = World::shipped().await;
    world.five().await;
    world.changes(&*world.copy(json!({}))).await;
    world
}

/// How often each backup was restored, after the full one.
async fn restored(world: &World) -> Vec<i64> {
    const SQL: &str = "SELECT b.last_lsn, COUNT(*) AS times FROM msdb.dbo.restorehistory r \
                       JOIN msdb.dbo.backupset b ON b.backup_set_id = r.backup_set_id \
                       WHERE r.restore_type = 'L' GROUP BY b.last_lsn ORDER BY b.last_lsn";
    world.rows(SECONDARY, "master", SQL).await.iter().filter_map(|row| row.int("times")).collect()
}

#[tokio::test]
async fn five_shuffled_log_backups_are_applied_in_lsn_order_and_the_database_is_brought_online() {
    let world = copied().await;
    let effect = world.changes(&*world.apply()).await;
    assert_eq!(effect.data["applied"]["count"], 5);
    let order: Vec<_> =
        effect.data["applied"]["first"].as_array().expect("a list").iter().map(|one| one["file"].clone()).collect();
    assert_eq!(order, ["mgc_20240105.trn", "mgc_20240101.trn", "zz.trn", "mgc (copy).trn", "a.trn"]);
    assert_eq!(restored(&world).await, [1; 5]);
    assert_eq!(world.state(SECONDARY).await, "RESTORING");

    world.changes(&*world.recover()).await;
    assert_eq!(world.state(SECONDARY).await, "ONLINE");
    assert_eq!(world.ids(SECONDARY).await, [0, 1, 2, 3, 4, 5]);
    // Once more from the beginning: all of it is in place.
    assert_eq!(world.unchanged(&*world.apply()).await["applied"]["count"], 0);
}

#[tokio::test]
async fn a_missing_file_halts_before_anything_is_restored() {
    let world = copied().await;
    fs::remove_file(world.path("own/zz.trn")).expect("removed");
    let Ok(Observation::Differs { change }) = world.observe(&*world.apply()).await else {
        panic!("it cannot be applied")
    };
    assert!(change.starts_with("nothing can be applied"), "{change}");
    let before = world.statements(SECONDARY, "RESTORE LOG").len();
    let fault = world.refused(&*world.apply(), "BTN-0668").await;
    for part in ["after mgc_20240101.trn (to LSN", "before mgc (copy).trn (from LSN", "nothing was restored"] {
        assert!(fault.message.contains(part), "{part:?} in {fault}");
    }
    assert_eq!(world.statements(SECONDARY, "RESTORE LOG").len(), before);
    assert!(restored(&world).await.is_empty());
    // The file comes back, and all goes on.
    world.changes(&*world.copy(json!({}))).await;
    world.changes(&*world.apply()).await;
}

#[tokio::test]
async fn an_end_that_somebody_knows_must_be_there() {
    let world = World::shipped().await;
    world.log_backup(1, "own", "1.trn").await;
    let apply = |until: &str| {
        let parameters = json!({ "directory": world.text("own"), "until_lsn": until });
        world.action("mssql.log_shipping.apply", SECONDARY, parameters)
    };
    let fault = world.refused(&*apply("9999999999999999999999999"), "BTN-0668").await;
    assert!(fault.message.contains("must reach LSN 9999999999999999999999999"), "{fault}");
    assert!(restored(&world).await.is_empty());
    world.changes(&*apply("1")).await;
}

#[tokio::test]
async fn an_instance_that_dies_between_two_files_goes_on_where_msdb_says() {
    for what in [What::DieBefore, What::DieAfter] {
        let world = copied().await;
        world.mishap(SECONDARY, "zz.trn' WITH", Some(1), what.clone());
        let ended = world.act(&*world.apply()).await;
        assert!(matches!(ended, Err(Failure::Unclear(_))), "{what:?}: {ended:?}");
        world.died(SECONDARY).await;
        world.run(SECONDARY).await;
        assert_eq!(world.state(SECONDARY).await, "RESTORING");
        let effect = world.changes(&*world.apply()).await;
        let left = if what == What::DieAfter { 2 } else { 3 };
        assert_eq!(effect.data["applied"]["count"], left, "{what:?}");
        assert_eq!(restored(&world).await, [1; 5], "{what:?}");
    }
}

#[tokio::test]
async fn an_instance_that_is_killed_in_the_middle_of_a_file_goes_on_where_msdb_says() {
    let world = copied().await;
    world.mishap(SECONDARY, "zz.trn' WITH", Some(1), What::Delay { ms: 60_000 });
    let apply = world.apply();
    let killing = async {
        while !world.statements(SECONDARY, "RESTORE LOG").iter().any(|sql| sql.contains("zz.trn")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.kill(SECONDARY);
        // Killed before it noted that the delay was used up, it would wait again.
        world.change(|truth| truth.faults.clear());
    };
    let (ended, ()) = tokio::join!(world.act(&*apply), killing);
    assert!(matches!(ended, Err(Failure::Unclear(_))), "{ended:?}");
    world.run(SECONDARY).await;
    assert_eq!(world.changes(&*apply).await.data["applied"]["count"], 3);
    assert_eq!(restored(&world).await, [1; 5]);
}

#[tokio::test]
async fn an_answer_that_never_came_is_no_failure_where_the_log_is_there() {
    let world = copied().await;
    world.mishap(SECONDARY, "zz.trn' WITH", Some(1), What::DropAfter);
    world.changes(&*world.apply()).await;
    assert_eq!(restored(&world).await, [1; 5]);
}

#[tokio::test]
async fn an_error_although_it_happened_is_no_failure() {
    let world = copied().await;
    world.mishap(SECONDARY, "zz.trn' WITH", Some(1), What::FailAfterEffect { number: 3013, text: None });
    world.changes(&*world.apply()).await;
    assert_eq!(restored(&world).await, [1; 5]);
}

#[tokio::test]
async fn an_interrupted_restore_is_repeated_with_restart() {
    let world = copied().await;
    world.mishap(SECONDARY, "zz.trn' WITH", Some(1), What::Refuse { number: 4319, text: None });
    world.changes(&*world.apply()).await;
    let tries: Vec<String> =
        world.statements(SECONDARY, "RESTORE LOG").into_iter().filter(|sql| sql.contains("zz.trn")).collect();
    assert_eq!(tries.len(), 2, "{tries:?}");
    assert!(!tries[0].contains("RESTART") && tries[1].ends_with(", RESTART"), "{tries:?}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_with_instance_login_and_number() {
    let world = copied().await;
    world.mishap(SECONDARY, "zz.trn' WITH", None, What::Refuse { number: 3203, text: None });
    let fault = world.refused(&*world.apply(), "BTN-0610").await;
    for part in [SECONDARY, "login baton", "3203"] {
        assert!(fault.message.contains(part), "{part:?} in {fault}");
    }
    assert_eq!(restored(&world).await, [1; 2], "what came before is kept");
}

#[tokio::test]
async fn readers_of_a_standby_copy_are_ended_and_named() {
    let world = copied().await;
    let (first, undo) = (world.text("own/mgc_20240105.trn"), world.text("undo.tuf"));
    world.sql(SECONDARY, &[&format!("RESTORE LOG [{DATABASE}] FROM DISK = N'{first}' WITH STANDBY = N'{undo}'")]).await;
    let mut reader = world.session(SECONDARY, DATABASE).await.expect("readable");
    reader.batch("SELECT id FROM note").await.expect("read");
    let effect = world.changes(&*world.apply()).await;
    assert!(effect.summary.contains("readers ended: sa on"), "{}", effect.summary);
    assert_eq!(effect.data["applied"]["count"], 4);
    assert!(reader.batch("SELECT id FROM note").await.is_err(), "its session is gone");
}

#[tokio::test]
async fn a_standby_copy_is_recovered_under_its_readers() {
    let world = copied().await;
    let (first, undo) = (world.text("own/mgc_20240105.trn"), world.text("undo.tuf"));
    world.sql(SECONDARY, &[&format!("RESTORE LOG [{DATABASE}] FROM DISK = N'{first}' WITH STANDBY = N'{undo}'")]).await;
    let _reader = world.session(SECONDARY, DATABASE).await.expect("readable");
    let effect = world.changes(&*world.recover()).await;
    assert!(effect.summary.contains("sessions ended: sa on"), "{}", effect.summary);
    assert_eq!(world.ids(SECONDARY).await, [0, 1]);
    // What was not applied can no longer be, and that is said.
    let fault = world.refused(&*world.apply(), "BTN-0667").await;
    assert!(fault.message.contains("4 log backups"), "{fault}");
}

#[tokio::test]
async fn a_recovery_whose_answer_never_came_is_read_from_the_state() {
    for what in [What::DropAfter, What::FailAfterEffect { number: 3013, text: None }, What::DropBefore] {
        let world = World::shipped().await;
        world.mishap(SECONDARY, "WITH RECOVERY", Some(1), what.clone());
        match world.act(&*world.recover()).await {
            Ok(effect) => assert_eq!(effect.changed, Some(true), "{what:?}"),
            // Nothing happened, and the session was gone: that is said, and a retry does it.
            Err(failure) => {
                assert_eq!(what, What::DropBefore, "{failure}");
                world.act(&*world.recover()).await.expect("done");
            }
        }
        world.unchanged(&*world.recover()).await;
    }
}

#[tokio::test]
async fn connections_are_ended_again_and_again_and_named() {
    let world = World::shipped().await;
    world.act(&*world.recover()).await.expect("online");
    let kill = world.action("mssql.kill_connections", SECONDARY, json!({}));
    world.unchanged(&*kill).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(world.session(SECONDARY, DATABASE).await.expect("a session"));
    }
    let effect = world.changes(&*kill).await;
    assert_eq!(effect.data["ended"][0]["times"], 3, "{}", effect.data);
    for session in &mut sessions {
        assert!(session.batch("SELECT 1").await.is_err());
    }
    assert!(world.session(SECONDARY, DATABASE).await.is_ok(), "nobody is locked out");
    // Gone between the look and the KILL.
    let _late = world.session(SECONDARY, DATABASE).await.expect("a session");
    world.mishap(SECONDARY, "KILL", Some(1), What::Refuse { number: 6106, text: None });
    world.act(&*kill).await.expect("nobody is left");
}

#[tokio::test]
async fn what_has_no_part_in_the_chain_is_left_out_by_name() {
    let world = copied().await;
    world.sql(super::world::PRIMARY, &["CREATE DATABASE [mgccomp]"]).await;
    let other = world.text("own/mgccomp.bak");
    world.sql(super::world::PRIMARY, &[&format!("BACKUP DATABASE [mgccomp] TO DISK = N'{other}'")]).await;
    fs::write(world.path("own/later.trn.wrk"), "half").expect("written");
    fs::write(world.path("own/readme.txt"), "text").expect("written");
    fs::copy(world.path("own/zz.trn"), world.path("own/zz again.trn")).expect("copied");
    let effect = world.changes(&*world.apply()).await;
    let left_out = effect.data["left_out"]["first"].as_array().expect("a list").iter();
    let left_out: Vec<String> = left_out.map(|one| format!("{}: {}", one["file"], one["why"])).collect();
    assert_eq!(left_out.len(), 4, "{left_out:?}");
    for part in ["mgccomp", ".wrk", "readme.txt", "the same log as"] {
        assert!(left_out.iter().any(|line| line.contains(part)), "{part:?} in {left_out:?}");
    }
    assert_eq!(effect.data["applied"]["count"], 5);
}

#[tokio::test]
async fn a_long_restore_says_how_far_it_is_by_file_and_as_a_whole() {
    let world = World::shipped().await;
    world.log_backup(1, "own", "1.trn").await;
    world.log_backup(2, "own", "2.trn").await;
    world.change(|truth| truth.options.restore_ms = 2_500);
    let (sender, mut notes) = tokio::sync::mpsc::channel(64);
    world.apply().act(&world.context_with_notes("1", Duration::from_secs(30), Some(sender))).await.expect("applied");
    let mut told = Vec::new();
    while let Ok(note) = notes.try_recv() {
        told.push(note);
    }
    let within = |file: &str, range: std::ops::RangeInclusive<u8>| {
        told.iter().any(|note| {
            note.note.contains(file)
                && note.note.ends_with("percent")
                && note.percent.is_some_and(|all| range.contains(&all))
        })
    };
    assert!(within("file 1 of 2, 1.trn", 10..=50) && within("file 2 of 2, 2.trn", 60..=100), "{told:?}");
}

#[tokio::test]
async fn a_task_that_is_ended_in_the_middle_restores_nothing_after_it() {
    let world = copied().await;
    world.mishap(SECONDARY, "zz.trn' WITH", Some(1), What::Delay { ms: 60_000 });
    let ended = world.apply().act(&world.context("1", Duration::from_secs(3))).await;
    assert!(matches!(ended, Err(Failure::Unclear(_))), "{ended:?}");
    assert_eq!(restored(&world).await, [1; 2]);
    world.changes(&*world.apply()).await;
    assert_eq!(restored(&world).await, [1; 5]);
}
