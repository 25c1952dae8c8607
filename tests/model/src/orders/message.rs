//! What coordinators and agents say to each other, as facts: once said, a message may arrive at any time, in any order, again, or never.
//!
//! More hostile than the product's sessions, which keep their order and end: whatever a session can do to a message is one of these.

use baton_model::{
    ids::{GroupName, HostName, RunId, TaskId},
    outcome::Outcome,
};

/// A coordinator: it leads in one term, or believes so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voice {
    pub coordinator: &'static str,
    pub term: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// Coordinator to agent.
    Down {
        voice: Voice,
        host: HostName,
        what: Down,
    },
    /// Agent to whoever leads.
    Finished(TaskId, Outcome),
    Declined(TaskId),
    /// To who asked for it.
    Fenced {
        voice: Voice,
        run: RunId,
        host: HostName,
        index: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Down {
    /// `request`: of which session.
    Reign {
        request: u8,
        marks: Vec<(RunId, u64)>,
        floors: Vec<(GroupName, u64)>,
    },
    Execute(TaskId, u64),
    Raise(RunId, u64),
    Forget(TaskId),
}
