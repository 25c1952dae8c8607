//! What the log drives: the replicated state, as the log sees it.
//!
//! Apart from everything else because it is the whole contract between consensus and the engine: bytes in,
//! bytes out, one entry after another, the same on every node. An [`Application`] must never read a clock,
//! randomness, files or the network: what it computes from an entry is computed again on every node, and once
//! more after every restart.

/// One committed entry, ready to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedEntry<'a> {
    /// Position in the log. Grows with every entry, but not by one: the log has entries of its own.
    pub index: u64,
    /// Term of the leader that wrote the entry. At most one leader per term, so it fences by itself.
    pub term: u64,
    /// What was proposed.
    pub payload: &'a [u8],
}

/// A deterministic state. The only way to change it is an entry.
pub trait Application: Send + Sync + 'static {
    /// Changes the state and says what the proposer is answered. Whatever is wrong with an entry is an answer. An error is for
    /// what this program cannot know, an entry of a newer version: it stops this node, before the entry and for as long as it
    /// does not know it, because a node that left it out would differ from those that do. A panic stops it as well.
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Result<Vec<u8>, String>;

    /// The whole state, so that [`Application::restore`] can rebuild it.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the state with one that [`Application::snapshot`] wrote, perhaps an older version of it.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}
