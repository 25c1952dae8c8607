//! A quick Data Mover world, and runs in it that are driven to their end, with a word at every order at the moment when it is sent.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use baton_lab::data_mover::installation::Setting;
use baton_lab::{
    cluster::Binaries,
    data_mover::{Installation, installation::NAME},
    horizon, packages,
};
use serde_json::Value;

/// How long a run may take with all its accidents, on a loaded machine.
const WITHIN: Duration = Duration::from_secs(180);

/// User postgres must be able to enter it.
pub fn folder() -> tempfile::TempDir {
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("baton-system-").permissions(open).tempdir().expect("a folder")
}

pub async fn build(directory: &Path, setting: &Setting) -> Installation {
    let programs = packages::ensure(&packages::DATA_MOVER, |line| eprintln!("{line}")).await.expect("packages");
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs");
    Installation::build(directory, programs, helper, binaries, setting, |_| {}).await.expect("a world")
}

/// An order of a coordinator, as its log tells at the moment of sending: the only way to do something exactly then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub coordinator: usize,
    pub step: String,
    pub host: String,
}

struct Orders {
    logs: Vec<(PathBuf, u64)>,
}

impl Orders {
    /// From now on.
    fn of(lab: &Installation) -> Self {
        let logs = (0..lab.cluster.coordinators()).map(|number| (lab.cluster.coordinator_log(number).to_owned(), 0));
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

/// Begins a run and drives it to its end, which must be a good one; `at` is told of the first order of every step. Returns the
/// steps that were ordered.
pub async fn drive(
    lab: &mut Installation,
    arguments: &[&str],
    mut at: impl AsyncFnMut(&mut Installation, &Order),
) -> BTreeSet<String> {
    let mut orders = Orders::of(lab);
    let all = [arguments, &["--yes", "--detach", "--reason", "a test"]].concat();
    let said = lab.cluster.baton(&all).expect("run baton");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let run = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let (begun, mut ordered) = (Instant::now(), BTreeSet::new());
    let mut looking = look(lab, &run);
    loop {
        assert!(begun.elapsed() < WITHIN, "{run} of {NAME} is not over after {WITHIN:?}, at {ordered:?}");
        let news = orders.news();
        for order in &news {
            if ordered.insert(order.step.clone()) {
                at(lab, order).await;
            }
        }
        if news.is_empty() && looking.is_finished() {
            // Nobody may lead at the moment: then it is asked again.
            if let Some(view) = looking.await.expect("looking does not panic") {
                assert_ne!(view["phase"], "halted", "{run}: {view:#}");
                if view["over"] == true {
                    assert_eq!(view["phase"], "succeeded", "{run}: {view:#}");
                    ordered.extend(orders.news().into_iter().map(|order| order.step));
                    return ordered;
                }
            }
            looking = look(lab, &run);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks the command how a run is, beside everything else.
fn look(lab: &Installation, run: &str) -> tokio::task::JoinHandle<Option<Value>> {
    let mut command = lab.cluster.command(&["show", run, "-o", "json"]);
    tokio::task::spawn_blocking(move || {
        let output = command.output().ok().filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    })
}
