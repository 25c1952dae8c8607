//! What the agent knows for certain: the marks below which nothing runs, and its tasks.
//!
//! Pure, and the same in memory and in the journal. It must never be changed but by [`Ledger::apply`] of a change that is
//! on disk already.

use std::{collections::BTreeMap, sync::Arc};

use baton_model::{
    assignment::{Assignment, Deed},
    fence::{Fence, Reign},
    ids::{ComponentName, GroupName, RunId, TaskId},
    order::Order,
    outcome::Report,
    time::Moment,
};
use serde::{Deserialize, Serialize};

/// Everything in the journal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ledger {
    pub ruler: Ruler,
    /// Per run: the highest index seen, in an order too. An order that is not known here and is older has come late.
    pub marks: BTreeMap<RunId, u64>,
    /// Per run: the index below which nothing begins any more. Only a reign or a raise lifts it: an order that was admitted
    /// is not undone by another order of its run.
    pub raised: BTreeMap<RunId, u64>,
    /// Per group: runs with a smaller number are over.
    pub floors: BTreeMap<GroupName, u64>,
    pub tasks: BTreeMap<TaskId, Entry>,
    /// What this host is to its groups. Shared: the ledger is copied for each commit.
    pub assigned: Arc<Assigned>,
    /// Deeds that have begun and not ended, by what they are done to: the text says what is done.
    pub undertaken: BTreeMap<(GroupName, ComponentName), Undertaken>,
    /// Deeds that the coordinators have not kept.
    pub deeds: BTreeMap<u64, Deed>,
    /// The highest number of a deed; it is never used again.
    pub deed_last: u64,
    /// Since when a first word is waited for, where no process has heard it.
    pub waiting: Option<Waiting>,
}

/// Since when this host, primary of a group with a lease, runs without a word. Kept, so that an agent that ends again and again does
/// not begin to wait each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The kernel's id of this start of the machine: its clock begins anew with the next.
    pub machine: String,
    pub since_ms: u64,
}

/// The last word of a coordinator about this host's groups.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Assigned {
    /// The log that the index is of: a quorum that was forced begins another.
    pub generation: u64,
    /// The highest that was seen; nothing older is taken.
    pub index: u64,
    pub list: Vec<Assignment>,
}

/// A deed in the middle: it is on disk before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undertaken {
    pub at: Moment,
    pub what: String,
}

/// Whose orders are obeyed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ruler {
    pub reign: Reign,
    /// The coordinator that announced it: two that claim one reign are never both obeyed.
    pub coordinator: String,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "few at a time; a box would be one more thing to follow")]
pub enum Entry {
    /// Ordered; no effect has begun.
    Received { order: Order, received: Moment },
    /// An effect may have happened.
    Started { order: Order, received: Moment, started: Moment },
    /// It has ended; the coordinator may not know yet.
    Finished { order: Order, report: Report },
    /// The outcome is committed. What is left refuses a late duplicate until the group's floor does.
    Forgotten { fence: Fence },
}

impl Entry {
    pub fn order(&self) -> Option<&Order> {
        match self {
            Entry::Received { order, .. } | Entry::Started { order, .. } | Entry::Finished { order, .. } => Some(order),
            Entry::Forgotten { .. } => None,
        }
    }
    /// Neither finished nor forgotten.
    pub fn is_open(&self) -> bool {
        matches!(self, Entry::Received { .. } | Entry::Started { .. })
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "lives for one commit")]
pub enum Change {
    Ruler(Ruler),
    Mark(RunId, u64),
    Raised(RunId, u64),
    Floor(GroupName, u64),
    Task(TaskId, Entry),
    /// A mark or a forgotten task that a floor has made superfluous.
    DropMark(RunId),
    DropTask(TaskId),
    Assignments(Arc<Assigned>),
    Undertaken(GroupName, ComponentName, Undertaken),
    /// What was undertaken has ended; a deed says how.
    Ended(GroupName, ComponentName),
    Deed(Deed),
    /// The coordinators have it, or there is no room for it.
    DropDeed(u64),
    Waiting(Option<Waiting>),
}

impl Ledger {
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Ruler(ruler) => {
                assert!(ruler.reign >= self.ruler.reign, "a reign never sinks");
                self.ruler = ruler;
            }
            Change::Mark(run, index) => {
                let mark = self.marks.entry(run).or_default();
                assert!(index >= *mark, "a mark never sinks");
                *mark = index;
            }
            Change::Raised(run, index) => {
                let raised = self.raised.entry(run).or_default();
                assert!(index >= *raised, "a raised fence never sinks");
                *raised = index;
            }
            Change::Floor(group, number) => {
                let floor = self.floors.entry(group).or_default();
                assert!(number >= *floor, "a floor never sinks");
                *floor = number;
            }
            Change::Task(task, entry) => {
                self.tasks.insert(task, entry);
            }
            Change::DropMark(run) => {
                self.marks.remove(&run);
                self.raised.remove(&run);
            }
            Change::DropTask(task) => {
                self.tasks.remove(&task);
            }
            Change::Assignments(assigned) => {
                let seen = |of: &Assigned| (of.generation, of.index);
                assert!(seen(&assigned) >= seen(&self.assigned), "an assignment's index never sinks");
                self.assigned = assigned;
            }
            Change::Undertaken(group, component, undertaken) => {
                self.undertaken.insert((group, component), undertaken);
            }
            Change::Ended(group, component) => {
                self.undertaken.remove(&(group, component));
            }
            Change::Deed(deed) => {
                assert!(deed.number > self.deed_last, "a deed's number is never used again");
                self.deed_last = deed.number;
                self.deeds.insert(deed.number, deed);
            }
            Change::DropDeed(number) => {
                self.deeds.remove(&number);
            }
            Change::Waiting(waiting) => self.waiting = waiting,
        }
    }

    pub fn mark(&self, run: &RunId) -> u64 {
        self.marks.get(run).copied().unwrap_or(0)
    }
    pub fn raised(&self, run: &RunId) -> u64 {
        self.raised.get(run).copied().unwrap_or(0)
    }
    pub fn floor(&self, group: &GroupName) -> u64 {
        self.floors.get(group).copied().unwrap_or(0)
    }
    /// Tasks that the coordinator has not acknowledged.
    pub fn unforgotten(&self) -> impl Iterator<Item = (&TaskId, &Entry)> {
        self.tasks.iter().filter(|(_, entry)| !matches!(entry, Entry::Forgotten { .. }))
    }
    /// What is refused by a floor anyway, and can go. A mark is not enough: the same task could come with a higher index.
    pub fn superfluous(&self) -> Vec<Change> {
        let over = |run: &RunId| run.number < self.floor(&run.group);
        let tasks =
            self.tasks.iter().filter(|(task, entry)| matches!(entry, Entry::Forgotten { .. }) && over(&task.run));
        let marks = self.marks.keys().filter(|run| over(run) && !self.unforgotten().any(|(task, _)| task.run == **run));
        let tasks = tasks.map(|(task, _)| Change::DropTask(task.clone()));
        tasks.chain(marks.map(|run| Change::DropMark(run.clone()))).collect()
    }
}
