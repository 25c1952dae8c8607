//! A context for tests: a policy, secrets, and directories that go away.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use baton_model::{
    action::Action,
    ids::{HostName, StepId, TaskId},
    outcome::Fault,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Context, ContextOptions, Note, Perform, bind};
use crate::host::Host;
use crate::policy::Policy;
use crate::secrets::{Secret, Secrets};

/// A run's directory, and contexts for its steps.
pub struct Trial {
    pub directory: tempfile::TempDir,
    pub host: Host,
    pub secrets: BTreeMap<String, String>,
    pub cancel: CancellationToken,
}

struct Fixed(BTreeMap<String, String>);

#[async_trait]
impl Secrets for Fixed {
    async fn secret(&self, name: &str) -> Result<Secret, Fault> {
        Ok(Secret::new(self.0.get(name).cloned().expect("the test gives every secret that it names")))
    }
}

impl Trial {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory, host: Host::default(), secrets: BTreeMap::new(), cancel: CancellationToken::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().expect("it exists").join(name)
    }

    /// A file of the host.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).expect("written");
        self.path(name).to_str().expect("text").to_owned()
    }

    /// A program of the host.
    pub fn script(&self, name: &str, body: &str) -> String {
        let path = self.file(name, format!("#!/bin/bash\n{body}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("mode set");
        path
    }

    pub fn context(&self, step: &str, timeout: Duration) -> Context {
        self.context_with_notes(step, timeout).0
    }

    pub fn context_with_notes(&self, step: &str, timeout: Duration) -> (Context, mpsc::Receiver<Note>) {
        let policy = "services=['*']\npaths=['/**']\nprograms=['/**']\nusers=['*']\nsecrets=['*']\ncmdlets=['*']\ndatabases=['*']";
        let run_directory = self.path("run");
        let task = run_directory.join(step.replace('/', "_"));
        std::fs::create_dir_all(&task).expect("made");
        let (progress, notes) = mpsc::channel(64);
        let context = Context::new(ContextOptions {
            task: Some(TaskId {
                run: "pom-1".parse().expect("a run"),
                step: StepId(step.to_owned()),
                host: HostName::new("h1").expect("a name"),
                attempt: 1,
            }),
            directory: Some(task),
            run_directory: Some(run_directory),
            policy: Arc::new(Policy::parse(Path::new("/policy"), policy).expect("a policy")),
            secrets: Arc::new(Fixed(self.secrets.clone())),
            host: self.host.clone(),
            timeout,
            cancel: self.cancel.clone(),
            progress: Some(progress),
        });
        (context.expect("a context"), notes)
    }
}

/// An action as a runbook writes it.
pub fn action(name: &str, params: Value) -> Box<dyn Perform> {
    bind(&Action::parse(name, &params).expect("parameters")).expect("they make sense")
}

/// Waits for a condition, with a deadline.
pub async fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
