//! What is known of cells already: a file with a line for each that has ended, written at once, so that what was interrupted goes on.
//!
//! It must never take another commit's word for this one's.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cell::{Cell, Undisturbed, Verdict};

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Undisturbed { commit: String, runbook: String, undisturbed: Undisturbed },
    Cell { commit: String, cell: String, verdict: Verdict },
}

/// Whose a line is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Tagged {
    Undisturbed { commit: String },
    Cell { commit: String },
}

impl Tagged {
    fn tag(&self) -> &str {
        match self {
            Self::Undisturbed { commit } | Self::Cell { commit } => commit,
        }
    }
}

/// The file, or nothing.
#[derive(Debug, Default)]
pub struct Results {
    commit: String,
    file: Option<Mutex<File>>,
    undisturbed: BTreeMap<String, Undisturbed>,
    green: BTreeMap<String, Verdict>,
}

impl Results {
    /// Continues the file. With `resume` what it says of this commit counts: runs without accidents, and green cells.
    pub fn open(path: Option<&Path>, commit: &str, resume: bool) -> Result<Self> {
        let mut results = Self { commit: commit.to_owned(), ..Self::default() };
        let Some(path) = path else { return Ok(results) };
        if resume && path.exists() {
            let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            // A line without its end was cut short, and never finished.
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                let understand = || format!("understand {}", path.display());
                let commit: Tagged = serde_json::from_str(line).with_context(understand)?;
                // Another commit's lines may have another form.
                if commit.tag() == results.commit {
                    results.take(serde_json::from_str(line).with_context(understand)?);
                }
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        results.file = Some(Mutex::new(file.with_context(|| format!("open {}", path.display()))?));
        Ok(results)
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Undisturbed { runbook, undisturbed, .. } => {
                self.undisturbed.insert(runbook, undisturbed);
            }
            Line::Cell { cell, verdict, .. } => {
                // The last word on a cell counts.
                self.green.remove(&cell);
                if verdict.is_green() {
                    self.green.insert(cell, verdict);
                }
            }
        }
    }

    pub fn undisturbed(&self, runbook: &str) -> Option<&Undisturbed> {
        self.undisturbed.get(runbook)
    }

    /// The green verdict of an earlier time.
    pub fn green(&self, cell: &Cell) -> Option<&Verdict> {
        self.green.get(&cell.id())
    }

    pub fn add_undisturbed(&self, runbook: &str, undisturbed: &Undisturbed) -> Result<()> {
        let (commit, runbook, undisturbed) = (self.commit.clone(), runbook.to_owned(), undisturbed.clone());
        self.add(&Line::Undisturbed { commit, runbook, undisturbed })
    }

    pub fn add_cell(&self, cell: &Cell, verdict: &Verdict) -> Result<()> {
        self.add(&Line::Cell { commit: self.commit.clone(), cell: cell.id(), verdict: verdict.clone() })
    }

    fn add(&self, line: &Line) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let line = serde_json::to_string(line).context("write a result")? + "\n";
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).context("write a result")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix;

    #[test]
    fn only_the_last_word_of_the_same_commit_counts_and_only_a_green_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results");
        let cells = matrix::all();
        let green = Verdict { struck: 3, ..Verdict::default() };
        let red = Verdict { red: vec!["it halts".to_owned()], ..Verdict::default() };
        let one = Results::open(Some(&path), "one", true).unwrap();
        one.add_cell(&cells[0], &green).unwrap();
        one.add_cell(&cells[1], &red).unwrap();
        one.add_cell(&cells[2], &green).unwrap();
        one.add_cell(&cells[2], &red).unwrap();
        drop(one);
        // Of a commit whose verdicts had another form.
        let foreign = "{\"cell\":{\"commit\":\"older\",\"cell\":\"x\",\"verdict\":{\"halts\":3}}}\n";
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(foreign.as_bytes()).unwrap();
        // Whoever wrote it was killed in the middle of a line.
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"cell\":{").unwrap();
        let again = Results::open(Some(&path), "one", true).unwrap();
        let known = |results: &Results| cells.iter().filter(|cell| results.green(cell).is_some()).count();
        assert_eq!((known(&again), again.green(&cells[0]).unwrap().struck), (1, 3));
        assert_eq!(known(&Results::open(Some(&path), "another", true).unwrap()), 0);
        assert_eq!(known(&Results::open(Some(&path), "one", false).unwrap()), 0);
    }
}
