//! A database out of files; never over one that somebody may need.

use std::fs;

use baton_agent::action::{Failure, Perform};
use baton_model::outcome::Observation;
use baton_sqlserver::world::fault::What;
use serde_json::{Value, json};

use super::world::{DATABASE, PRIMARY, SECONDARY, World};

/// A full backup and three logs in `own`, and nothing on the secondary.
async fn files() -> (World, Vec<String>) {
    let world = World::start().await;
    world.sql(PRIMARY, &[&format!("CREATE DATABASE [{DATABASE}]")]).await;
    world.write(PRIMARY, "CREATE TABLE note (id int, text nvarchar(100))").await;
    world.insert(0).await;
    let (full, before) = (world.text("own/full.bak"), world.text("own/before.bak"));
    world.sql(PRIMARY, &[&format!("BACKUP DATABASE [{DATABASE}] TO DISK = N'{before}'")]).await;
    world.sql(PRIMARY, &[&format!("BACKUP DATABASE [{DATABASE}] TO DISK = N'{full}'")]).await;
    let mut paths = vec![full];
    for number in 1..=3u32 {
        let file = format!("{}.trn", 9 - number);
        world.log_backup(number, "own", &file).await;
        paths.insert(0, world.text(&format!("own/{file}")));
    }
    (world, paths)
}

fn restore(world: &World, paths: &[String], more: Value) -> Box<dyn Perform> {
    let mut parameters = json!({ "paths": paths });
    for (key, value) in more.as_object().expect("a map") {
        parameters[key] = value.clone();
    }
    world.action("mssql.restore", SECONDARY, parameters)
}

#[tokio::test]
async fn a_database_is_restored_in_order_and_left_as_wished() {
    let (world, paths) = files().await;
    let effect = world.changes(&*restore(&world, &paths, json!({}))).await;
    assert_eq!(effect.data["logs"], 3);
    assert_eq!(world.state(SECONDARY).await, "RESTORING");
    world.changes(&*restore(&world, &paths, json!({ "then": "recovery" }))).await;
    assert_eq!(world.ids(SECONDARY).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_copy_with_more_log_than_the_files_have_is_not_thrown_back() {
    let (world, paths) = files().await;
    world.changes(&*restore(&world, &paths, json!({}))).await;
    let before = vec![world.text("own/before.bak")];
    let fault = world.refused(&*restore(&world, &before, json!({})), "BTN-0687").await;
    assert!(fault.message.contains("and the files only reach"), "{fault}");
    assert_eq!(world.statements(SECONDARY, "RESTORE DATABASE").len(), 1);
    world.changes(&*restore(&world, &before, json!({ "replace": true }))).await;
}

#[tokio::test]
async fn a_missing_log_or_file_stops_it_before_anything_is_restored() {
    let (world, mut paths) = files().await;
    let second = paths.remove(1);
    assert_eq!(world.observe(&*restore(&world, &paths, json!({}))).await.expect_err("a gap").code, "BTN-0668");
    paths.insert(1, second);
    fs::remove_file(&paths[1]).expect("removed");
    assert_eq!(world.observe(&*restore(&world, &paths, json!({}))).await.expect_err("a file").code, "BTN-0688");
    let only_logs = vec![paths[0].clone()];
    let fault = world.observe(&*restore(&world, &only_logs, json!({}))).await.expect_err("no full backup");
    assert_eq!(fault.code, "BTN-0683");
    assert!(world.statements(SECONDARY, "RESTORE DATABASE").is_empty());
}

#[tokio::test]
async fn a_restore_goes_on_after_a_crash_in_the_middle() {
    for (statement, what) in
        [("7.trn' WITH", What::DieAfter), ("7.trn' WITH", What::DieBefore), ("full.bak' WITH FILE", What::DieAfter)]
    {
        let (world, paths) = files().await;
        let action = restore(&world, &paths, json!({ "then": "recovery" }));
        world.mishap(SECONDARY, statement, Some(1), what.clone());
        assert!(matches!(world.act(&*action).await, Err(Failure::Unclear(_))), "{what:?}");
        world.died(SECONDARY).await;
        world.run(SECONDARY).await;
        world.changes(&*action).await;
        assert_eq!(world.ids(SECONDARY).await, [0, 1, 2, 3], "{what:?}");
        assert_eq!(world.statements(SECONDARY, "RESTORE DATABASE [mgc] FROM").len(), 1, "{what:?}");
    }
}

#[tokio::test]
async fn a_session_that_breaks_in_a_restore_proves_nothing() {
    for statement in ["7.trn' WITH", "WITH RECOVERY"] {
        let (world, paths) = files().await;
        let action = restore(&world, &paths, json!({ "then": "recovery" }));
        world.mishap(SECONDARY, statement, Some(1), What::DropBefore);
        let ended = world.act(&*action).await;
        assert!(matches!(ended, Err(Failure::Unclear(_))), "{statement}: {ended:?}");
        world.changes(&*action).await;
        assert_eq!(world.ids(SECONDARY).await, [0, 1, 2, 3], "{statement}");
    }
}

#[tokio::test]
async fn a_database_that_somebody_may_need_is_not_overwritten() {
    let (world, paths) = files().await;
    world.sql(SECONDARY, &["CREATE DATABASE [mgc]"]).await;
    let fault = world.refused(&*restore(&world, &paths, json!({})), "BTN-0687").await;
    assert!(fault.message.contains("there is a database mgc, ONLINE"), "{fault}");
    let replace = restore(&world, &paths, json!({ "replace": true, "then": "recovery" }));
    let user = world.session(SECONDARY, DATABASE).await.expect("a session");
    let fault = world.refused(&*replace, "BTN-0686").await;
    assert!(fault.message.contains("sa on"), "{fault}");
    drop(user);
    let kill = world.action("mssql.kill_connections", SECONDARY, json!({}));
    world.act(&*kill).await.expect("nobody is left");
    world.changes(&*replace).await;
    // What it has become since is not overwritten by the same files.
    let again = restore(&world, &paths, json!({ "replace": true }));
    world.refused(&*again, "BTN-0685").await;
    assert_eq!(world.ids(SECONDARY).await, [0, 1, 2, 3]);
}

/// A full backup of `mgc` that was made on one recovery fork, and a log that begins on the one before it and ends on the one after.
async fn across_recoveries() -> (World, Vec<String>) {
    let world = World::start().await;
    world.sql(PRIMARY, &[&format!("CREATE DATABASE [{DATABASE}]")]).await;
    world.write(PRIMARY, "CREATE TABLE note (id int, text nvarchar(100))").await;
    world.insert(0).await;
    let [before, full, log] = ["own/before.bak", "own/full.bak", "own/log.trn"].map(|file| world.text(file));
    world.sql(PRIMARY, &[&format!("BACKUP DATABASE [{DATABASE}] TO DISK = N'{before}'")]).await;
    let recovers = async |number: u32| {
        let tail = world.text(&format!("own/tail-{number}.trn"));
        let tail = format!("BACKUP LOG [{DATABASE}] TO DISK = N'{tail}' WITH NORECOVERY, COPY_ONLY");
        world.sql(PRIMARY, &[&tail, &format!("RESTORE DATABASE [{DATABASE}] WITH RECOVERY")]).await;
    };
    recovers(1).await;
    world.insert(1).await;
    world.sql(PRIMARY, &[&format!("BACKUP DATABASE [{DATABASE}] TO DISK = N'{full}' WITH COPY_ONLY")]).await;
    recovers(2).await;
    world.insert(2).await;
    world.sql(PRIMARY, &[&format!("BACKUP LOG [{DATABASE}] TO DISK = N'{log}' WITH COPY_ONLY")]).await;
    (world, vec![full, log])
}

#[tokio::test]
async fn a_log_of_another_recovery_fork_stops_it_or_is_left_out_and_named() {
    let (world, paths) = across_recoveries().await;
    let fault = world.refused(&*restore(&world, &paths, json!({})), "BTN-0668").await;
    assert!(fault.message.contains("another recovery fork") && fault.remedy.contains("a full backup"), "{fault}");
    let proven = restore(&world, &paths, json!({ "leave_out_unproven": true }));
    let effect = world.changes(&*proven).await;
    assert!(effect.summary.contains("left out:") && effect.summary.contains("log.trn"), "{}", effect.summary);
    assert_eq!((&effect.data["logs"], &effect.data["left_out"]["count"]), (&json!(0), &json!(1)), "{}", effect.data);
    assert_eq!(world.state(SECONDARY).await, "RESTORING");
    assert_eq!(world.statements(SECONDARY, "RESTORE LOG").len(), 0);
    // Whoever looks again is told again.
    let Ok(Observation::InPlace { note }) = world.observe(&*proven).await else { panic!("in place") };
    assert!(note.contains("left out:"), "{note}");
    let parameters = json!({ "paths": paths, "leave_out_unproven": true, "then": "recovery" });
    let fault = world.binds("mssql.restore", SECONDARY, parameters).err().expect("refused");
    assert_eq!(fault.code, "BTN-0498", "{fault}");
}

#[tokio::test]
async fn what_is_missing_is_never_left_out() {
    let (world, mut paths) = files().await;
    paths.remove(1);
    let fault = world.refused(&*restore(&world, &paths, json!({ "leave_out_unproven": true })), "BTN-0668").await;
    assert!(fault.message.contains("a log backup is missing before"), "{fault}");
}
