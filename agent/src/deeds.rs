//! What this host did on its own account: numbered, bounded, kept until the coordinators have it.
//!
//! Pure: (ledger, what happened) → lines of the journal.

use baton_model::{
    assignment::Deed,
    ids::{ComponentName, GroupName},
    time::Moment,
};
use baton_wire::assignment::{DEEDS_MAX, WORDS_BYTES_MAX};

use crate::ledger::{Change, Ledger};

/// A host that reaches nobody must not fill its disk; the oldest that went well is the least that anybody misses.
pub const KEPT_MAX: usize = 1000;

/// What is put down. The number follows from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    pub group: GroupName,
    pub component: ComponentName,
    pub at: Moment,
    pub what: String,
    pub failed: bool,
    /// What was undertaken has come to its end by it.
    pub ends: bool,
}

/// Puts a deed down, and makes room for it.
pub fn record(ledger: &Ledger, happened: Happened) -> Vec<Change> {
    let Happened { group, component, at, mut what, failed, ends } = happened;
    if what.len() > WORDS_BYTES_MAX {
        what.truncate(what.floor_char_boundary(WORDS_BYTES_MAX));
    }
    let mut changes = Vec::new();
    if ends {
        changes.push(Change::Ended(group.clone(), component.clone()));
    }
    if ledger.deeds.len() >= KEPT_MAX {
        let good = ledger.deeds.values().find(|deed| !deed.failed);
        let oldest = good.or_else(|| ledger.deeds.values().next());
        changes.extend(oldest.map(|deed| Change::DropDeed(deed.number)));
    }
    // Not below the clock: a host whose journal was lost does not use a number again that it has used.
    let number = (ledger.deed_last + 1).max(at.0);
    changes.push(Change::Deed(Deed { number, group, component: Some(component), at, what, failed }));
    changes
}

/// The coordinators have them up to this number. Only the ruler's word counts.
pub fn kept(ledger: &Ledger, from: &str, number: u64) -> Vec<Change> {
    if from != ledger.ruler.coordinator {
        return Vec::new();
    }
    ledger.deeds.range(..=number).map(|(number, _)| Change::DropDeed(*number)).collect()
}

/// What an earlier process was in the middle of: whether it came to it is not known, and is said so.
pub fn interrupted(ledger: &Ledger, now: Moment) -> Vec<Happened> {
    let of = |((group, component), undertaken): (&(GroupName, ComponentName), &crate::ledger::Undertaken)| Happened {
        group: group.clone(),
        component: component.clone(),
        at: now,
        what: format!("the agent ended while it was at this, and looks again: {}", undertaken.what),
        failed: false,
        ends: true,
    };
    ledger.undertaken.iter().map(of).collect()
}

/// The oldest, as many as one message holds.
pub fn next(ledger: &Ledger) -> Vec<Deed> {
    ledger.deeds.values().take(DEEDS_MAX).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(at: u64, failed: bool) -> Happened {
        Happened {
            group: "g".parse().expect("a name"),
            component: "c".parse().expect("a name"),
            at: Moment(at),
            what: "stopped c".into(),
            failed,
            ends: true,
        }
    }

    fn put(ledger: &mut Ledger, happened: Happened) -> u64 {
        record(ledger, happened).into_iter().for_each(|change| ledger.apply(change));
        ledger.deed_last
    }

    #[test]
    fn numbers_rise_and_are_never_used_again() {
        let mut ledger = Ledger::default();
        let first = put(&mut ledger, happened(500, false));
        // The wall clock went back.
        let second = put(&mut ledger, happened(100, false));
        assert!(second > first);
        kept(&ledger, "", second).into_iter().for_each(|change| ledger.apply(change));
        assert!(ledger.deeds.is_empty());
        assert!(put(&mut ledger, happened(100, true)) > second);
        // A journal that was lost.
        assert!(put(&mut Ledger::default(), happened(900, false)) > first);
    }

    #[test]
    fn only_the_rulers_word_ends_them_and_only_up_to_its_number() {
        let mut ledger = Ledger::default();
        ledger.ruler.coordinator = "c1".into();
        let first = put(&mut ledger, happened(1, false));
        put(&mut ledger, happened(2, true));
        assert_eq!(kept(&ledger, "c2", u64::MAX), []);
        assert_eq!(kept(&ledger, "c1", first), [Change::DropDeed(first)]);
    }

    #[test]
    fn what_failed_outlives_what_went_well() {
        let mut ledger = Ledger::default();
        let failed = put(&mut ledger, happened(1, true));
        for _ in 0..KEPT_MAX + 5 {
            put(&mut ledger, happened(2, false));
        }
        assert_eq!(ledger.deeds.len(), KEPT_MAX);
        assert!(ledger.deeds.contains_key(&failed));
        for _ in 0..2 * KEPT_MAX {
            put(&mut ledger, happened(3, true));
        }
        assert_eq!(ledger.deeds.len(), KEPT_MAX);
        assert!(!ledger.deeds.contains_key(&failed));
        assert_eq!(next(&ledger).len(), DEEDS_MAX);
    }
}
