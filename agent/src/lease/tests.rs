use baton_model::group::Lease;
use proptest::prelude::*;

use super::*;

const LASTS: Span = Span(5_000);

fn group() -> GroupName {
    "g".parse().expect("a name")
}

fn assignment(part: Part, epoch: u64, index: u64) -> Assignment {
    Assignment {
        group: group(),
        epoch: Epoch(epoch),
        index,
        member: None,
        part,
        lease: Some(Lease { lasts: LASTS, stop_within: Span(1_000) }),
        components: Vec::new(),
    }
}

fn renewal(epoch: u64, index: u64) -> Renewal {
    Renewal { group: group(), epoch: Epoch(epoch), index, lasts: LASTS }
}

fn primary() -> (Leases, Assignment) {
    let mut leases = Leases::default();
    let assignment = assignment(Part::Primary, 3, 10);
    leases.assigned(std::slice::from_ref(&assignment), 1_000);
    (leases, assignment)
}

#[test]
fn who_has_just_started_holds_nothing_and_waits_for_one_word() {
    let (mut leases, assignment) = primary();
    assert_eq!(leases.left(&group(), 1_000), Span(0));
    assert!(leases.allows(&group(), 1_999) && !leases.allows(&group(), 2_000));
    // Assigned again, it does not begin to wait anew.
    leases.assigned(&[Assignment { index: 11, ..assignment.clone() }], 1_500);
    assert!(!leases.allows(&group(), 2_000));
    leases.assigned(&[Assignment { index: 12, ..assignment.clone() }], 9_000);
    assert!(!leases.allows(&group(), 9_000), "fenced, until a renewal comes");
    assert!(leases.renew(&Assignment { index: 12, ..assignment }, &renewal(3, 12), 9_000));
    assert!(leases.allows(&group(), 9_001));
}

#[test]
fn who_starts_again_and_again_waits_once() {
    let first = waiting(None, "this", 1_000);
    assert_eq!(first.since_ms, 1_000);
    assert_eq!(waiting(Some(&first), "this", 5_000), first);
    // The machine was started anew: its clock too.
    assert_eq!(waiting(Some(&first), "next", 5_000).since_ms, 5_000);
    assert_eq!(waiting(Some(&first), "this", 10).since_ms, 10, "a clock that cannot be the same");
}

#[test]
fn a_lease_counts_from_the_question_and_is_never_shortened() {
    let (mut leases, assignment) = primary();
    assert!(leases.renew(&assignment, &renewal(3, 10), 1_200));
    assert_eq!(leases.left(&group(), 3_000), Span(3_200));
    assert!(leases.allows(&group(), 6_199) && !leases.allows(&group(), 6_200));
    assert!(leases.renew(&assignment, &renewal(3, 10), 1_100), "a late one, of an earlier question");
    assert_eq!(leases.left(&group(), 3_000), Span(3_200));
    // The shorter of what the group says and what the coordinator says.
    assert!(leases.renew(&assignment, &Renewal { lasts: Span(60_000), ..renewal(3, 10) }, 2_000));
    assert_eq!(leases.next_end(3_000), Some(7_000));
}

#[test]
fn a_first_word_that_is_old_is_no_more_than_it_says() {
    let (mut leases, assignment) = primary();
    assert!(leases.renew(&assignment, &Renewal { lasts: Span(100), ..renewal(3, 10) }, 1_000));
    assert!(!leases.allows(&group(), 1_100), "the time of the first word is over with it");
}

#[test]
fn nothing_is_taken_for_another_epoch_index_or_part() {
    for (part, epoch, index) in [
        (Part::Standby, 3, 10),
        (Part::Yielding, 3, 10),
        (Part::Shared, 3, 10),
        (Part::Primary, 4, 10),
        (Part::Primary, 3, 11),
    ] {
        let mut leases = Leases::default();
        let assignment = assignment(part, epoch, index);
        leases.assigned(std::slice::from_ref(&assignment), 1_000);
        assert!(!leases.renew(&assignment, &renewal(3, 10), 1_000), "{part:?} {epoch} {index}");
        assert_eq!(leases.left(&group(), 1_000), Span(0));
    }
    let (mut leases, assignment) = primary();
    assert!(!leases.renew(&Assignment { lease: None, ..assignment }, &renewal(3, 10), 1_000), "no lease");
}

#[test]
fn it_is_dropped_at_once_when_the_role_is_elsewhere_or_about_to_be() {
    for (part, epoch) in [(Part::Yielding, 3), (Part::Standby, 4), (Part::Shared, 3)] {
        let (mut leases, held) = primary();
        assert!(leases.renew(&held, &renewal(3, 10), 1_000));
        leases.assigned(&[assignment(part, epoch, 11)], 1_001);
        assert_eq!((leases.left(&group(), 1_001), leases.allows(&group(), 1_001)), (Span(0), false), "{part:?}");
    }
    let (mut leases, held) = primary();
    assert!(leases.renew(&held, &renewal(3, 10), 1_000));
    leases.assigned(&[], 1_001);
    assert_eq!(leases, Leases::default());
}

#[derive(Debug, Clone)]
enum Step {
    Assign(Part, u64),
    Renew { epoch: u64, index: u64, age: u64, lasts: u64 },
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![Just(Part::Primary), Just(Part::Primary), Just(Part::Yielding), Just(Part::Standby)];
    let step = prop_oneof![
        (part, 1u64..4).prop_map(|(part, epoch)| Step::Assign(part, epoch)),
        (1u64..4, 0u64..30, 0u64..8_000, 1u64..9_000).prop_map(|(epoch, index, age, lasts)| Step::Renew {
            epoch,
            index,
            age,
            lasts
        }),
        (0u64..3_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Beside the leases, the plainest account of what a coordinator may reckon with: serving ends at the latest `lasts` after the
    /// question of the last renewal of this very epoch, or a first word after it became primary.
    #[test]
    fn never_longer_than_the_coordinator_reckons_with(steps in steps()) {
        let mut leases = Leases::default();
        let (mut now, mut index) = (20_000u64, 0u64);
        let mut present: Option<Assignment> = None;
        let mut latest = 0u64;
        for step in steps {
            match step {
                Step::Assign(part, epoch) => {
                    index += 1;
                    let new = assignment(part, epoch, index);
                    let goes_on = present.as_ref().is_some_and(|old| old.part == Part::Primary && old.epoch == new.epoch);
                    if part != Part::Primary {
                        latest = 0;
                    } else if !goes_on {
                        latest = now + FIRST_WORD.0;
                    }
                    leases.assigned(std::slice::from_ref(&new), now);
                    present = Some(new);
                }
                Step::Renew { epoch, index, age, lasts } => {
                    let Some(present) = &present else { continue };
                    let renewal = Renewal { lasts: Span(lasts), ..renewal(epoch, index) };
                    let before = leases.left(&group(), now);
                    let taken = leases.renew(present, &renewal, now - age);
                    let fits = present.part == Part::Primary && present.epoch.0 == epoch && present.index == index;
                    prop_assert_eq!(taken, fits);
                    if taken {
                        latest = latest.max(now - age + lasts.min(LASTS.0));
                    }
                    prop_assert!(leases.left(&group(), now) >= before, "never shortened");
                }
                Step::Pass(ms) => now += ms,
            }
            let serves = present.as_ref().is_some_and(|present| present.part == Part::Primary);
            prop_assert!(!leases.allows(&group(), now) || serves && now < latest);
            prop_assert!(leases.left(&group(), now).0 <= latest.saturating_sub(now));
            prop_assert!(leases.left(&group(), now).0 == 0 || leases.allows(&group(), now));
        }
    }
}
