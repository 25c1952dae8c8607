//! A host's agent over the lives of its processes: it gives orders as the leaders of one coordinator after the other would.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    sync::Arc,
};

use baton_agent::{
    action::{Context, ContextOptions, bind},
    executor::crash::Point,
    host::Host,
};
use baton_model::{
    action::Action,
    fence::Fence,
    ids::{StepId, TaskId},
    order::Order,
    outcome::{Fault, Observation, Outcome, Report},
    time::Span,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    life::{self, Fixed},
    row::Row,
};

/// More than any of them takes.
const LONG: Span = Span::from_secs(120);

/// See the module.
pub struct Agent {
    directory: tempfile::TempDir,
    pub init_scripts: Option<PathBuf>,
    run: Cell<u64>,
    term: Cell<u64>,
    index: Cell<u64>,
}

impl Agent {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory, init_scripts: None, run: Cell::new(0), term: Cell::new(1), index: Cell::new(10) }
    }

    fn state(&self) -> &Path {
        self.directory.path()
    }

    /// Of the present run.
    pub fn kept(&self) -> PathBuf {
        self.state().join("runs/g").join(self.run.get().to_string())
    }

    pub fn next_run(&self) {
        self.run.set(self.run.get() + 1);
    }

    fn task(&self, step: &str, attempt: u32) -> TaskId {
        TaskId {
            run: format!("g-{}", self.run.get()).parse().expect("a run"),
            step: StepId(step.to_owned()),
            host: "db1".parse().expect("a host"),
            attempt,
        }
    }

    pub fn order(&self, step: &str, attempt: u32, action: &str, params: &Value, timeout: Span) -> Order {
        self.index.set(self.index.get() + 1);
        let fence = Fence { generation: 1, term: self.term.get(), index: self.index.get() };
        Order { task: self.task(step, attempt), fence, action: action.to_owned(), params: params.clone(), timeout }
    }

    pub async fn lead(&self, order: &Order, dies_at: Option<Point>) -> Option<Report> {
        life::lead(self.state(), self.init_scripts.as_deref(), order, dies_at).await
    }

    /// Something that must be so before the cycle begins.
    pub async fn prepare(&self, action: &str, params: &Value) {
        self.next_run();
        let report = self.perform("0", action, params).await;
        assert_eq!(report.outcome, Outcome::Changed, "{action}: {report:?}");
    }

    pub async fn perform(&self, step: &str, action: &str, params: &Value) -> Report {
        self.attempt(step, 1, action, params).await
    }

    pub async fn attempt(&self, step: &str, attempt: u32, action: &str, params: &Value) -> Report {
        self.lead(&self.order(step, attempt, action, params, LONG), None).await.expect("it does not die")
    }

    /// Dies at the point, and is led to its end by another process under the next leader.
    pub async fn perform_through(&self, step: &str, row: &Row<'_>, point: Point) -> Report {
        let mut order = self.order(step, 1, row.action, &row.params, LONG);
        self.lead(&order, Some(point)).await;
        self.term.set(self.term.get() + 1);
        order.fence.term = self.term.get();
        self.lead(&order, None).await.expect("it does not die again")
    }

    /// As step 1 of the present run would, outside of any task.
    pub async fn observe(&self, action: &str, params: &Value) -> Result<Observation, Fault> {
        let perform = bind(&Action::parse(action, params).unwrap_or_else(|error| panic!("{error}")))?;
        let kept = self.kept();
        std::fs::create_dir_all(&kept).expect("made");
        let mut host = Host::default();
        if let Some(directory) = &self.init_scripts {
            host.init_scripts = directory.clone();
        }
        let context = Context::new(ContextOptions {
            task: Some(self.task("1", 1)),
            directory: None,
            run_directory: Some(kept),
            policy: Arc::new(life::policy()),
            secrets: Arc::new(Fixed),
            host,
            timeout: LONG.to_std(),
            cancel: CancellationToken::new(),
            progress: None,
        });
        perform.observe(&context.expect("a context")).await
    }
}
