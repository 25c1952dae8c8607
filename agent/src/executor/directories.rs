//! The directories of tasks and runs on this host.
//!
//! Apart because names that come over the wire become paths here, and nowhere else. It must never use one as it came.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use baton_model::ids::{RunId, TaskId};

use crate::{action::context::is_plain_name, ledger::Ledger};

/// Runs of a group whose files are kept after the run is over: lost rows and backups are wanted later.
pub const RUNS_KEPT: u64 = 20;

#[derive(Debug, Clone)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    pub fn new(state_directory: PathBuf) -> Self {
        Self { root: state_directory.join("runs") }
    }
    /// `STATE/runs/GROUP/NUMBER`
    pub fn of_run(&self, run: &RunId) -> PathBuf {
        self.root.join(run.group.as_str()).join(run.number.to_string())
    }
    /// `STATE/runs/GROUP/NUMBER/tasks/STEP@ATTEMPT`, a step's name with everything but letters and digits encoded.
    pub fn of_task(&self, task: &TaskId) -> PathBuf {
        let mut name = String::new();
        for byte in task.step.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => name.push(byte as char),
                other => name.push_str(&format!("_{other:02x}")),
            }
        }
        // A file system takes 255 bytes; what is longer keeps its beginning and is told apart by its digest.
        if name.len() > 150 {
            let digest = baton_model::digest::Digest::of(&task.step).to_string();
            name.truncate(100);
            name.push_str(&digest);
        }
        self.of_run(&task.run).join("tasks").join(format!("{name}@{}", task.attempt))
    }
    /// Makes both, for nobody but the agent.
    pub fn create(&self, task: &TaskId) -> io::Result<PathBuf> {
        let directory = self.of_task(task);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(directory)
    }
    /// Removes the files of runs that are long over.
    pub fn prune(&self, ledger: &Ledger) {
        for (group, floor) in &ledger.floors {
            let Ok(runs) = fs::read_dir(self.root.join(group.as_str())) else { continue };
            for run in runs.flatten() {
                let number: Option<u64> = run.file_name().to_str().and_then(|name| name.parse().ok());
                let open = |number: u64| {
                    ledger.unforgotten().any(|(task, _)| task.run.group == *group && task.run.number == number)
                };
                if number.is_some_and(|number| number + RUNS_KEPT < *floor && !open(number))
                    && let Err(error) = fs::remove_dir_all(run.path())
                {
                    tracing::warn!(%error, path = %run.path().display(), "cannot remove an old run's files");
                }
            }
        }
    }
}

/// A task's file, or nothing where the name is not one.
pub fn file_of(directory: &Path, name: &str) -> Option<PathBuf> {
    is_plain_name(name).then(|| directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_model::ids::StepId;

    #[test]
    fn no_step_leaves_its_run_or_meets_another() {
        let directories = Directories::new("/state".into());
        let of = |step: &str| {
            directories.of_task(&TaskId {
                run: "g-1".parse().expect("a run"),
                step: StepId(step.into()),
                host: "h".parse().expect("a host"),
                attempt: 1,
            })
        };
        let long = "x".repeat(256);
        let steps = ["4/undo", "4_2fundo", "..", "../../x", "5[edb]", "5(edb)", long.as_str(), &long[1..]];
        let paths: std::collections::BTreeSet<PathBuf> = steps.iter().map(|step| of(step)).collect();
        assert_eq!(paths.len(), steps.len());
        for path in paths {
            assert_eq!(path.parent(), Some(Path::new("/state/runs/g/1/tasks")), "{path:?}");
        }
    }
}
