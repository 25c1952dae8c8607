use baton_model::{
    assignment::Part,
    fence::{Fence, Reign},
    ids::Epoch,
};
use proptest::prelude::*;

use super::*;
use crate::ledger::Ruler;

fn ledger() -> Ledger {
    let ruler = Ruler { reign: Reign { generation: 1, term: 2 }, coordinator: "c1".into() };
    Ledger { ruler, ..Ledger::default() }
}

fn assignment(group: &str, epoch: u64, index: u64) -> Assignment {
    Assignment {
        group: group.parse().expect("a name"),
        epoch: Epoch(epoch),
        index,
        member: None,
        part: Part::Standby,
        lease: Some(Lease { lasts: Span(epoch * 1_000), stop_within: Span(1_000) }),
        components: Vec::new(),
    }
}

fn assigning((generation, term, index): (u64, u64, u64), assignments: Vec<Assignment>) -> Assigning {
    Assigning { request: 1, fence: Fence { generation, term, index }, assignments }
}

fn code(ledger: &Ledger, from: &str, assigning: &Assigning) -> Result<usize, String> {
    admit(ledger, from, assigning).map(|changes| changes.len()).map_err(|fault| fault.code)
}

fn take(ledger: &mut Ledger, assigning: &Assigning) {
    admit(ledger, "c1", assigning).expect("taken").into_iter().for_each(|change| ledger.apply(change));
}

#[test]
fn only_the_rulers_word_in_its_reign_counts() {
    let good = assigning((1, 2, 10), vec![assignment("g", 3, 10)]);
    assert_eq!(code(&ledger(), "c1", &good), Ok(1));
    assert_eq!(code(&ledger(), "c2", &good), Err("BTN-0432".into()), "another coordinator");
    assert_eq!(code(&Ledger::default(), "c1", &good), Err("BTN-0432".into()), "nobody was acknowledged");
    let of = |generation, term| assigning((generation, term, 10), Vec::new());
    assert_eq!(code(&ledger(), "c1", &of(1, 1)), Err("BTN-0431".into()), "a reign that is over");
    assert_eq!(code(&ledger(), "c1", &of(1, 3)), Err("BTN-0432".into()), "one that was not announced");
}

#[test]
fn an_older_word_is_refused_and_the_same_one_is_answered_without_the_disk() {
    let mut ledger = ledger();
    let present = assigning((1, 2, 10), vec![assignment("g", 3, 8)]);
    take(&mut ledger, &present);
    assert_eq!(code(&ledger, "c1", &present), Ok(0));
    let refused = [
        assigning((1, 2, 9), vec![assignment("g", 3, 8)]),
        // The message is newer, and what it says of the group is not.
        assigning((1, 2, 11), vec![assignment("g", 3, 7)]),
        assigning((1, 2, 11), vec![assignment("g", 2, 11)]),
        // What makes no sense.
        assigning((1, 2, 11), vec![assignment("g", 3, 12)]),
        assigning((1, 2, 11), vec![assignment("g", 3, 11), assignment("g", 3, 11)]),
    ];
    for wrong in refused {
        assert_eq!(code(&ledger, "c1", &wrong), Err("BTN-0444".into()), "{wrong:?}");
    }
    // A quorum that was forced begins another log, which may be shorter.
    ledger.ruler.reign.generation = 2;
    assert_eq!(code(&ledger, "c1", &assigning((2, 2, 5), vec![assignment("g", 2, 5)])), Ok(1));
}

#[test]
fn the_list_is_whole_and_the_shortest_lease_of_it_counts() {
    let mut ledger = ledger();
    take(&mut ledger, &assigning((1, 2, 10), vec![assignment("g", 3, 8), assignment("h", 5, 10)]));
    assert_eq!(shortest(&ledger.assigned.list), Some(Span(3_000)));
    take(&mut ledger, &assigning((1, 2, 11), vec![assignment("h", 5, 10)]));
    assert_eq!(ledger.assigned.of(&"g".parse().expect("a name")), None);
    assert_eq!(ledger.assigned.lease(&"h".parse().expect("a name")).map(|lease| lease.lasts), Some(Span(5_000)));
    take(&mut ledger, &assigning((1, 2, 12), Vec::new()));
    assert_eq!(shortest(&ledger.assigned.list), None);
}

proptest! {
    #[test]
    fn what_was_seen_never_sinks(words in prop::collection::vec((1u64..3, 1u64..4, 0u64..12, 0u64..12, 0u64..4), 0..40)) {
        let mut ledger = ledger();
        let mut seen = (0, 0);
        for (generation, term, index, of, epoch) in words {
            // Somebody accedes now and then.
            let reign = Reign { generation, term };
            if index == 0 && reign >= ledger.ruler.reign {
                ledger.apply(Change::Ruler(Ruler { reign, coordinator: "c1".into() }));
            }
            let before = ledger.assigned.clone();
            let word = assigning((generation, term, index), vec![assignment("g", epoch, of)]);
            if let Ok(changes) = admit(&ledger, "c1", &word) {
                prop_assert_eq!(reign, ledger.ruler.reign);
                changes.into_iter().for_each(|change| ledger.apply(change));
                prop_assert!((generation, index) >= seen);
                let known = before.list.first().filter(|_| before.generation == generation);
                prop_assert!(known.is_none_or(|known| known.index <= of && known.epoch.0 <= epoch));
                seen = (generation, index);
            }
            prop_assert_eq!((ledger.assigned.generation, ledger.assigned.index), seen);
        }
    }
}
