//! A row: one action with its parameters, the world that it acts upon, and the way back.
//!
//! A row never judges itself: what is outside is shown by its world as text, from files, servers and process tables, and compared in [`super::cycle`].

use std::path::Path;

use async_trait::async_trait;
use baton_model::time::Span;
use serde_json::Value;

/// What a row acts upon.
#[async_trait]
pub trait Outside: Send + Sync {
    /// All of it that the action could change, as text. `kept`: where the agent keeps what belongs to the present run.
    async fn picture(&self, kept: &Path) -> String;

    /// How often the effect happened, where that can be counted.
    fn effects(&self) -> Option<usize> {
        None
    }

    /// Back to the beginning, where no action leads there.
    async fn undo(&self) {}

    /// For a check: makes it fail.
    async fn spoil(&self) {}
}

/// Which way back there is.
pub enum Undo {
    /// As a runbook has it under `undo`, in the same run.
    Action(&'static str, Value),
    /// By whoever owns the world: [`Outside::undo`].
    World,
    /// What it did belongs to its run; the next one begins without it.
    NextRun,
}

pub enum Kind {
    /// Observed, acted out, observed.
    Changes(Undo),
    /// Changes nothing: holds, or fails. `timeout`: for the one that fails.
    Checks { fails_within: Span },
    /// Nobody can see whether it happened: after a crash in its middle it is unknown, and never done again by itself.
    Blind,
}

pub struct Row<'a> {
    pub action: &'static str,
    pub params: Value,
    pub kind: Kind,
    pub world: &'a dyn Outside,
    /// Steps of the same run that must come before.
    pub before: Vec<(&'static str, Value)>,
}

impl<'a> Row<'a> {
    pub fn changes(action: &'static str, params: Value, undo: Undo, world: &'a dyn Outside) -> Self {
        Self { action, params, kind: Kind::Changes(undo), world, before: Vec::new() }
    }

    pub fn checks(action: &'static str, params: Value, fails_within: Span, world: &'a dyn Outside) -> Self {
        Self { action, params, kind: Kind::Checks { fails_within }, world, before: Vec::new() }
    }
}
