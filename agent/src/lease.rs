//! How long this host may serve without a word: the leases that it holds, on a clock that counts sleep.
//!
//! Pure: moments come in, as milliseconds of that clock. It must never make a lease longer than the coordinator reckons with:
//! what it knows is when the question was *sent*.

use std::collections::BTreeMap;

use baton_model::{
    assignment::{Assignment, Part},
    group::FIRST_WORD,
    ids::{Epoch, GroupName},
    time::Span,
};
use baton_wire::assignment::Renewal;

use crate::ledger::Waiting;

/// Since when the first word is waited for, by what an earlier process has put down: the same wait goes on as long as nobody has heard
/// one and the machine has not started anew.
pub fn waiting(known: Option<&Waiting>, machine: &str, now_ms: u64) -> Waiting {
    let known = known.filter(|known| known.machine == machine && known.since_ms <= now_ms);
    known.cloned().unwrap_or_else(|| Waiting { machine: machine.to_owned(), since_ms: now_ms })
}

/// Of all groups. Lives in memory alone: an agent that has just started holds none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leases {
    terms: BTreeMap<GroupName, Term>,
}

/// Of a group whose primary is here, in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Term {
    epoch: Epoch,
    /// Whether it was ever renewed: before that there is no lease, but a short time for the first word.
    renewed: bool,
    until_ms: u64,
}

impl Leases {
    /// Goes by these assignments from now on. Who is not primary any more, or in another epoch, holds nothing; who has become
    /// it has the time of a first word. A lease that is over does not begin anew by being assigned again.
    pub fn assigned(&mut self, list: &[Assignment], now_ms: u64) {
        let of = |group: &GroupName| list.iter().find(|assignment| assignment.group == *group);
        self.terms.retain(|group, term| {
            of(group).is_some_and(|assignment| is_leased(assignment) && assignment.epoch == term.epoch)
        });
        for assignment in list.iter().filter(|assignment| is_leased(assignment)) {
            let first = Term { epoch: assignment.epoch, renewed: false, until_ms: now_ms + FIRST_WORD.0 };
            self.terms.entry(assignment.group.clone()).or_insert(first);
        }
    }

    /// Takes a renewal that answers a heartbeat sent then. Only for what the assignment says; never back in time.
    pub fn renew(&mut self, assignment: &Assignment, renewal: &Renewal, sent_ms: u64) -> bool {
        let Some(lease) = assignment.lease.filter(|_| is_leased(assignment)) else { return false };
        let (epoch, index) = (assignment.epoch, assignment.index);
        if renewal.group != assignment.group || renewal.epoch != epoch || renewal.index != index {
            return false;
        }
        let Some(term) = self.terms.get_mut(&assignment.group).filter(|term| term.epoch == epoch) else {
            return false;
        };
        // The shorter of the two: a group's file may have changed between.
        let until_ms = sent_ms + renewal.lasts.0.min(lease.lasts.0);
        let until_ms = if term.renewed { until_ms.max(term.until_ms) } else { until_ms };
        *term = Term { epoch, renewed: true, until_ms };
        true
    }

    /// What is left of the lease; zero where none is held.
    pub fn left(&self, group: &GroupName, now_ms: u64) -> Span {
        let held = self.terms.get(group).filter(|term| term.renewed);
        Span(held.map_or(0, |term| term.until_ms.saturating_sub(now_ms)))
    }

    /// Whether what is exclusive may run here: the lease lives, or its first word is still waited for.
    pub fn allows(&self, group: &GroupName, now_ms: u64) -> bool {
        self.terms.get(group).is_some_and(|term| now_ms < term.until_ms)
    }

    /// The next moment at which one ends.
    pub fn next_end(&self, now_ms: u64) -> Option<u64> {
        self.terms.values().map(|term| term.until_ms).filter(|until_ms| now_ms < *until_ms).min()
    }
}

/// Whether this host is primary there, for as long as its lease lives.
pub fn is_leased(assignment: &Assignment) -> bool {
    assignment.part == Part::Primary && assignment.lease.is_some()
}

#[cfg(test)]
mod tests;
