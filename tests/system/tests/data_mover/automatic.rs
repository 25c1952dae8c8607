//! What fails over by itself and what does not, and that nothing of the side that is not active is left running.

use std::time::Duration;

use baton_lab::{
    cluster::until,
    data_mover::{Client, Fault, Installation, Side, installation::NAME, judge},
    story::{
        Show, Teller, command,
        data_mover::{configured, failed_over, fails_over, switched_back, synchronized, unsynchronized},
    },
};

use crate::driver::{self, Setting};

const WITHIN: Duration = Duration::from_secs(60);

async fn in_use(directory: &std::path::Path, teller: &mut Teller) -> (Installation, Client) {
    let lab = driver::build(directory, &Setting::default()).await;
    configured(&lab, teller, Show::Quiet).await.expect("configured");
    let client = lab.start_client().expect("a client");
    client.has_written("dm1", 5, WITHIN).await.expect("dm1 serves");
    (lab, client)
}

/// One thing dies, and the other side serves; then the way back.
async fn fails_over_and_back(fault: Fault) {
    let (directory, mut teller) = (driver::folder(), Teller::new("teradata-data-mover"));
    let (lab, client) = in_use(directory.path(), &mut teller).await;
    unsynchronized(&lab, &mut teller, &client).await.expect("jobs that only dm1 has");
    fails_over(&lab, &mut teller, Show::Quiet, fault).expect("a failover by itself");
    let lost = failed_over(&lab, &mut teller, &client, 2).await.expect("dm2 serves");
    if fault == Fault::Repository {
        lab.world.start_repository(Side::Primary).await.expect("somebody repairs it");
    }
    switched_back(&lab, &mut teller, Show::Quiet, &client, &lost, 3).await.expect("dm1 serves");
    synchronized(&lab, &mut teller, &client, Side::Primary).await.expect("repositories are kept in synchronization");
    assert!(teller.finish(), "{}", teller.record.table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_services_death_fails_over_by_itself() {
    fails_over_and_back(Fault::Rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_repositorys_death_fails_over_by_itself() {
    fails_over_and_back(Fault::Repository).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_death_fails_over_by_itself() {
    fails_over_and_back(Fault::Broker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_all_agents_fails_over_by_itself_and_of_one_it_does_not() {
    let (directory, mut teller) = (driver::folder(), Teller::new("teradata-data-mover"));
    let (lab, client) = in_use(directory.path(), &mut teller).await;
    let before = command::newest_run(&lab.cluster, NAME).expect("runs");
    lab.world.strike(Side::Primary, Fault::OneAgent).expect("an agent died");
    // Several times as long as a failover takes to begin.
    client.has_written("dm1", 300, WITHIN).await.expect("dm1 serves on");
    assert_eq!(command::newest_run(&lab.cluster, NAME).expect("runs"), before, "one agent of three is no reason");
    lab.world.fleet.service("dma1", "dmagent", "start").await.expect("somebody starts it");
    fails_over(&lab, &mut teller, Show::Quiet, Fault::AllAgents).expect("a failover by itself");
    failed_over(&lab, &mut teller, &client, 2).await.expect("dm2 serves");
    assert!(teller.finish(), "{}", teller.record.table());
}

/// A whole side is started by hand while the other one is active, as after a reboot with everything enabled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_started_on_the_side_that_is_not_active_is_stopped() {
    let (directory, mut teller) = (driver::folder(), Teller::new("teradata-data-mover"));
    let (lab, client) = in_use(directory.path(), &mut teller).await;
    lab.world.start(Side::Secondary).await.expect("everything is started");
    until(WITHIN, "end of all that", || {
        let running = lab.world.running_on(Side::Secondary);
        anyhow::ensure!(running.is_empty(), "{running:?}");
        Ok(())
    })
    .expect("their agents stop it");
    client.has_written("dm1", 20, WITHIN).await.expect("dm1 serves on");
    let record = client.stop().await.expect("a record");
    let verdict = judge::judge(&record.acknowledged);
    assert_eq!(verdict.faults, [""; 0], "{}", verdict.summary());
    assert_eq!(
        command::newest_run(&lab.cluster, NAME).expect("runs").as_deref(),
        Some("dm-1"),
        "nothing else happened"
    );
}
