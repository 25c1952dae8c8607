//! What goes wrong on purpose, as data in the world.
//!
//! Apart so that a test sets it from outside while the instances run, and every process sees it. A fault must never act
//! without being named here.

use serde::{Deserialize, Serialize};

/// Something that happens to a statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Which instance; `None`: any.
    pub instance: Option<String>,
    /// A piece of the statement's text, in any case, runs of blanks counted as one; empty: every statement.
    pub statement: String,
    /// How often it still acts; `None`: until it is taken away.
    pub times: Option<u32>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// The statement begins later.
    Delay { ms: u64 },
    /// The effect is there at once, the answer later.
    AnswerLate { ms: u64 },
    /// The process kills itself before the effect.
    DieBefore,
    /// The process kills itself after the effect, before the answer.
    DieAfter,
    /// An error instead of the effect.
    Refuse { number: i32, text: Option<String> },
    /// An error although the effect happens (41131, 41149).
    FailAfterEffect { number: i32, text: Option<String> },
    /// The connection ends before the effect.
    DropBefore,
    /// The connection ends after the effect, before the answer.
    DropAfter,
    /// No answer, ever; the effect happens.
    Hang,
}

/// What an instance does to everybody who connects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clients {
    #[default]
    Served,
    /// Connections are closed at once.
    Refused,
    /// Connections are accepted and nothing is answered; those that exist fall silent.
    Silent,
}

impl Fault {
    pub fn matches(&self, instance: &str, normalized: &str) -> bool {
        self.times != Some(0)
            && self.instance.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(instance))
            && normalized.contains(&normalize(&self.statement))
    }
}

/// Lower case, one blank for every run of white space.
pub fn normalize(statement: &str) -> String {
    statement.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
