//! The judge is judged: with both sides made active by hand, the clients' record must say so.

use std::{fs, time::Duration};

use baton_lab::data_mover::{
    Side,
    judge::judge,
    side::{DAEMON, PROPERTIES},
};

use crate::driver::{self, Setting};

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_actives_are_seen_by_the_clients_record() {
    let directory = driver::folder();
    // Nobody keeps anybody from it: Baton's agents are dead.
    let mut lab = driver::build(directory.path(), &Setting::default()).await;
    for machine in Side::BOTH.map(Side::machines).concat() {
        lab.cluster.kill_agent(machine);
    }
    let client = lab.start_client().expect("a client");
    let make_active = async |side: Side, epoch: u64| {
        let path = lab.world.fleet.machine(side.server()).path(PROPERTIES);
        fs::write(path, format!("cluster.mode=active\ncluster.epoch={epoch}\n")).expect("settings");
        lab.world.start(side).await.expect("started");
    };
    make_active(Side::Primary, 1).await;
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    assert_eq!(judge(&client.record().acknowledged).faults, [""; 0]);

    make_active(Side::Secondary, 2).await;
    client.has_written("dm2", 5, WITHIN).await.expect("dm2 serves");
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    let verdict = judge(&client.record().acknowledged);
    assert!(verdict.faults.iter().any(|fault| fault.contains("active at once")), "{verdict:?}");

    // The same epoch twice.
    lab.world.fleet.service("dm2", DAEMON, "stop").await.expect("stopped");
    make_active(Side::Secondary, 1).await;
    client.has_written("dm2", 5, WITHIN).await.expect("dm2 serves");
    let verdict = judge(&client.stop().await.expect("a record").acknowledged);
    assert!(verdict.faults.iter().any(|fault| fault.contains("same epoch")), "{verdict:?}");
}
