//! Log shipping itself: set up, read, removed, and what it knew is kept.

use std::fs;

use baton_agent::action::{Failure, Perform};
use baton_model::outcome::Observation;
use baton_sqlserver::world::fault::What;
use serde_json::json;

use super::world::{DATABASE, PRIMARY, SECONDARY, World};

fn primary(world: &World) -> Box<dyn Perform> {
    let parameters = json!({
        "backup_directory": world.text("share"), "backup_share": world.text("share"), "every": "1h",
        "secondary_server": SECONDARY,
    });
    world.action("mssql.log_shipping.primary", PRIMARY, parameters)
}

fn secondary(world: &World) -> Box<dyn Perform> {
    let parameters = json!({
        "primary_server": PRIMARY, "primary_database": DATABASE, "source": world.text("share"),
        "destination": world.text("own"), "every": "1h",
    });
    world.action("mssql.log_shipping.secondary", SECONDARY, parameters)
}

fn remove(world: &World) -> Box<dyn Perform> {
    world.action("mssql.log_shipping.remove", SECONDARY, json!({}))
}

async fn set_up() -> World {
    let world = World::shipped().await;
    world.changes(&*primary(&world)).await;
    world.changes(&*secondary(&world)).await;
    world
}

#[tokio::test]
async fn log_shipping_is_set_up_once_and_read() {
    let world = set_up().await;
    let state = world.action("mssql.log_shipping.state", SECONDARY, json!({}));
    assert!(state.only_observes());
    let data = world.act(&*state).await.expect("read").data;
    assert_eq!(data["copy"]["state"], "RESTORING");
    assert_eq!(data["shipping"]["primary_server"], PRIMARY);
    assert_eq!(data["shipping"]["source"], world.text("share"));
    assert!(data["standing"]["applied"].as_str().is_some_and(|lsn| lsn.len() > 5), "{data}");
    // Of another primary it is not made silently.
    let mut other = json!({ "primary_server": "SQLC", "primary_database": DATABASE });
    other["source"] = json!(world.text("share"));
    other["destination"] = json!(world.text("own"));
    world.refused(&*world.action("mssql.log_shipping.secondary", SECONDARY, other), "BTN-0679").await;
}

#[tokio::test]
async fn what_log_shipping_knew_is_kept_before_it_is_removed() {
    let world = set_up().await;
    let effect = world.changes(&*remove(&world)).await;
    assert_eq!(effect.data["source"], world.text("share"));
    assert_eq!(effect.data["destination"], world.text("own"));
    // A repeated run has it from the host's own file.
    assert_eq!(world.unchanged(&*remove(&world)).await, effect.data);
    let state = world.action("mssql.log_shipping.state", SECONDARY, json!({}));
    let data = world.act(&*state).await.expect("read").data;
    assert_eq!((&data["shipping"], &data["removed"]), (&json!(null), &effect.data));
}

#[tokio::test]
async fn a_crash_around_the_removal_loses_nothing_that_it_knew() {
    for what in [What::DieBefore, What::DieAfter, What::DropAfter, What::FailAfterEffect { number: 32014, text: None }]
    {
        let world = set_up().await;
        let expected = world.act(&*world.action("mssql.log_shipping.state", SECONDARY, json!({}))).await.expect("read");
        world.mishap(SECONDARY, "sp_delete_log_shipping_secondary_database", Some(1), what.clone());
        let ended = world.act(&*remove(&world)).await;
        if matches!(what, What::DieBefore | What::DieAfter) {
            assert!(matches!(ended, Err(Failure::Unclear(_))), "{what:?}: {ended:?}");
            world.died(SECONDARY).await;
            world.run(SECONDARY).await;
        } else {
            ended.expect("it is gone");
        }
        if what == What::DieBefore {
            assert!(matches!(world.observe(&*remove(&world)).await, Ok(Observation::Differs { .. })));
            world.act(&*remove(&world)).await.expect("removed");
        }
        assert_eq!(world.unchanged(&*remove(&world)).await, expected.data["shipping"], "{what:?}");
    }
}

#[tokio::test]
async fn nothing_is_removed_where_it_cannot_be_kept() {
    let world = set_up().await;
    fs::write(world.path("agent/runs/g/log-shipping"), "in the way").expect("written");
    world.refused(&*remove(&world), "BTN-0664").await;
    assert!(world.statements(SECONDARY, "EXEC master.dbo.sp_delete").is_empty());
}

#[tokio::test]
async fn a_dead_share_is_told_with_what_the_removed_record_knew() {
    let world = set_up().await;
    world.act(&*remove(&world)).await.expect("removed");
    fs::rename(world.path("share"), world.path("gone")).expect("renamed");
    let data = world.unchanged(&*world.copy(json!({ "source_may_be_down": true }))).await;
    let missing = data["missing"].to_string();
    assert!(missing.contains("is not known here"), "{missing}");
}

#[tokio::test]
async fn a_login_without_rights_is_named_with_the_remedy() {
    let world = set_up().await;
    let mut connection = world.connection(SECONDARY);
    connection["user"] = json!("weak");
    let action = world.action("mssql.log_shipping.remove", SECONDARY, json!({ "connection": connection }));
    let fault = world.observe(&*action).await.expect_err("it may not");
    assert_eq!(fault.code, "BTN-0606");
    for part in [SECONDARY, "login weak"] {
        assert!(fault.message.contains(part), "{part:?} in {fault}");
    }
}
