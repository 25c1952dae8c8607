//! A shipped runbook in its world: from the state in which it is begun to what the outside world says at its end.
//!
//! Apart because the matrix knows no product. A procedure must never look at what Baton says of a run, except for the role, its epoch
//! and what limits the group; it counts effects by the journals of those who had them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use baton_lab::{
    cluster::{Binaries, Cluster, until},
    horizon,
    processes::Registry,
    story::command,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    drive::{Place, Way},
    end_state::{EndState, Loose},
    limits::SOON,
    log::Task,
    party::Party,
};

mod avaya_pom;
mod data_mover;
mod genesys_framework;
mod horizon_daas;
mod persistent_chat;

/// See the module. Dropped, its world is ended.
#[async_trait(?Send)]
pub trait Procedure: Place {
    /// Its group.
    fn group(&self) -> &str;

    /// What an operator types to begin it, without `baton`, `--yes` and the reason.
    fn words(&self) -> Vec<String>;

    /// For whoever kills and starts coordinators and agents.
    fn hands(&mut self) -> (&mut Cluster, &Registry);

    /// The machine of the database server that a task is about.
    fn database(&self, task: &Task) -> Result<Option<String>>;

    /// SIGKILL to a machine's database server. `false`: it did not run.
    async fn kill_database(&mut self, machine: &str) -> Result<bool>;

    /// Starts it again, as an administrator would; where it runs, nothing.
    async fn start_database(&mut self, machine: &str) -> Result<()>;

    /// What a run may call that server by when it halts for it.
    fn called(&self, machine: &str) -> Vec<String>;

    /// Codes of the faults by which a run may halt because that server died: what its absence, or its recovery, explains. Nothing else
    /// is retried.
    fn excuses(&self) -> &'static [&'static str];

    /// What an operator waits for before a run that halted is tried again: a database that was killed is what it was.
    async fn mended(&mut self) -> Result<()> {
        Ok(())
    }

    /// What goes on in the world beside the run.
    async fn meanwhile(&mut self, _way: &Way) -> Result<()> {
        Ok(())
    }

    /// What the outside world says now, and what was done since it was built. Asked again until it is as wished.
    async fn end_state(&mut self) -> Result<EndState>;

    /// What the undisturbed run must come to: a comparison with nonsense would show nothing.
    fn expected(&self) -> Vec<(&'static str, String)>;

    /// A run is over: starts what agents stopped because nobody had said for a second that it may run, and after the run had looked for
    /// it the last time, as an administrator would who sees that in `baton status`. Nothing else may be mended here.
    async fn start_what_agents_stopped(&mut self, _run: &str, _view: &Value) -> Result<()> {
        Ok(())
    }

    /// What may differ where this party died in the middle of a step.
    fn loose(&self, _party: Party) -> &'static [Loose] {
        &[]
    }
}

/// Whichever it is.
pub type Stage = dyn Procedure;

/// A shipped runbook, and what is known of it before there is a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Runbook {
    pub product: &'static str,
    /// The file's name, without `.yaml`.
    pub name: &'static str,
    /// Why no step is about a database server, where none is.
    pub no_database: Option<&'static str>,
}

/// All that are shipped.
pub const RUNBOOKS: [Runbook; 19] = [
    runbook(AVAYA_POM, "start"),
    Runbook { no_database: Some("no step asks a database"), ..runbook(AVAYA_POM, "stop") },
    runbook(AVAYA_POM, "switchover"),
    runbook(AVAYA_POM, "resume-data-movement"),
    runbook(GENESYS_FRAMEWORK, "start"),
    runbook(GENESYS_FRAMEWORK, "failover"),
    runbook(GENESYS_FRAMEWORK, "switchback"),
    runbook(GENESYS_FRAMEWORK, "reseed"),
    runbook(GENESYS_FRAMEWORK, "add-database"),
    runbook(HORIZON_DAAS, "enable-writes"),
    runbook(HORIZON_DAAS, "promote-provider"),
    runbook(HORIZON_DAAS, "promote-tenant"),
    runbook(HORIZON_DAAS, "rejoin"),
    runbook(HORIZON_DAAS, "switchover"),
    runbook(PERSISTENT_CHAT, "failover"),
    runbook(PERSISTENT_CHAT, "failback"),
    runbook(DATA_MOVER, "configure"),
    runbook(DATA_MOVER, "failover"),
    runbook(DATA_MOVER, "switchback"),
];

// As the folders of `deploy/runbooks` are called.
const AVAYA_POM: &str = "avaya-pom";
const GENESYS_FRAMEWORK: &str = "genesys-framework";
const HORIZON_DAAS: &str = "horizon-daas";
const PERSISTENT_CHAT: &str = "persistent-chat";
const DATA_MOVER: &str = "teradata-data-mover";

const fn runbook(product: &'static str, name: &'static str) -> Runbook {
    Runbook { product, name, no_database: None }
}

/// The programs of which worlds are made.
#[derive(Debug, Clone)]
pub struct Programs {
    pub helper: PathBuf,
    pub binaries: Binaries,
}

impl Programs {
    /// Those that were built beside this one.
    pub fn find() -> Result<Self> {
        let helper =
            horizon::helper().context("baton-lab is not here: run \"cargo build --workspace --bins\" first")?;
        Ok(Self { helper, binaries: Binaries::beside_this()? })
    }

    /// Tells these from others: a digest of what they and `this`, which runs them, consist of.
    pub fn digest(&self, this: &Path) -> Result<String> {
        let Binaries { coordinator, agent, baton, .. } = &self.binaries;
        let mut hash = Sha256::new();
        let scripts = self.helper.with_file_name("baton-pwsh");
        for program in [self.helper.as_path(), &scripts, coordinator, agent, baton, this] {
            let bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
            hash.update(Sha256::digest(bytes));
        }
        Ok(hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Runbook {
    /// As it is named on the command line and in the table.
    pub fn id(&self) -> String {
        format!("{}/{}", self.product, self.name)
    }

    /// Builds its world in an empty directory, in the state in which it is begun.
    pub async fn build(&self, directory: &Path, programs: &Programs) -> Result<Box<Stage>> {
        let built = match self.product {
            AVAYA_POM => avaya_pom::build(self.name, directory, programs).await,
            GENESYS_FRAMEWORK => genesys_framework::build(self.name, directory, programs).await,
            HORIZON_DAAS => horizon_daas::build(self.name, directory, programs).await,
            PERSISTENT_CHAT => persistent_chat::build(self.name, directory, programs).await,
            DATA_MOVER => data_mover::build(self.name, directory, programs).await,
            other => unreachable!("there is no product {other}"),
        };
        built.with_context(|| format!("build the world of {}", self.id()))
    }
}

/// Role, epoch and what limits the group, as `baton status` says.
fn standing(cluster: &Cluster, group: &str, state: &mut EndState) -> Result<()> {
    let view = until(SOON, "an answer", || command::group(cluster, group))?;
    state.note("primary by Baton", view["primary"].as_str().unwrap_or_default());
    state.note("epoch", &view["epoch"]);
    state.note("limits", view["limits"].as_array().map_or(0, Vec::len));
    state.note("open run", &view["open_run"]);
    Ok(())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
