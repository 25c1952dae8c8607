//! A quick world, and runs in it that are driven to their end, with a word at every order at the moment when it is sent.

use std::{future::Future, path::Path, process::Output, time::Duration};

use baton_crashes::first_orders::FirstOrders;
pub use baton_crashes::{drive::Way, first_orders::Order, news::Chronicle as Orders};
use baton_lab::{
    cluster::{Binaries, until},
    horizon,
    pom::{AVAILABILITY_GROUP, DATABASE, GROUP, POM_SERVERS, Pom, SERVERS, SERVICE, Setting},
    sqlserver::{self, world},
};

/// How long a run may take with all its accidents, on a loaded machine.
pub const WITHIN: Duration = Duration::from_secs(180);

/// A quick world.
pub async fn pom(directory: &Path, suspends: bool) -> Pom {
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    let setting = Setting { suspends, timing: world::Options::quick(), warm_up_ms: 20, window: None };
    Pom::build(directory, helper, binaries, &setting, |_| {}).await.expect("a world")
}

/// Begins a switchover; answers its name.
pub fn begin(pom: &Pom, to: &str) -> String {
    begin_with(pom, &["switchover", GROUP, "--to", to])
}

/// Begins to resume a member's data movement; answers the run's name.
pub fn begin_to_resume(pom: &Pom, member: &str) -> String {
    begin_with(pom, &["run", GROUP, "resume-data-movement", "-i", &format!("member={member}")])
}

fn begin_with(pom: &Pom, words: &[&str]) -> String {
    let said = start(pom, words);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

/// Asks for a run, outside the window; what came of it.
pub fn start(pom: &Pom, words: &[&str]) -> Output {
    let more = ["--yes", "--detach", "--reason", "a test", "--override", "window=a test"];
    pom.cluster.baton(&[words, &more].concat()).expect("run baton")
}

/// Stops POM on all its servers, as for maintenance.
pub fn stop(pom: &Pom) {
    let said = pom.cluster.baton(&["run", GROUP, "stop", "--yes", "--reason", "a test"]).expect("run baton");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(POM_SERVERS.iter().all(|server| !pom.fleet.runs(server.0, SERVICE)), "POM is stopped");
}

/// Drives a run to its end: a person confirms what is asked and retries what has halted, after `mend`. `at` is told of the first
/// order of every step, also while the command is asked how the run is.
pub async fn drive(
    pom: &mut Pom,
    orders: &mut Orders,
    run: &str,
    at: impl AsyncFnMut(&mut Pom, &Order),
    mend: impl AsyncFnMut(&mut Pom, &str),
) -> Way {
    let driven = baton_crashes::drive::drive(pom, orders, run, WITHIN, &mut FirstOrders::new(at, mend)).await;
    driven.unwrap_or_else(|error| panic!("{error:#}"))
}

/// What is logged from now on.
pub fn from_now(pom: &Pom) -> Orders {
    Orders::of(&pom.cluster).expect("the logs")
}

/// Waits until an instance that was started again is what it was: it runs, and its copy moves or leads.
pub async fn recovered(pom: &Pom, machine: &str) {
    pom.fleet.service(machine, sqlserver::SERVICE, "start").await.expect("the instance starts");
    let instance = instance(machine);
    until(WITHIN, "instance that has recovered", || {
        let world = pom.instances.control().world()?;
        let primaries = pom.instances.control().primaries(AVAILABILITY_GROUP)?;
        let hadr = world.database(instance, DATABASE).and_then(|database| database.hadr.as_ref());
        let well = hadr.is_some_and(|hadr| hadr.suspended.is_some() || hadr.movement.moves());
        anyhow::ensure!(primaries.len() == 1 && (primaries[0] == instance || well), "{primaries:?}, {hadr:?}");
        Ok(())
    })
    .expect("recovered");
}

pub fn instance(machine: &str) -> &'static str {
    SERVERS.iter().find(|server| server.0 == machine).expect("a database server").1
}

/// Nothing to do.
pub fn nothing() -> impl Future<Output = ()> {
    std::future::ready(())
}
