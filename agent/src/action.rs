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
pub mod exec;
pub mod powershell;
pub mod file;
pub mod mssql;
pub mod process;
pub mod service;
pub mod slony;
pub mod sql;
#[cfg(test)]
pub(crate) mod trial;
pub mod wait;

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

    /// It does no harm to act again even where `observe` cannot tell: the author of the runbook said so, or what it does is
    /// the same however often it is done. A condition that gave no answer is neither: what is repeatable and not this is done
    /// only after an observation that has told.
    fn repeatable_blind(&self) -> bool {
        false
    }

    /// For `register`, where the first observation found it in place and nothing was done. No side effects. Later steps need
    /// what an action knows also when its run is repeated.
    async fn found(&self, _context: &Context) -> Result<Value, Fault> {
        Ok(Value::Null)
    }

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
        Action::ServiceStart(params) => service::bind::start(params),
        Action::ServiceStop(params) => service::bind::stop(params),
        Action::ServiceRestart(params) => service::bind::restart(params),
        Action::ServiceRunning(params) => service::bind::running(params),
        Action::ServiceStopped(params) => service::bind::stopped(params),
        // process: action/process.rs
        Action::ProcessStop(params) => process::bind::stop(params),
        Action::ProcessRunning(params) => process::bind::running(params),
        // file: action/file.rs
        Action::FileProperties(params) => file::bind::properties(params),
        Action::FileLine(params) => file::bind::line(params),
        Action::FileReplace(params) => file::bind::replace(params),
        Action::FileTemplate(params) => file::bind::template(params),
        Action::FileCopy(params) => file::bind::copy(params),
        Action::FileBackup(params) => file::bind::backup(params),
        Action::FileRestore(params) => file::bind::restore(params),
        // exec: action/exec.rs
        Action::ExecRun(params) => exec::bind(params),
        Action::ExecPowershell(params) => powershell::bind(params),
        // sql: action/sql.rs
        Action::SqlExec(params) => sql::bind::exec(params),
        Action::SqlQuery(params) => sql::bind::query(params),
        // slony: action/slony.rs
        Action::SlonyState(params) => Ok(Box::new(params.clone())),
        Action::SlonyEvidence(params) => Ok(Box::new(params.clone())),
        Action::SlonyAdvanceSequences(params) => Ok(Box::new(params.clone())),
        Action::SlonyDrop(params) => Ok(Box::new(params.clone())),
        Action::SlonyCopy(params) => Ok(Box::new(params.clone())),
        Action::SlonyStart(params) => Ok(Box::new(params.clone())),
        Action::SlonyStop(params) => Ok(Box::new(params.clone())),
        Action::SlonyInit(params) => Ok(Box::new(params.clone())),
        Action::SlonyJoin(params) => Ok(Box::new(params.clone())),
        Action::SlonySubscribe(params) => Ok(Box::new(params.clone())),
        Action::SlonyCaughtUp(params) => Ok(Box::new(params.clone())),
        Action::SlonyMoveSet(params) => Ok(Box::new(params.clone())),
        Action::SlonyFailover(params) => Ok(Box::new(params.clone())),
        Action::SlonyOrigin(params) => Ok(Box::new(params.clone())),
        Action::SlonyVerify(params) => Ok(Box::new(params.clone())),
        Action::SlonyLostRows(params) => Ok(Box::new(params.clone())),
        // mssql: action/mssql.rs
        Action::MssqlAgSynchronized(params) => mssql::bind::ag_synchronized(params),
        Action::MssqlAgRole(params) => mssql::bind::ag_role(params),
        Action::MssqlAgSample(params) => mssql::bind::ag_sample(params),
        Action::MssqlAgFailover(params) => mssql::bind::ag_failover(params),
        Action::MssqlAgForceFailover(params) => mssql::bind::ag_force_failover(params),
        Action::MssqlAgResume(params) => mssql::bind::ag_resume(params),
        Action::MssqlAgSuspend(params) => mssql::bind::ag_suspend(params),
        Action::MssqlAgSetMode(params) => mssql::bind::ag_set_mode(params),
        Action::MssqlAgAdd(params) => mssql::bind::ag_add(params),
        Action::MssqlAgJoin(params) => mssql::bind::ag_join(params),
        Action::MssqlAgLeave(params) => mssql::bind::ag_leave(params),
        Action::MssqlBackup(params) => mssql::bind::backup(params),
        Action::MssqlRestore(params) => mssql::bind::restore(params),
        Action::MssqlKillConnections(params) => mssql::bind::kill_connections(params),
        Action::MssqlLogShippingState(params) => mssql::bind::log_shipping_state(params),
        Action::MssqlLogShippingRemove(params) => mssql::bind::log_shipping_remove(params),
        Action::MssqlLogShippingCopy(params) => mssql::bind::log_shipping_copy(params),
        Action::MssqlLogShippingApply(params) => mssql::bind::log_shipping_apply(params),
        Action::MssqlLogShippingRecover(params) => mssql::bind::log_shipping_recover(params),
        Action::MssqlLogShippingPrimary(params) => mssql::bind::log_shipping_primary(params),
        Action::MssqlLogShippingSecondary(params) => mssql::bind::log_shipping_secondary(params),
        // wait: action/wait.rs
        Action::WaitTcp(params) => wait::bind::tcp(params),
        Action::WaitHttp(params) => wait::bind::http(params),
        Action::WaitUntil(params) => wait::bind::until(params),
    }
}
