//! What was seen that must never be: looked at when an effect begins and when it comes, against what is committed at that moment.
//!
//! Apart from everything that decides: it knows what no agent and no leader could know.

use baton_model::ids::TaskId;

use super::record::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Broken {
    /// An effect began on account of an entry that was never committed.
    pub without_authority: bool,
    /// An effect began, or came, on a host that had said that nothing older acts there.
    pub below_a_fence: bool,
    /// An effect began, or came, of an attempt whose end was known, or which another attempt had replaced.
    pub over: bool,
}

impl Broken {
    pub fn began(&mut self, record: &Record, task: &TaskId, index: u64) {
        self.without_authority |= !record.authorities.contains(&(task.clone(), index));
        self.acted(record, task, index);
    }

    pub fn acted(&mut self, record: &Record, task: &TaskId, index: u64) {
        let fenced = record.fenced.get(&(task.run.clone(), task.host.clone()));
        self.below_a_fence |= fenced.is_some_and(|fenced| index < *fenced);
        self.over |= record.is_known_to_be_over(task);
    }
}
