//! The fence: what an order must carry so that a stale one dies at the agent (DESIGN.md section 3, rules 2 and 5).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An order's authority. Compared by [`Mark::admits`], never by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// Raised only by `cluster force-quorum`: above it, an old majority can never give orders again.
    pub generation: u64,
    /// The Raft term of the leader that sends.
    pub term: u64,
    /// The log index of the entry that made the task due.
    pub index: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation, self.term, self.index)
    }
}

/// The highest reign an agent has acknowledged: (generation, term), compared in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Reign {
    pub generation: u64,
    pub term: u64,
}

impl fmt::Display for Reign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.term)
    }
}

impl Fence {
    pub fn reign(&self) -> Reign {
        Reign { generation: self.generation, term: self.term }
    }
}
