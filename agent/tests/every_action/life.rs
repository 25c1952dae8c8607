//! One life of an agent's process: it opens the journal, obeys one order, and ends when it has said how it went, or by SIGKILL at a named point
//! between the journal and the effect.
//!
//! Apart because a process that is killed must be one: nothing of it is unwound, nothing flushed, and the kernel ends what it had started.

use std::{
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use baton_agent::{
    action,
    executor::{
        self, Executor, Request, UP_CAPACITY,
        crash::{Crash, Point},
    },
    guard::Post,
    host::Host,
    journal::Journal,
    policy::Policy,
    secrets::{Secret, Secrets},
};
use baton_model::{
    fence::Reign,
    order::Order,
    outcome::{Fault, Report},
};
use baton_platform::clock::{Clock as _, SystemClock};
use baton_proto::v1::from_agent::Message as Up;
use baton_wire::agent as wire;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const LIFE: &str = "BATON_TEST_LIFE";
const COORDINATOR: &str = "c1";
/// The one secret of this host.
pub const SECRET: &str = "Secret-1";
const PATIENCE: Duration = Duration::from_secs(180);

/// The points, in the order in which a task comes by them.
pub const POINTS: [Point; 6] =
    [Point::Received, Point::BeforeStarted, Point::Started, Point::Acted, Point::BeforeFinished, Point::Finished];

/// What the process is told.
#[derive(Serialize, Deserialize)]
struct Told {
    state: PathBuf,
    order: Order,
    answer: PathBuf,
    init_scripts: Option<PathBuf>,
    /// Index in [`POINTS`].
    dies_at: Option<usize>,
}

/// Lets the agent touch everything.
pub fn policy() -> Policy {
    let all = "services=['*']\npaths=['/**']\nprograms=['/**','/usr/bin/slon']\nusers=['*']\nsecrets=['*']\ncmdlets=['*']\ndatabases=['*']";
    Policy::parse(Path::new("policy.toml"), all).expect("a policy")
}

pub struct Fixed;

#[async_trait]
impl Secrets for Fixed {
    async fn secret(&self, _name: &str) -> Result<Secret, Fault> {
        Ok(Secret::new(SECRET.to_owned()))
    }
}

struct DiesAt(Option<Point>);

impl Crash for DiesAt {
    fn at(&self, point: Point) {
        if self.0 == Some(point) {
            // SAFETY: plain system calls, about this process alone.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            loop {
                std::thread::park();
            }
        }
    }
}

/// The process's part.
pub fn live() {
    let Ok(told) = std::env::var(LIFE) else { return };
    let told: Told = serde_json::from_str(&told).expect("what it is told");
    baton_platform::tls::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(obey(&told));
    std::fs::write(&told.answer, serde_json::to_vec(&report).expect("JSON")).expect("written");
}

async fn obey(told: &Told) -> Report {
    let journal = Journal::open(&told.state.join("journal.redb")).expect("a journal");
    let clock = Arc::new(SystemClock::new());
    let mut host = Host::default();
    if let Some(directory) = &told.init_scripts {
        host.init_scripts = directory.clone();
    }
    let options = executor::Options {
        host_name: told.order.task.host.clone(),
        state_directory: told.state.clone(),
        policy: Arc::new(ArcSwap::from_pointee(policy())),
        secrets: Arc::new(Fixed),
        host,
        clock: clock.clone(),
        tasks_max: 4,
        observations_max: 4,
        bind: Arc::new(action::bind),
        crash: Arc::new(DiesAt(told.dies_at.map(|index| POINTS[index]))),
        post: Post::new(clock.clone(), journal.ledger()),
    };
    let (executor, handle) = Executor::new(options, journal);
    let stop = CancellationToken::new();
    let running = tokio::spawn(executor.run(stop.clone()));
    let (up, mut messages) = mpsc::channel(UP_CAPACITY);
    let reign = Reign { generation: told.order.fence.generation, term: told.order.fence.term };
    let accession = wire::Accession { request: 1, reign, marks: Vec::new(), floors: Vec::new() };
    handle.send(Request::Attach { coordinator: COORDINATOR.into(), up }).await;
    handle.send(Request::Reign { from: COORDINATOR.into(), accession }).await;
    let order = told.order.clone();
    handle.send(Request::Execute { from: COORDINATOR.into(), order, heard_ms: clock.boot_ms() }).await;
    let report = loop {
        match messages.recv().await.expect("the executor goes on").message.expect("a message") {
            Up::Finished(finished) => {
                let (task, _, report) = wire::parse_finished(finished).expect("well formed");
                if task == told.order.task {
                    break report;
                }
            }
            Up::Declined(declined) => panic!("declined: {declined:?}"),
            _ => {}
        }
    };
    stop.cancel();
    running.await.expect("it does not panic").expect("the journal is written");
    report
}

/// A life that ends with a report; or, where a point is given, one that must end there.
pub async fn lead(state: &Path, init_scripts: Option<&Path>, order: &Order, dies_at: Option<Point>) -> Option<Report> {
    let answer = state.join("answer.json");
    let _ = std::fs::remove_file(&answer);
    let told = Told {
        state: state.to_owned(),
        order: order.clone(),
        answer: answer.clone(),
        init_scripts: init_scripts.map(Path::to_owned),
        dies_at: dies_at.map(|point| POINTS.iter().position(|one| *one == point).expect("a point")),
    };
    let log = std::fs::File::create(state.join("life.log")).expect("a log");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["agent_life", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(LIFE, serde_json::to_string(&told).expect("JSON")).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("started");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("killed");
            child.wait().expect("gone");
            panic!("{} did not end within {PATIENCE:?}: {}", order.action, said(state));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    match (dies_at, status.signal()) {
        (Some(_), Some(libc::SIGKILL)) => None,
        (Some(point), _) => panic!("{} never came by {point:?}: {status:?}; {}", order.action, said(state)),
        (None, _) if status.success() => {
            Some(serde_json::from_slice(&std::fs::read(&answer).expect("an answer")).expect("a report"))
        }
        (None, _) => panic!("{}: {status:?}; {}", order.action, said(state)),
    }
}

fn said(state: &Path) -> String {
    std::fs::read_to_string(state.join("life.log")).unwrap_or_default()
}
