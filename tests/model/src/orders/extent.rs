//! How much of the world one exploration looks at: what may happen how often, and which safeguard is taken out.

/// A safeguard that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Everything is as it is in the product.
    Whole,
    /// An agent does not look at marks, raised fences and floors.
    NoFenceCheck,
    /// A leader orders what follows from an entry that is not committed.
    DispatchBeforeCommit,
    /// A crash of an agent forgets marks, raised fences, floors, and whose reign it is.
    MarksNotPersisted,
    /// A crash of an agent forgets its tasks.
    TasksNotPersisted,
    /// A leader orders without announcing its reign, and an agent obeys whoever is not of an older one.
    ReignNotAnnounced,
    /// A raise is acknowledged while what it ends still acts.
    RaiseAnsweredAtOnce,
    /// A leader orders what may be left out without the log's having said so.
    OrderedUnrecorded,
}

/// Whether an action can be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actions {
    /// What is in place is not done again, and what was interrupted is looked at.
    Observed,
    /// Nobody can tell: only the journal keeps it from being done twice.
    Blind,
}

/// Upper bounds, each for the whole exploration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub switch: Switch,
    pub actions: Actions,
    /// Terms in which somebody leads: one more than there are elections.
    pub terms: u64,
    /// A second coordinator leads in the second term as well, as after a quorum that was forced twice: it commits nothing.
    pub twin: bool,
    pub runs: u64,
    pub budget: Budget,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Crashes of agents, and effects that fail.
    pub faults: u8,
    /// Sessions of a host that end without a crash.
    pub cuts: u8,
    /// Words of an operator: abort, skip, retry, resume.
    pub words: u8,
    /// Tasks and fences that are given up.
    pub expiries: u8,
    /// Hosts that are out of reach for so long that their task is left out.
    pub left_out: u8,
}
