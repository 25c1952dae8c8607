//! Raised fences: what is older ends, and only then that is acknowledged.
//!
//! Apart because a raise is answered long after it came: when the last of what it ends is over.

use baton_model::ids::{RunId, TaskId};
use baton_proto::v1::from_agent::Message as Up;
use baton_wire::agent as wire;

use super::Executor;
use crate::{decide, journal::JournalError, ledger::Entry};

impl Executor {
    pub(super) fn raise(&mut self, from: String, raised: wire::Raised) -> Result<(), JournalError> {
        match decide::raise(self.journal.ledger(), &from, &raised.run, raised.fence) {
            Err(fault) => tracing::warn!(%fault, run = %raised.run, "a fence is not raised"),
            Ok(changes) => {
                self.journal.commit(changes)?;
                self.end_superseded(Some(&raised.run))?;
                self.raises.push((from, raised));
            }
        }
        Ok(())
    }

    /// Tasks (of this run, or of all) whose fence is below what was raised: queued ones are over, running ones are told to
    /// end.
    pub(super) fn end_superseded(&mut self, of: Option<&RunId>) -> Result<(), JournalError> {
        let ledger = self.journal.ledger();
        let stale: Vec<(TaskId, bool)> = (ledger.tasks.iter())
            .filter(|(task, entry)| entry.is_open() && of.is_none_or(|run| task.run == *run))
            .filter(|(task, entry)| {
                entry.order().is_some_and(|order| decide::may_begin(ledger, task, order.fence).is_err())
            })
            .map(|(task, entry)| (task.clone(), matches!(entry, Entry::Received { .. })))
            .collect();
        for (task, untouched) in stale {
            if let Some(cancel) = self.cancels.get(&task) {
                cancel.cancel();
            } else if untouched {
                self.queue.retain(|queued| *queued != task);
                let report = self.not_begun(&task);
                self.finish(task, report)?;
            } else if !self.queue.contains(&task) {
                // Started by an earlier process: observed now, so that the raise can be answered.
                self.queue.push_back(task);
            }
        }
        Ok(())
    }

    /// Answers the raises below which nothing acts any more, each with its own index: what its run has seen since says nothing
    /// about what was asked.
    pub(super) fn settle_raises(&mut self) {
        let ledger = self.journal.ledger();
        let (waiting, settled) = std::mem::take(&mut self.raises)
            .into_iter()
            .partition(|(_, raised)| decide::acts_below(ledger, &raised.run, raised.fence.index));
        self.raises = waiting;
        for (from, wire::Raised { request, fence, .. }) in settled {
            let (reign, index) = (fence.reign(), fence.index);
            let answer = wire::Acknowledgement { request, reign, index, open_tasks: Vec::new() };
            self.send(&from, Up::Acknowledged(wire::acknowledged(&answer)));
        }
    }
}
