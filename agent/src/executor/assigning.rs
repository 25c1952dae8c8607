//! What this host is to its groups, and what it did on its own account: the parts of the journal that no order made.
//!
//! Apart from the orders because here nobody waits for an outcome. On disk first, then it counts, then it is answered.

use baton_model::time::Moment;
use baton_proto::v1::{self as pb, from_agent::Message as Up};
use baton_wire::assignment::{self as wire, Assigning};
use tokio::time::Instant;

use super::{Executor, RESEND};
use crate::{
    assignments,
    deeds::{self, Happened},
    journal::JournalError,
    ledger::Change,
};

/// What was sent of the deeds, and when.
#[derive(Default)]
pub(super) struct Deeds {
    sent: Option<(u64, Instant)>,
}

impl Executor {
    /// What came so long ago is not done: this process may have stood still since.
    pub(super) fn is_late(&self, heard_ms: u64) -> bool {
        let age = self.options.post.now_ms().saturating_sub(heard_ms);
        self.options.post.shortest().is_some_and(|lasts| age > lasts.0)
    }

    pub(super) fn assign(&mut self, from: &str, assigning: Assigning, heard_ms: u64) -> Result<(), JournalError> {
        if self.is_late(heard_ms) {
            tracing::warn!(index = assigning.fence.index, "an assignment lay here for longer than a lease lasts");
            return Ok(());
        }
        match assignments::admit(self.journal.ledger(), from, &assigning) {
            Err(fault) => {
                // No answer is the answer, as with a reign.
                tracing::warn!(%fault, coordinator = from, "an assignment is not taken");
                return Ok(());
            }
            Ok(changes) => self.journal.commit(changes)?,
        }
        let fence = assigning.fence;
        tracing::info!(groups = assigning.assignments.len(), index = fence.index, "assigned");
        self.options.post.assign(self.journal.ledger().assigned.clone());
        self.send(from, Up::Assigned(wire::assigned(assigning.request, fence)));
        Ok(())
    }

    /// The first word has come, or is not waited for any more.
    pub(super) fn end_waiting(&mut self) -> Result<(), JournalError> {
        if self.journal.ledger().waiting.is_none() || self.options.post.wants_word() {
            return Ok(());
        }
        self.journal.commit(vec![Change::Waiting(None)])
    }

    /// What an earlier process was in the middle of is put down as such, before anything else.
    pub(super) fn begin_account(&mut self) -> Result<(), JournalError> {
        let now = Moment(self.options.clock.now_unix_ms());
        let interrupted = deeds::interrupted(self.journal.ledger(), now);
        interrupted.into_iter().try_for_each(|happened| self.happened(happened))
    }

    pub(super) fn happened(&mut self, happened: Happened) -> Result<(), JournalError> {
        self.journal.commit(deeds::record(self.journal.ledger(), happened))?;
        self.deeds = Deeds::default();
        self.send_deeds();
        Ok(())
    }

    pub(super) fn deeds_kept(&mut self, from: &str, number: u64) -> Result<(), JournalError> {
        let changes = deeds::kept(self.journal.ledger(), from, number);
        if !changes.is_empty() {
            self.journal.commit(changes)?;
            self.send_deeds();
        }
        Ok(())
    }

    /// The oldest, to whoever rules; again now and then, until they are kept.
    pub(super) fn send_deeds(&mut self) {
        let ledger = self.journal.ledger();
        let next = deeds::next(ledger);
        let Some(last) = next.last().map(|deed| deed.number) else { return };
        if self.deeds.sent.is_some_and(|(number, at)| number == last && at.elapsed() < RESEND) {
            return;
        }
        let Some(session) = self.sessions.get(&ledger.ruler.coordinator) else { return };
        if session.try_send(pb::FromAgent { message: Some(Up::Deeds(wire::deeds(&next))) }).is_ok() {
            self.deeds.sent = Some((last, Instant::now()));
        }
    }
}
