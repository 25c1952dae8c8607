//! The way back where it does not go well at first: a copy that is not equal moves nothing, what was kept stays kept, and an abort starts
//! the active side again. And the power of a whole side.

use std::{collections::BTreeSet, time::Duration};

use anyhow::ensure;
use baton_lab::{
    cluster::until,
    data_mover::{
        Client, Installation, Side,
        installation::NAME,
        judge,
        side::{COPIES, SYNC},
    },
    story::command,
};
use serde_json::Value;

use crate::driver::{self, Setting, drive};

const WITHIN: Duration = Duration::from_secs(60);

/// Configured by hand and in use.
async fn in_use(directory: &std::path::Path, setting: &Setting) -> (Installation, Client) {
    let mut lab = driver::build(directory, setting).await;
    drive(&mut lab, &["run", NAME, "configure"], async |_, _| {}).await;
    let client = lab.start_client().expect("a client");
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    (lab, client)
}

/// Jobs that only dm1 has, by what clients were answered.
async fn unsynchronized(lab: &Installation, client: &Client) {
    assert!(lab.world.fleet.kill("dm1", SYNC).expect("a signal"));
    client.has_written("dm1", 10, WITHIN).await.expect("dm1 serves");
}

async fn missing(lab: &Installation, client: &Client, side: Side) -> BTreeSet<i64> {
    let jobs = lab.world.repository(side).jobs().await.expect("jobs");
    let kept = judge::kept(&client.record().acknowledged, &jobs);
    assert!(kept.altered.is_empty(), "{kept:?}");
    kept.missing
}

/// Waits until a run halts or is over.
fn end(lab: &Installation, run: &str) -> Value {
    until(WITHIN, "end", || {
        let view = lab.cluster.json(&["show", run])?;
        ensure!(view["over"] == true || view["phase"] == "halted", "{}", view["phase"]);
        Ok(view)
    })
    .expect("an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_not_equal_moves_nothing_and_an_abort_starts_the_active_side_again() {
    let directory = driver::folder();
    let (mut lab, client) = in_use(directory.path(), &Setting::by_hand()).await;
    unsynchronized(&lab, &client).await;
    drive(&mut lab, &["failover", NAME], async |_, _| {}).await;
    client.has_written("dm2", 5, WITHIN).await.expect("dm2 serves");
    let lost = missing(&lab, &client, Side::Secondary).await;
    assert!(lost.len() >= 10, "{lost:?}");

    // Nothing of the copy takes it out.
    let home = lab.world.repository(Side::Primary).endpoint();
    home.run("add a table", "create table stranger(name text); insert into stranger values ('left by somebody')")
        .await
        .expect("a table");
    let said =
        lab.cluster.baton(&["run", NAME, "switchback", "--yes", "--detach", "--reason", "a test"]).expect("run baton");
    let run = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let view = end(&lab, &run);
    assert_eq!(view["phase"], "halted", "{view:#}");
    let failed = view["steps"].as_array().into_iter().flatten().find(|step| step["state"] == "failed");
    assert_eq!(failed.expect("a step")["name"], "The repository of the original server holds the same", "{view:#}");
    let group = command::group(&lab.cluster, NAME).expect("status");
    assert_eq!((&group["primary"], &group["epoch"]), (&"secondary".into(), &2.into()), "{group:#}");

    lab.cluster.json(&["abort", &run, "--reason", "not like this"]).expect("aborted");
    let view = until(WITHIN, "end", || {
        let view = lab.cluster.json(&["show", &run])?;
        ensure!(view["over"] == true, "{}", view["phase"]);
        Ok(view)
    })
    .expect("an end");
    assert_eq!(view["phase"], "rolled back", "{view:#}");
    client.has_written("dm2", 5, WITHIN).await.expect("dm2 serves again");
    assert_eq!(lab.world.running_on(Side::Primary), [""; 0]);

    // By now dm1's own repository is a copy of dm2's: what it had alone is in the file, and stays there.
    let copy = lab.world.fleet.machine("dm1").path(COPIES).join("2-kept.dump");
    let kept = std::fs::read(&copy).expect("a file");
    home.run("take it out", "drop table stranger").await.expect("no table");
    drive(&mut lab, &["run", NAME, "switchback"], async |_, _| {}).await;
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    assert_eq!(std::fs::read(&copy).expect("a file"), kept, "what was kept is not written over");
    assert_eq!(missing(&lab, &client, Side::Primary).await, lost);
    let verdict = judge::judge(&client.stop().await.expect("a record").acknowledged);
    assert_eq!(verdict.faults, [""; 0], "{}", verdict.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_side_that_loses_its_power_is_failed_over_from_and_returned_to() {
    let directory = driver::folder();
    // The role waits until the lease of a side that nobody reaches has certainly run out.
    let setting = Setting { lasts: "3s", ..Setting::by_hand() };
    let (mut lab, client) = in_use(directory.path(), &setting).await;
    unsynchronized(&lab, &client).await;
    lab.crash(Side::Primary).expect("the power cut");
    // What nobody reaches is left out.
    until(WITHIN, "silence", || {
        let hosts = lab.cluster.json(&["hosts"])?;
        let silent = |host: &Value| {
            !Side::Primary.machines().contains(&host["name"].as_str().unwrap_or_default())
                || host["reached_by"] == serde_json::json!([])
        };
        ensure!(hosts.as_array().is_some_and(|hosts| hosts.iter().all(silent)), "{hosts}");
        Ok(())
    })
    .expect("nobody reaches the primary side");
    drive(&mut lab, &["failover", NAME], async |_, _| {}).await;
    client.has_written("dm2", 5, WITHIN).await.expect("dm2 serves");
    let lost = missing(&lab, &client, Side::Secondary).await;
    assert!(lost.len() >= 10, "{lost:?}");

    lab.boot(Side::Primary).await.expect("the power is back");
    drive(&mut lab, &["run", NAME, "switchback"], async |_, _| {}).await;
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    assert_eq!(missing(&lab, &client, Side::Primary).await, lost);
    let verdict = judge::judge(&client.stop().await.expect("a record").acknowledged);
    assert_eq!(verdict.faults, [""; 0], "{}", verdict.summary());
}
