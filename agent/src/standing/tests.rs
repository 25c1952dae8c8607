use baton_model::{assignment::Stop, fence::Reign, group::Lease};

use super::*;

const LASTS: Span = Span(5_000);
const WITHIN: Span = Span(2_000);
const NOW: Moment = Moment(1);

fn key() -> Key {
    ("g".parse().expect("a name"), "worker".parse().expect("a name"))
}

fn watched(exclusive: bool) -> Watched {
    Watched {
        component: key().1,
        probe: Err(Fault::new("BTN-0174", "no", "")),
        every: Span(1_000),
        timeout: Span(1_000),
        checks: 3,
        exclusive,
        stop: Some(Stop { action: "process.stop".into(), params: serde_json::Value::Null }),
    }
}

fn assignment(part: Part, index: u64) -> Assignment {
    Assignment {
        group: key().0,
        epoch: Epoch(3),
        index,
        member: None,
        part,
        lease: Some(Lease { lasts: LASTS, stop_within: WITHIN }),
        components: vec![watched(true)],
    }
}

fn assigned(list: Vec<Assignment>) -> Arc<Assigned> {
    let index = list.iter().map(|assignment| assignment.index).max().unwrap_or(0);
    Arc::new(Assigned { generation: 1, index, list })
}

fn ruler() -> Ruler {
    Ruler { reign: Reign { generation: 1, term: 2 }, coordinator: "c1".into() }
}

fn standing(assignment: Assignment, now_ms: u64) -> Standing {
    Standing::new(assigned(vec![assignment]), ruler(), now_ms, now_ms, NOW)
}

fn renewal(index: u64) -> Renewal {
    Renewal { group: key().0, epoch: Epoch(3), index, lasts: LASTS }
}

fn duty(standing: &Standing, now_ms: u64) -> Duty {
    standing.duties(now_ms)[0].2
}

fn why(standing: &Standing, now_ms: u64) -> Option<Why> {
    match duty(standing, now_ms) {
        Duty::Ask(_) => None,
        Duty::Stop(stopping) => Some(stopping.why),
    }
}

fn quiet(standing: &Standing, now_ms: u64) -> bool {
    standing.tenures(now_ms)[0].quiet
}

#[test]
fn who_may_serve() {
    let no_lease = |part| Assignment { lease: None, ..assignment(part, 1) };
    let cases = [
        (no_lease(Part::Primary), None),
        (no_lease(Part::Standby), Some(Why::Standby)),
        (no_lease(Part::Yielding), Some(Why::Yielding)),
        (no_lease(Part::Shared), None),
        (assignment(Part::Shared, 1), None),
        (assignment(Part::Standby, 1), Some(Why::Standby)),
        (assignment(Part::Primary, 1), Some(Why::LeaseOver)),
    ];
    for (assignment, expected) in cases {
        let harmless = Assignment { components: vec![watched(false)], ..assignment.clone() };
        assert_eq!(why(&standing(assignment.clone(), 0), 60_000), expected, "{assignment:?}");
        assert_eq!(why(&standing(harmless, 0), 60_000), None);
    }
}

#[test]
fn a_lease_is_renewed_by_the_ruler_in_its_own_term_alone() {
    let mut standing = standing(assignment(Part::Primary, 10), 1_000);
    assert_eq!(why(&standing, 1_999), None, "the first word is waited for");
    for (from, term) in [("c2", 2), ("c1", 1), ("c1", 3), ("c1", 0)] {
        assert!(!standing.confirmed(from, term, 1_500, &[renewal(10)], 1_600));
    }
    assert_eq!(why(&standing, 2_000), Some(Why::LeaseOver));
    assert!(standing.confirmed("c1", 2, 1_500, &[renewal(10)], 2_100));
    assert_eq!(why(&standing, 2_100), None);
    assert_eq!(standing.tenures(2_100)[0].lease_left, Span(4_400));
    assert_eq!(why(&standing, 6_500), Some(Why::LeaseOver));
}

#[test]
fn quiet_is_what_was_seen_after_the_word_came() {
    let mut standing = standing(assignment(Part::Standby, 10), 0);
    assert!(!quiet(&standing, 0));
    // Seen, but begun before: it counts for the word that was in force then.
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(9), 0, NOW);
    assert!(!quiet(&standing, 0));
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(10), 0, NOW);
    assert!(quiet(&standing, 0));
    standing.saw(&key(), Health::Intruding, "runs".into(), None, 0, NOW);
    assert!(!quiet(&standing, 0));
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(10), 0, NOW);
    standing.assign(assigned(vec![assignment(Part::Standby, 10)]), 0, NOW);
    assert!(quiet(&standing, 0), "the same word again");
    standing.assign(assigned(vec![assignment(Part::Standby, 11)]), 0, NOW);
    assert!(!quiet(&standing, 0));
    // What has nothing exclusive is quiet; what may serve never is.
    let nothing = Assignment { components: vec![watched(false)], ..assignment(Part::Yielding, 12) };
    standing.assign(assigned(vec![nothing]), 0, NOW);
    assert!(quiet(&standing, 0));
    let mut standing = self::standing(assignment(Part::Primary, 12), 0);
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(12), 60_000, NOW);
    assert!(!quiet(&standing, 60_000), "a renewal may be on its way");
}

#[test]
fn an_order_of_a_leased_group_waits_for_a_leader_that_is_certain() {
    let mut standing = standing(assignment(Part::Standby, 10), 0);
    let may = |standing: &Standing, told_ms, now_ms| standing.may_begin(&key().0, Some(told_ms), now_ms).is_ok();
    assert!(!may(&standing, 10, 20));
    assert!(standing.may_begin(&"other".parse().expect("a name"), None, 20).is_ok(), "a group without a lease");
    standing.confirmed("c1", 2, 10, &[], 20);
    assert!(may(&standing, 15, 20));
    assert!(!standing.tick(1_000) && !standing.tick(1_100));
    assert!(standing.tick(6_101), "it stood still for longer than a lease");
    standing.confirmed("c1", 2, 6_102, &[], 6_110);
    assert!(!may(&standing, 15, 6_110) && may(&standing, 6_105, 6_110));
    standing.accede(Ruler { coordinator: "c2".into(), ..ruler() });
    assert!(!may(&standing, 6_105, 6_110), "somebody else rules");
}

#[test]
fn the_watchdog_lives_while_serving_is_allowed_or_everything_is_stopped() {
    let mut standing = standing(assignment(Part::Primary, 10), 0);
    assert_eq!(standing.vigil(500), Vigil::Alive(WITHIN));
    standing.tick(1_500);
    assert_eq!(standing.vigil(1_500), Vigil::Fencing, "the first word did not come");
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(10), 1_600, NOW);
    assert_eq!(standing.vigil(1_600), Vigil::Off);
    standing.confirmed("c1", 2, 1_700, &[renewal(10)], 1_700);
    assert_eq!(standing.vigil(1_700), Vigil::Alive(WITHIN));
    // That it did not run before it was allowed to says nothing.
    standing.tick(7_000);
    assert_eq!(standing.vigil(7_000), Vigil::Fencing);
    standing.assign(assigned(vec![assignment(Part::Yielding, 11)]), 7_100, NOW);
    assert_eq!(standing.vigil(7_100), Vigil::Fencing, "the role goes, and it is not stopped yet");
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(11), 7_200, NOW);
    assert_eq!(standing.vigil(7_200), Vigil::Off);
    assert_eq!(self::standing(assignment(Part::Standby, 1), 0).vigil(0), Vigil::Off, "a standby has nothing to lose");
}

#[test]
fn what_is_seen_is_told_once_for_each_change_and_all_of_it_after_a_word() {
    let mut standing = standing(assignment(Part::Standby, 10), 0);
    let (first, version) = standing.seen_since(0);
    assert_eq!((first.len(), first[0].health), (1, Health::Unknown));
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(10), 0, Moment(5));
    let (seen, version) = standing.seen_since(version);
    assert_eq!((seen[0].health, seen[0].since), (Health::Stopped, Moment(5)));
    standing.saw(&key(), Health::Stopped, "gone".into(), Some(10), 0, Moment(9));
    assert_eq!(standing.seen_since(version), (Vec::new(), version), "the same again");
    assert_eq!((standing.seen_since(0).0[0].since, standing.seen_since(0).0[0].at), (Moment(5), Moment(9)));
    standing.assign(assigned(vec![assignment(Part::Standby, 11)]), 0, NOW);
    assert_eq!(standing.seen_since(version).0.len(), 1);
    standing.assign(assigned(Vec::new()), 0, NOW);
    assert_eq!(standing.seen_since(0).0, Vec::new(), "a group that is not ours any more");
}
