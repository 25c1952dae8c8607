//! The actions' parameters: what a runbook may ask of a host. One file a family; the agent has one implementation each.
//!
//! Parsing a [`Action`] from a name and parameters is the only way in, on both sides of the wire, so that what the planner
//! accepted is what the agent understands.

use schemars::{Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Span;

pub mod exec;
pub mod file;
pub mod mssql;
pub mod process;
pub mod service;
pub mod slony;
pub mod sql;
pub mod wait;

macro_rules! actions {
    ($($variant:ident($type:ty) = $name:literal, $timeout:expr, $changes:literal;)*) => {
        /// An action with its parameters, every value resolved but secrets.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Action {
            $(#[doc = $changes] $variant($type),)*
        }

        impl Action {
            /// Reads parameters strictly: an unknown key or a wrong type is an error that names it.
            pub fn parse(name: &str, params: &Value) -> Result<Self, ActionError> {
                match name {
                    $($name => serde_json::from_value(params.clone()).map(Action::$variant)
                        .map_err(|error| ActionError::Params { action: name.to_owned(), error: error.to_string() }),)*
                    _ => Err(ActionError::Unknown(name.to_owned())),
                }
            }
            /// `service.stop`.
            pub fn name(&self) -> &'static str {
                match self { $(Action::$variant(_) => $name,)* }
            }
        }

        /// Every action a runbook can name, in the order of the documentation.
        pub fn catalogue() -> Vec<Entry> {
            vec![$(Entry { name: $name, changes: $changes, timeout: $timeout, schema: schema_for!($type) },)*]
        }
    };
}

/// One action of the catalogue.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: &'static str,
    /// What it changes, in one sentence.
    pub changes: &'static str,
    /// How long a task of it may take where the step gives no `timeout`.
    pub timeout: Span,
    pub schema: Schema,
}

/// Why an action was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    #[error("there is no action {0:?}")]
    Unknown(String),
    #[error("{action}: {error}")]
    Params { action: String, error: String },
}

const MINUTE: Span = Span::from_secs(60);

actions! {
    ServiceStart(service::Start) = "service.start", Span::from_secs(300), "Starts a service and waits until it runs, and until it is ready where that is said.";
    ServiceStop(service::Stop) = "service.stop", Span::from_secs(300), "Stops a service and waits until it has stopped.";
    ServiceRestart(service::Restart) = "service.restart", Span::from_secs(300), "Stops a service and starts it again. It cannot be observed, so it is never repeated after a crash.";
    ServiceRunning(service::Running) = "service.running", MINUTE, "Changes nothing: fails unless the service runs.";
    ServiceStopped(service::Stopped) = "service.stopped", MINUTE, "Changes nothing: fails unless the service is stopped.";
    ProcessStop(process::Stop) = "process.stop", MINUTE, "Ends processes: TERM, then KILL after a grace, and waits until they are gone; first ends the watchdogs that would bring them back.";
    ProcessRunning(process::Running) = "process.running", MINUTE, "Changes nothing: fails unless such processes run (or unless none does).";
    FileProperties(file::Properties) = "file.properties", MINUTE, "Edits keys of a .properties file; comments, order, spacing and line ends stay.";
    FileLine(file::Line) = "file.line", MINUTE, "Makes one line of a text file present or absent.";
    FileReplace(file::Replace) = "file.replace", MINUTE, "Replaces text in a file.";
    FileTemplate(file::Template) = "file.template", MINUTE, "Writes a whole file.";
    FileCopy(file::Copy) = "file.copy", MINUTE, "Copies a file on the host.";
    FileBackup(file::Backup) = "file.backup", MINUTE, "Keeps a copy of a file beside the run.";
    FileRestore(file::Restore) = "file.restore", MINUTE, "Puts back what this run's step of the same path had replaced: the undo of the file actions.";
    ExecRun(exec::Run) = "exec.run", Span::from_secs(600), "Runs a program. It cannot be observed; give `creates` or `unless`, or it is unknown after a crash.";
    ExecPowershell(exec::Powershell) = "exec.powershell", Span::from_secs(600), "Runs a PowerShell cmdlet with its parameters as data. Give `get` and `expect`, or it cannot be observed.";
    SqlExec(sql::Exec) = "sql.exec", MINUTE, "Executes statements with bound parameters, in one transaction.";
    SqlQuery(sql::Query) = "sql.query", MINUTE, "Changes nothing: runs a query and holds its rows against an expectation.";
    SlonyState(slony::State) = "slony.state", MINUTE, "Changes nothing: reads origin, sets, subscriptions, triggers and lag of each database.";
    SlonyEvidence(slony::Evidence) = "slony.evidence", MINUTE, "Keeps what this node had applied of the origin, before anything destroys it.";
    SlonyAdvanceSequences(slony::AdvanceSequences) = "slony.advance_sequences", MINUTE, "Moves replicated sequences ahead, so that rows rescued later keep their keys.";
    SlonyDrop(slony::Drop) = "slony.drop", Span::from_secs(120), "Drops the replication schema; harmless when repeated.";
    SlonyCopy(slony::Copy) = "slony.copy", Span::from_secs(3600), "Replaces databases by those of an old origin that can still be read: dump, restore in one transaction, compare row by row.";
    SlonyStart(slony::Start) = "slony.start", Span::from_secs(120), "Starts the slon daemons that do not run yet.";
    SlonyStop(slony::Stop) = "slony.stop", Span::from_secs(120), "Ends every slon daemon, and first the watchdogs that restart them.";
    SlonyInit(slony::Init) = "slony.init", Span::from_secs(300), "Initialises the cluster with the new origin as node 1, and a set of every table and sequence.";
    SlonyJoin(slony::Join) = "slony.join", Span::from_secs(300), "Stores a second node and the paths between both.";
    SlonySubscribe(slony::Subscribe) = "slony.subscribe", Span::from_secs(900), "Subscribes the second node: its data is replaced by the origin's. Refused unless the replicated role says who is origin.";
    SlonyCaughtUp(slony::CaughtUp) = "slony.caught_up", Span::from_secs(300), "Waits until the subscriber has confirmed all that the origin had.";
    SlonyMoveSet(slony::MoveSet) = "slony.move_set", Span::from_secs(300), "Moves the origin with LOCK SET and MOVE SET; without loss.";
    SlonyFailover(slony::Failover) = "slony.failover", Span::from_secs(300), "Slony's own FAILOVER to a subscriber.";
    SlonyOrigin(slony::Origin) = "slony.origin", MINUTE, "Changes nothing: fails unless the node is (or is not) origin of the set.";
    SlonyVerify(slony::Verify) = "slony.verify", Span::from_secs(300), "Proves replication: tables and sequences against the catalogue, triggers, the active subscription, a fresh row across.";
    SlonyLostRows(slony::LostRows) = "slony.lost_rows", Span::from_secs(300), "Lists the rows that the old origin had and the new one never got; saves them as SQL and CSV.";
    MssqlAgSynchronized(mssql::AgSynchronized) = "mssql.ag.synchronized", Span::from_secs(900), "Changes nothing: fails (or waits) unless every database of the replica is synchronized and ready for failover.";
    MssqlAgRole(mssql::AgRole) = "mssql.ag.role", Span::from_secs(120), "Changes nothing: asks every replica for its role, health and databases. Two primaries fail it.";
    MssqlAgSample(mssql::AgSample) = "mssql.ag.sample", Span::from_secs(30), "Changes nothing: reads what the replica has hardened and committed, for a later data-loss bill.";
    MssqlAgFailover(mssql::AgFailover) = "mssql.ag.failover", Span::from_secs(600), "Makes the instance primary without loss, in the way of the group's cluster type; never by force where a replica could lose.";
    MssqlAgForceFailover(mssql::AgForceFailover) = "mssql.ag.force_failover", Span::from_secs(600), "Makes the instance primary although data may be lost. Only in a forced runbook, and only with an operator's acceptance.";
    MssqlAgResume(mssql::AgResume) = "mssql.ag.resume", Span::from_secs(300), "Resumes data movement of the instance's copies, after saying what they will throw away.";
    MssqlAgSuspend(mssql::AgSuspend) = "mssql.ag.suspend", Span::from_secs(300), "Suspends data movement of the instance's copies.";
    MssqlAgSetMode(mssql::AgSetMode) = "mssql.ag.set_mode", Span::from_secs(300), "Sets a replica's availability and failover mode; said to the primary.";
    MssqlAgAdd(mssql::AgAdd) = "mssql.ag.add", Span::from_secs(300), "Adds a database to the availability group; said to the primary.";
    MssqlAgJoin(mssql::AgJoin) = "mssql.ag.join", Span::from_secs(300), "Joins a restored copy to the availability group.";
    MssqlAgLeave(mssql::AgLeave) = "mssql.ag.leave", Span::from_secs(300), "Takes the instance's copy out of the availability group.";
    MssqlBackup(mssql::Backup) = "mssql.backup", Span::from_secs(4 * 3600), "Backs a database up and verifies the file.";
    MssqlRestore(mssql::Restore) = "mssql.restore", Span::from_secs(4 * 3600), "Restores a database out of a full backup and log backups; the chain is proven first.";
    MssqlKillConnections(mssql::KillConnections) = "mssql.kill_connections", Span::from_secs(120), "Ends every session of a database, again and again until none is left.";
    MssqlLogShippingState(mssql::LogShippingState) = "mssql.log_shipping.state", MINUTE, "Changes nothing: reads a secondary's log shipping: directories, last files, the last applied LSN.";
    MssqlLogShippingRemove(mssql::LogShippingRemove) = "mssql.log_shipping.remove", Span::from_secs(300), "Removes a secondary's log shipping, after keeping what it knew.";
    MssqlLogShippingCopy(mssql::LogShippingCopy) = "mssql.log_shipping.copy", Span::from_secs(3600), "Copies log backups that the secondary does not have yet, told by header and LSN, and compares checksums.";
    MssqlLogShippingApply(mssql::LogShippingApply) = "mssql.log_shipping.apply", Span::from_secs(4 * 3600), "Applies log backups in LSN order. A gap halts before the first restore, with LSNs and files.";
    MssqlLogShippingRecover(mssql::LogShippingRecover) = "mssql.log_shipping.recover", Span::from_secs(3600), "Brings a restoring database online. From then on no further log can be applied.";
    MssqlLogShippingPrimary(mssql::LogShippingPrimary) = "mssql.log_shipping.primary", Span::from_secs(300), "Makes a database a log shipping primary.";
    MssqlLogShippingSecondary(mssql::LogShippingSecondary) = "mssql.log_shipping.secondary", Span::from_secs(300), "Makes a restoring database a log shipping secondary.";
    WaitTcp(wait::Tcp) = "wait.tcp", Span::from_secs(300), "Changes nothing: waits until a port answers (or no longer does).";
    WaitHttp(wait::Http) = "wait.http", Span::from_secs(300), "Changes nothing: waits for an HTTP answer.";
    WaitUntil(wait::Until) = "wait.until", Span::from_secs(300), "Changes nothing: runs a program until it exits 0.";
}

/// Whether an action can lose what the old primary had acknowledged. Such an action stands only in a forced runbook, and a
/// run with one needs an operator's acceptance of the loss.
pub fn loses_data(name: &str) -> bool {
    name == "mssql.ag.force_failover"
}
