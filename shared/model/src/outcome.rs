//! How a task ended, and what an observation said.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Moment;

/// What `observe` answers. It has no side effects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "observed")]
pub enum Observation {
    /// The desired state is already true here.
    InPlace { note: String },
    /// What acting would change, for a person: a diff, a statement, a state.
    Differs { change: String },
    /// Nobody can tell from outside; says why.
    CannotTell { why: String },
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Unchanged,
    Changed,
    Failed,
    Refused,
    /// Nobody can tell whether the effect happened.
    Unknown,
}

impl Outcome {
    /// The desired state holds.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Unchanged | Outcome::Changed)
    }
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Unchanged => "unchanged",
            Outcome::Changed => "changed",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        }
    }
}

/// At most this much of a task's output goes into the log: [`OUTPUT_HEAD_BYTES`] of its beginning and the rest from its end.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;
pub const OUTPUT_HEAD_BYTES: usize = 6 * 1024;
/// At most this much structured data per task goes into the log.
pub const DATA_BYTES_MAX: usize = 16 * 1024;

/// Output bounded to [`OUTPUT_BYTES_MAX`], head and tail kept. All of it (bounded too) stays in a file on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Output {
    pub head: String,
    /// Bytes left out between head and tail.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted_bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tail: String,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Output {
    /// Keeps head and tail of `text` within the bound, cutting at character boundaries.
    pub fn bounded(text: &str) -> Self {
        if text.len() <= OUTPUT_BYTES_MAX {
            return Self { head: text.to_owned(), omitted_bytes: 0, tail: String::new() };
        }
        let head_end = floor_boundary(text, OUTPUT_HEAD_BYTES);
        let tail_start = ceil_boundary(text, text.len() - (OUTPUT_BYTES_MAX - OUTPUT_HEAD_BYTES));
        Self {
            head: text[..head_end].to_owned(),
            omitted_bytes: (tail_start - head_end) as u64,
            tail: text[tail_start..].to_owned(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// An error as an operator meets it: a code, the fact with the value seen, and the next thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code} {}{}", ended(message), if remedy.is_empty() { String::new() } else { format!(" {remedy}") })]
pub struct Fault {
    /// `BTN-NNNN`, documented under docs/errors.
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// A sentence, whoever wrote it.
fn ended(message: &str) -> String {
    let ends = message.ends_with(['.', '?', '!', ':', '\n']);
    if ends { message.to_owned() } else { format!("{message}.") }
}

impl Fault {
    pub fn new(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), remedy: remedy.into() }
    }
}

/// What an agent says of a task that has ended. Committed to the log as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub outcome: Outcome,
    /// One line for a person: what was found and what was done.
    pub summary: String,
    /// Set unless the outcome is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    #[serde(default, skip_serializing_if = "Output::is_empty")]
    pub output: Output,
    /// What `register` gives to later steps; at most [`DATA_BYTES_MAX`] as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// Files on the host that can be fetched on demand (lost rows, full output).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// The host's clock.
    pub started: Moment,
    pub ended: Moment,
}

/// A file on the host that belongs to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// `output.txt`, `lost-rows-fdb.csv`: a plain name.
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_keeps_head_and_tail_within_the_bound() {
        let text: String = (0..5000).map(|n| format!("line {n} é\n")).collect();
        let output = Output::bounded(&text);
        assert!(output.head.starts_with("line 0 "));
        assert!(output.tail.ends_with("line 4999 é\n"));
        assert!(output.head.len() + output.tail.len() <= OUTPUT_BYTES_MAX);
        assert_eq!(output.head.len() as u64 + output.omitted_bytes + output.tail.len() as u64, text.len() as u64);
    }
}
