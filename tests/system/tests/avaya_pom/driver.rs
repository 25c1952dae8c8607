//! Drives a run to its end as a patient operator would, and tells of every order at the moment when it is sent.

use std::{
    collections::BTreeSet,
    fs::File,
    future::Future,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use baton_lab::{
    cluster::{Binaries, until},
    horizon,
    pom::{AVAILABILITY_GROUP, DATABASE, GROUP, POM_SERVERS, Pom, SERVERS, SERVICE, Setting},
    sqlserver::{self, world},
};
use serde_json::Value;

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

/// The orders that coordinators send, as their logs tell at the moment of sending: the only way to do something exactly then.
pub struct Orders {
    logs: Vec<(PathBuf, u64)>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub coordinator: usize,
    pub step: String,
    pub host: String,
}

impl Orders {
    /// From now on.
    pub fn of(pom: &Pom) -> Self {
        let logs = (0..pom.cluster.coordinators()).map(|number| (pom.cluster.coordinator_log(number).to_owned(), 0));
        let mut orders = Self { logs: logs.collect() };
        orders.news();
        orders
    }

    fn news(&mut self) -> Vec<Order> {
        let mut news = Vec::new();
        for (coordinator, (path, offset)) in self.logs.iter_mut().enumerate() {
            let mut file = File::open(&*path).expect("a coordinator's log");
            file.seek(SeekFrom::Start(*offset)).expect("seek in the log");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read the log");
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *offset += whole as u64;
            for line in text[..whole].lines() {
                // ordered task=RUN/STEP@HOST#ATTEMPT
                let task = line.split_once("ordered task=").and_then(|(_, task)| task.split_once('/'));
                let Some((step, host)) = task.and_then(|(_, rest)| rest.split_once('@')) else { continue };
                let host = host.split('#').next().unwrap_or_default().to_owned();
                news.push(Order { coordinator, step: step.to_owned(), host });
            }
        }
        news
    }
}

/// What happened on the way.
#[derive(Debug, Default)]
pub struct Way {
    /// Steps that were ordered.
    pub ordered: BTreeSet<String>,
    /// Why it halted, each time.
    pub halts: Vec<String>,
    pub view: Value,
}

/// Drives a run to its end: a person confirms what is asked and retries what has halted, after `mend`. `at` is told of the first
/// order of every step, also while the command is asked how the run is.
pub async fn drive(
    pom: &mut Pom,
    orders: &mut Orders,
    run: &str,
    mut at: impl AsyncFnMut(&mut Pom, &Order),
    mut mend: impl AsyncFnMut(&mut Pom, &str),
) -> Way {
    let (begun, mut way) = (Instant::now(), Way::default());
    let mut looking = look(pom, run);
    loop {
        assert!(begun.elapsed() < WITHIN, "{run} is not over after {WITHIN:?}: {way:#?}");
        let news = orders.news();
        for order in &news {
            if way.ordered.insert(order.step.clone()) {
                at(pom, order).await;
            }
        }
        if news.is_empty() && looking.is_finished() {
            // Nobody may lead at the moment: then it is asked again.
            if let Some(view) = looking.await.expect("looking does not panic") {
                way.view = view;
                let waits = way.view["steps"].as_array().into_iter().flatten().any(|step| step["state"] == "waiting");
                if way.view["over"] == true {
                    // Orders of the last moment.
                    way.ordered.extend(orders.news().into_iter().map(|order| order.step));
                    return way;
                } else if way.view["phase"] == "halted" {
                    let why = way.view["why"].as_str().unwrap_or_default().to_owned();
                    way.halts.push(why.clone());
                    assert!(way.halts.len() < 12, "{run} halts again and again: {:#?}", way.halts);
                    mend(pom, &why).await;
                    drop(pom.cluster.json(&["retry", run, "--reason", "mended"]));
                } else if waits {
                    drop(pom.cluster.json(&["confirm", run, "--reason", "seen"]));
                }
            }
            looking = look(pom, run);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks the command how a run is, beside everything else.
fn look(pom: &Pom, run: &str) -> tokio::task::JoinHandle<Option<Value>> {
    let mut command = pom.cluster.command(&["show", run, "-o", "json"]);
    tokio::task::spawn_blocking(move || {
        let output = command.output().ok().filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    })
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
