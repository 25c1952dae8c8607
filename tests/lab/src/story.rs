//! A story: what a lab tells while it runs, and the checks that decide whether it was true.

use std::time::{Duration, Instant};

use serde::Serialize;

pub mod command;
pub mod data_mover;
pub mod genesys;
pub mod horizon;
pub mod persistent_chat;
pub mod pom;

pub use command::Show;

/// One thing that was looked at, by somebody other than Baton where that is possible.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub chapter: String,
    pub what: String,
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// A run of a runbook, as a line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    pub run: String,
    pub runbook: String,
    pub phase: String,
    pub steps: usize,
    pub took_ms: u64,
}

/// Everything a story leaves behind: `--json` prints it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    pub lab: String,
    pub runs: Vec<Told>,
    pub checks: Vec<Check>,
    pub took_ms: u64,
}

/// Tells the story: on stderr, so that stdout holds the result alone.
pub struct Teller {
    begun: Instant,
    chapter: String,
    pub record: Record,
}

impl Teller {
    pub fn new(lab: &str) -> Self {
        let record = Record { lab: lab.to_owned(), ..Record::default() };
        Self { begun: Instant::now(), chapter: String::new(), record }
    }

    pub fn chapter(&mut self, title: &str) {
        self.chapter = title.to_owned();
        eprintln!("\n[{:>6.1}s] {title}", self.begun.elapsed().as_secs_f32());
    }

    pub fn say(&self, line: &str) {
        eprintln!("          {line}");
    }

    /// Notes what was seen, and whether it was as it should be.
    pub fn check(&mut self, what: &str, ok: bool, seen: impl Into<String>) {
        let seen = seen.into();
        eprintln!("          {} {what}: {seen}", if ok { "ok  " } else { "FAIL" });
        self.record.checks.push(Check { chapter: self.chapter.clone(), what: what.to_owned(), ok, seen });
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The end: true if every check held.
    pub fn finish(&mut self) -> bool {
        self.record.took_ms = self.begun.elapsed().as_millis() as u64;
        self.record.checks.iter().all(|check| check.ok)
    }
}

impl Record {
    /// The table at the end.
    pub fn table(&self) -> String {
        let longest = |of: fn(&Told) -> &str, least: usize| {
            self.runs.iter().map(|run| of(run).len()).max().unwrap_or(0).max(least)
        };
        let (wide, wider) = (longest(|run| &run.run, 23), longest(|run| &run.runbook, 12));
        let mut text = format!("\n{:<wide$} {:<wider$} steps    took  ended\n", "run", "runbook");
        for run in &self.runs {
            text += &format!(
                "{:<wide$} {:<wider$} {:>5} {:>6.1}s  {}\n",
                run.run,
                run.runbook,
                run.steps,
                run.took_ms as f64 / 1000.0,
                run.phase
            );
        }
        let failed: Vec<&Check> = self.checks.iter().filter(|check| !check.ok).collect();
        text += &format!(
            "\n{} checks, {} failed, {:.1} s in all\n",
            self.checks.len(),
            failed.len(),
            self.took_ms as f64 / 1000.0
        );
        for check in failed {
            text += &format!("FAILED  {} / {}: {}\n", check.chapter, check.what, check.seen);
        }
        text
    }
}
