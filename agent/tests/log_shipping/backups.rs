//! Backups that are this step's own, and no others.

use std::fs;

use baton_agent::{
    action::{Failure, Perform},
    host::sqlserver::Session,
};
use baton_model::outcome::Observation;
use baton_sqlserver::world::fault::What;
use serde_json::{Value, json};

use super::world::{DATABASE, PRIMARY, World};

fn backup(world: &World, file: &str, more: Value) -> Box<dyn Perform> {
    let mut parameters = json!({ "path": world.text(file) });
    for (key, value) in more.as_object().expect("a map") {
        parameters[key] = value.clone();
    }
    world.action("mssql.backup", PRIMARY, parameters)
}

#[tokio::test]
async fn a_backup_is_made_once_and_known_again() {
    let world = World::shipped().await;
    for kind in ["full", "log"] {
        let action = backup(&world, kind, json!({ "kind": kind }));
        let effect = world.changes(&*action).await;
        assert!(effect.summary.contains(", verified"), "{}", effect.summary);
        assert_eq!(world.unchanged(&*action).await["first_lsn"], effect.data["first_lsn"]);
        assert_eq!(
            world.statements(PRIMARY, "BACKUP").iter().filter(|sql| sql.contains(&format!("/{kind}'"))).count(),
            1
        );
        assert_eq!(world.statements(PRIMARY, "RESTORE VERIFYONLY").len(), if kind == "full" { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_file_of_somebody_elses_is_neither_overwritten_nor_appended_to() {
    let world = World::shipped().await;
    let before = fs::read(world.path("full.bak")).expect("there");
    let fault = world.refused(&*backup(&world, "full.bak", json!({})), "BTN-0680").await;
    assert!(fault.message.contains("a backup of mgc"), "{fault}");
    fs::write(world.path("text.bak"), "text").expect("written");
    world.refused(&*backup(&world, "text.bak", json!({})), "BTN-0680").await;
    assert_eq!(fs::read(world.path("full.bak")).expect("there"), before);
    // Another step's own is somebody else's too.
    let action = backup(&world, "own.bak", json!({}));
    world.changes(&*action).await;
    let ended = action.act(&world.context("2", std::time::Duration::from_secs(30))).await;
    assert!(matches!(&ended, Err(Failure::Failed(fault)) if fault.code == "BTN-0680"), "{ended:?}");
}

#[tokio::test]
async fn a_backup_that_was_cut_short_is_made_anew_and_one_that_was_not_is_kept() {
    for (what, made) in [(What::DieBefore, 2), (What::DieAfter, 1), (What::DropAfter, 1)] {
        let world = World::shipped().await;
        let action = backup(&world, "mine.bak", json!({}));
        world.mishap(PRIMARY, "BACKUP DATABASE [mgc] TO DISK", Some(1), what.clone());
        let ended = world.act(&*action).await;
        if what == What::DropAfter {
            ended.expect("the file says that it was made");
        } else {
            assert!(matches!(ended, Err(Failure::Unclear(_))), "{what:?}: {ended:?}");
            world.died(PRIMARY).await;
            world.run(PRIMARY).await;
            world.act(&*action).await.expect("made");
        }
        world.unchanged(&*action).await;
        let sent = world.statements(PRIMARY, "BACKUP DATABASE").iter().filter(|sql| sql.contains("mine.bak")).count();
        assert_eq!(sent, made, "{what:?}");
    }
    // A file that this run began and that cannot be read is its own to replace.
    let world = World::shipped().await;
    let action = backup(&world, "mine.bak", json!({}));
    world.mishap(PRIMARY, "BACKUP DATABASE [mgc] TO DISK", Some(1), What::Refuse { number: 3202, text: None });
    world.refused(&*action, "BTN-0610").await;
    fs::write(world.path("mine.bak"), "half").expect("written");
    world.changes(&*action).await;
}

#[tokio::test]
async fn the_tail_leaves_the_database_restoring_and_its_users_gone() {
    let world = World::shipped().await;
    let mut user = world.session(PRIMARY, DATABASE).await.expect("a session");
    world.insert(1).await;
    let action = backup(&world, "tail.trn", json!({ "kind": "tail" }));
    let Ok(Observation::Differs { .. }) = world.observe(&*action).await else { panic!("not yet") };
    world.act(&*action).await.expect("made");
    assert_eq!(world.state(PRIMARY).await, "RESTORING");
    assert!(user.batch("SELECT 1").await.is_err());
    world.unchanged(&*action).await;
    // Somebody opened it again. What the first tail holds is nowhere else: it is not written over.
    world.sql(PRIMARY, &[&format!("RESTORE DATABASE [{DATABASE}] WITH RECOVERY")]).await;
    world.insert(2).await;
    let effect = world.act(&*action).await.expect("another one");
    assert_eq!(effect.data["position"], 2, "{effect:?}");
    world.unchanged(&*action).await;
}

#[tokio::test]
async fn the_tail_is_made_though_clients_come_back_as_soon_as_they_are_cut_off() {
    let world = World::shipped().await;
    let client = async |mut session: Session| {
        loop {
            while session.batch("SELECT 1").await.is_ok() {}
            session = loop {
                match world.session(PRIMARY, DATABASE).await {
                    Ok(again) => break again,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
        }
    };
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(client(world.session(PRIMARY, DATABASE).await.expect("a session")));
    }
    let action = backup(&world, "tail.trn", json!({ "kind": "tail" }));
    let effect = tokio::select! {
        made = world.act(&*action) => made.expect("made"),
        _ = futures::future::join_all(clients) => unreachable!("they come back for ever"),
    };
    assert!(effect.summary.contains("sessions ended: sa on"), "{}", effect.summary);
    assert_eq!(world.state(PRIMARY).await, "RESTORING");
}

#[tokio::test]
async fn a_backup_that_does_not_verify_is_none() {
    let world = World::shipped().await;
    let action = backup(&world, "mine.bak", json!({}));
    world.mishap(PRIMARY, "RESTORE VERIFYONLY", Some(1), What::Refuse { number: 3189, text: None });
    world.refused(&*action, "BTN-0682").await;
    assert!(matches!(world.observe(&*action).await, Ok(Observation::Differs { .. })), "not verified yet");
    let effect = world.act(&*action).await.expect("verified");
    assert_eq!(effect.changed, Some(false), "made by the first attempt");
}
