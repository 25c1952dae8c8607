//! Files of the share come into the secondary's directory, by what is in them.

use std::fs;

use baton_agent::action::Failure;
use baton_model::outcome::Observation;
use baton_sqlserver::world::fault::What;
use serde_json::json;

use super::world::{SECONDARY, World};

#[tokio::test]
async fn what_is_missing_is_copied_by_header_and_what_is_applied_is_not() {
    let world = World::shipped().await;
    let files = world.five().await;
    // The first is there under another name, and applied; the second is there under another name.
    fs::copy(world.path("share").join(files[0]), world.path("own/other.trn")).expect("copied");
    world.act(&*world.apply()).await.expect("applied");
    fs::copy(world.path("share").join(files[1]), world.path("own/second.trn")).expect("copied");
    let effect = world.changes(&*world.copy(json!({}))).await;
    assert_eq!(effect.data["copied"]["count"], 3, "{}", effect.data);
    assert_eq!((&effect.data["already"], &effect.data["applied"]), (&json!(1), &json!(1)));
    for file in &files[2..] {
        assert_eq!(
            fs::read(world.path("own").join(file)).expect("there"),
            fs::read(world.path("share").join(file)).expect("there")
        );
    }
    assert_eq!(world.files("own").len(), 5);
}

#[tokio::test]
async fn a_server_that_does_not_see_the_share_reads_headers_in_the_copies() {
    let world = World::shipped().await;
    let files = world.five().await;
    fs::write(world.path("share/readme.txt"), "text").expect("written");
    let share = format!("FROM DISK = N'{}", world.text("share"));
    world.mishap(SECONDARY, &share, None, What::Refuse { number: 3201, text: None });
    let copy = world.copy(json!({}));
    assert!(matches!(world.observe(&*copy).await, Ok(Observation::CannotTell { .. })));
    let effect = world.act(&*copy).await.expect("copied");
    assert_eq!(effect.data["copied"]["count"], 5);
    assert_eq!(effect.data["left_out"]["count"], 1);
    let again = world.act(&*copy).await.expect("copied");
    assert_eq!((again.changed, &again.data["already"]), (Some(false), &json!(5)));
    let mut expected: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
    expected.sort();
    assert_eq!(world.files("own"), expected, "nothing of our own is left");
    assert!(copy.repeatable_blind());
}

#[tokio::test]
async fn half_a_file_never_has_a_final_name() {
    let world = World::shipped().await;
    world.five().await;
    // What a crash of ours, and one of somebody else's, left behind.
    fs::write(world.path("own/zz.trn.baton-copy"), "half").expect("written");
    fs::write(world.path("own/a.trn"), "half").expect("written");
    // The server dies while it reads a copy's header: the copy has no name yet.
    world.mishap(SECONDARY, ".baton-copy'", Some(1), What::DieBefore);
    assert!(world.act(&*world.copy(json!({}))).await.is_err());
    let names = world.files("own");
    assert_eq!(names.iter().filter(|name| name.ends_with(".baton-copy")).count(), 1, "{names:?}");
    assert_eq!(names.len(), 2, "{names:?}");
    world.died(SECONDARY).await;
    world.run(SECONDARY).await;
    let effect = world.changes(&*world.copy(json!({}))).await;
    assert_eq!(effect.data["copied"]["count"], 5);
    assert_eq!(world.files("own").len(), 5);
    world.changes(&*world.apply()).await;
}

#[tokio::test]
async fn a_name_that_another_backup_has_is_not_taken_away() {
    let world = World::shipped().await;
    world.log_backup(1, "own", "log.trn").await;
    world.log_backup(2, "share", "log.trn").await;
    let before = fs::read(world.path("own/log.trn")).expect("there");
    let effect = world.changes(&*world.copy(json!({}))).await;
    let name = effect.data["copied"]["first"][0]["file"].as_str().expect("a name").to_owned();
    assert!(name.ends_with("-log.trn"), "{name}");
    assert_eq!(fs::read(world.path("own/log.trn")).expect("there"), before);
    world.changes(&*world.apply()).await;
}

#[tokio::test]
async fn a_share_that_is_down_is_a_failure_unless_the_runbook_says_otherwise() {
    let world = World::shipped().await;
    world.five().await;
    fs::rename(world.path("share"), world.path("gone")).expect("renamed");
    assert_eq!(world.observe(&*world.copy(json!({}))).await.expect_err("it is down").code, "BTN-0675");
    let down = world.copy(json!({ "source_may_be_down": true }));
    let data = world.unchanged(&*down).await;
    assert!(data["source_down"].as_str().expect("why").contains("No such file"), "{data}");
    assert_eq!(data["missing"], json!(["no record of log shipping is left: what is missing is not known"]));
}

#[tokio::test]
async fn a_directory_that_the_server_sees_elsewhere_is_told_so() {
    let world = World::shipped().await;
    world.five().await;
    let elsewhere = world.copy(json!({ "destination_at_server": "/nowhere" }));
    let ended = world.act(&*elsewhere).await;
    assert!(matches!(&ended, Err(Failure::Failed(fault)) if fault.code == "BTN-0676"), "{ended:?}");
    assert!(world.files("own").is_empty());
    // Seen by the server under another name.
    std::os::unix::fs::symlink(world.path("own"), world.path("seen")).expect("a link");
    world.changes(&*world.copy(json!({ "destination_at_server": world.text("seen") }))).await;
}

#[tokio::test]
async fn a_database_that_was_never_restored_proves_nothing() {
    let world = World::start().await;
    let fault = world.observe(&*world.copy(json!({}))).await.expect_err("there is none");
    assert_eq!(fault.code, "BTN-0661");
    world.sql(SECONDARY, &["CREATE DATABASE [mgc]"]).await;
    let fault = world.observe(&*world.apply()).await.expect_err("nothing is known");
    assert_eq!(fault.code, "BTN-0662");
}
