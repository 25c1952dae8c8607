//! The actions: observe, act, observe (DESIGN.md section 5).
//!
//! Apart because everything that changes a host goes through [`Perform`], and nothing else does. An action must never
//! look at the fence, the journal or the session: whether it may run has been decided when it is called.

use async_trait::async_trait;
use baton_model::{
    action::Action,
    outcome::{Fault, Observation},
};
use serde_json::Value;

pub mod context;

pub use context::{AttachmentFile, Context, ContextOptions, Note};

/// One action with its parameters, on this host.
#[async_trait]
pub trait Perform: Send + Sync {
    /// Is the desired state already true here? No side effects: this is also the dry run. It may wait only as long as an
    /// answer takes, not until the state comes true.
    async fn observe(&self, context: &Context) -> Result<Observation, Fault>;

    /// Makes it true. Must end soon after [`Context::cancelled`], with what it started (programs, queries) ended too.
    async fn act(&self, context: &Context) -> Result<Effect, Failure>;

    /// It does no harm to act again where a crash left it unclear and `observe` says that it differs.
    fn repeatable(&self) -> bool;

    /// A check or a wait: `act` is the check itself (waiting as long as it should), and changes nothing. It is neither
    /// observed before nor after, is always repeatable, and ends as unchanged or failed.
    fn only_observes(&self) -> bool {
        false
    }
}

/// What acting did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effect {
    /// One line for a person.
    pub summary: String,
    /// For `register`.
    pub data: Value,
    /// Whether anything was changed, where the action knows better than the two observations.
    pub changed: Option<bool>,
}

impl Effect {
    /// An effect with a summary alone.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }
}

/// Why acting did not succeed. A [`Fault`] becomes `Failed` with `?`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It failed, and that is certain.
    #[error(transparent)]
    Failed(#[from] Fault),
    /// Nobody can tell from here whether the effect happened (the connection broke during the commit). The executor
    /// observes, and says unknown where that tells nothing.
    #[error("{0}")]
    Unclear(Fault),
}

/// The action that stands for a model action. Parameters that make no sense (an empty selector, a relative path) are
/// a fault `BTN-0498` here, before anything is observed.
pub fn bind(action: &Action) -> Result<Box<dyn Perform>, Fault> {
    match action {
        // service: action/service.rs
        Action::ServiceStart(_)
        | Action::ServiceStop(_)
        | Action::ServiceRestart(_)
        | Action::ServiceRunning(_)
        | Action::ServiceStopped(_) => missing(action),
        // process: action/process.rs
        Action::ProcessStop(_) | Action::ProcessRunning(_) => missing(action),
        // file: action/file.rs
        Action::FileProperties(_)
        | Action::FileLine(_)
        | Action::FileReplace(_)
        | Action::FileTemplate(_)
        | Action::FileCopy(_)
        | Action::FileBackup(_)
        | Action::FileRestore(_) => missing(action),
        // exec: action/exec.rs
        Action::ExecRun(_) => missing(action),
        // sql: action/sql.rs
        Action::SqlExec(_) | Action::SqlQuery(_) => missing(action),
        // slony: action/slony.rs
        Action::SlonyState(_)
        | Action::SlonyEvidence(_)
        | Action::SlonyAdvanceSequences(_)
        | Action::SlonyDrop(_)
        | Action::SlonyStart(_)
        | Action::SlonyStop(_)
        | Action::SlonyInit(_)
        | Action::SlonyJoin(_)
        | Action::SlonySubscribe(_)
        | Action::SlonyCaughtUp(_)
        | Action::SlonyMoveSet(_)
        | Action::SlonyFailover(_)
        | Action::SlonyOrigin(_)
        | Action::SlonyVerify(_)
        | Action::SlonyLostRows(_) => missing(action),
        // wait: action/wait.rs
        Action::WaitTcp(_) | Action::WaitHttp(_) | Action::WaitUntil(_) => missing(action),
    }
}

fn missing(action: &Action) -> Result<Box<dyn Perform>, Fault> {
    Err(Fault::new(
        "BTN-0499",
        format!("this agent (version {}) cannot do {}", env!("CARGO_PKG_VERSION"), action.name()),
        "Install a newer agent on this host.",
    ))
}
