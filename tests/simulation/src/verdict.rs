//! What came of one world, as the program that ran it tells the one that asked.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Simulated.
    pub seconds: f64,
    /// Messages and ticks of the ground that did something.
    pub events: u64,
    pub entries: u64,
    pub runs: u64,
    pub effects: u64,
    pub crashes: u64,
    /// Lines of the story, and what they come to: the same for the same seed.
    pub lines: u64,
    pub digest: String,
    /// Of the processor.
    pub cpu_seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub invariant: String,
    pub what: String,
    /// When it was seen, in simulated seconds.
    pub at: f64,
    /// When things began to go wrong.
    #[serde(default)]
    pub begun: f64,
    pub last_lines: Vec<String>,
    pub plan: Plan,
}

impl Verdict {
    /// Of a world that was not let run to its end.
    pub fn broken(plan: Plan, invariant: &str, what: String, at: f64, last_lines: Vec<String>) -> Self {
        let seed = plan.seed;
        // When things began to go wrong is not known: nothing is taken for too late.
        let failure = Failure { invariant: invariant.to_owned(), what, at, begun: 0.0, last_lines, plan };
        Self {
            seed,
            failure: Some(failure),
            seconds: at,
            events: 0,
            entries: 0,
            runs: 0,
            effects: 0,
            crashes: 0,
            lines: 0,
            digest: String::new(),
            cpu_seconds: 0.0,
        }
    }

    pub fn spinning(plan: Plan, what: String, at: f64, last_lines: Vec<String>) -> Self {
        Self::broken(plan, "no spin", what, at, last_lines)
    }
}
