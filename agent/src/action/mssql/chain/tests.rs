use proptest::prelude::*;

use super::*;

fn log(file: &str, first: u128, last: u128) -> Header {
    Header {
        file: file.to_owned(),
        position: 1,
        kind: SetKind::Log,
        database: "mgc".to_owned(),
        name: String::new(),
        family: Some("f".to_owned()),
        first_fork: Some("r".to_owned()),
        fork: Some("r".to_owned()),
        set: None,
        first: Lsn(first),
        last: Lsn(last),
        database_backup: None,
        damaged: false,
        copy_only: false,
        tail: false,
        finished: String::new(),
    }
}

fn at(lsn: u128) -> Standing {
    Standing { database: "mgc".to_owned(), family: Some("f".to_owned()), fork: Some("r".to_owned()), applied: Lsn(lsn) }
}

fn sets(headers: impl IntoIterator<Item = Header>) -> Vec<Seen> {
    headers.into_iter().map(|header| Seen::Sets(vec![header])).collect()
}

fn order(plan: &Plan) -> Vec<(u128, u128)> {
    match &plan.verdict {
        Verdict::Apply(headers) => headers.iter().map(|header| (header.first.0, header.last.0)).collect(),
        other => panic!("not applicable: {other:?}"),
    }
}

fn whys(plan: &Plan) -> Vec<String> {
    plan.left_out.iter().map(|left| format!("{}: {}", left.place, left.why)).collect()
}

#[test]
fn names_in_any_order_are_applied_by_lsn() {
    let plan = plan(&at(10), &sets([log("a", 30, 40), log("z", 10, 20), log("m", 20, 30), log("old", 1, 10)]), None);
    assert_eq!(order(&plan), [(10, 20), (20, 30), (30, 40)]);
    assert_eq!((plan.applied_before, plan.left_out.len()), (1, 0));
}

#[test]
fn a_missing_file_is_told_with_lsns_and_files_on_both_sides() {
    let files = sets([log("first.trn", 10, 20), log("third.trn", 30, 40)]);
    let Verdict::Gap(gap) = plan(&at(10), &files, None).verdict else { panic!("a gap") };
    assert_eq!(gap.to_string(), "after first.trn (to LSN 20) a log backup is missing before third.trn (from LSN 30)");
}

#[test]
fn the_missing_file_may_be_one_that_cannot_be_read() {
    let mut files = sets([log("late.trn", 30, 40)]);
    files.push(Seen::Unreadable { file: "half.wrk".to_owned(), why: "still being copied".to_owned() });
    let plan = plan(&at(10), &files, None);
    let Verdict::Gap(gap) = &plan.verdict else { panic!("a gap") };
    let text = gap.to_string();
    assert!(text.starts_with("after LSN 10, the last that was applied,") && text.ends_with("half.wrk"), "{text}");
    assert_eq!(whys(&plan), ["half.wrk: still being copied"]);
}

#[test]
fn an_end_that_somebody_knows_must_be_reached() {
    let files = sets([log("a", 10, 20)]);
    assert!(matches!(plan(&at(10), &files, Some(Lsn(20))).verdict, Verdict::Apply(_)));
    let Verdict::Gap(gap) = plan(&at(10), &files, Some(Lsn(21))).verdict else { panic!("too short") };
    assert_eq!(gap.to_string(), "after a (to LSN 20) a log backup is missing; the chain must reach LSN 21");
    let reached = plan(&at(20), &files, Some(Lsn(20)));
    assert_eq!((reached.verdict, reached.applied_before), (Verdict::Nothing, 1));
}

#[test]
fn what_belongs_elsewhere_is_named_and_left_out() {
    let other = Header { database: "mgccomp".to_owned(), ..log("comp.trn", 10, 20) };
    let namesake = Header { family: Some("g".to_owned()), ..log("namesake.trn", 10, 20) };
    let full = Header { kind: SetKind::Full, ..log("full.bak", 5, 9) };
    let plan = plan(&at(10), &sets([other, namesake, full, log("a", 10, 20)]), None);
    assert_eq!(order(&plan), [(10, 20)]);
    assert_eq!(
        whys(&plan),
        [
            "comp.trn: it is of database mgccomp",
            "full.bak: it is a full backup",
            "namesake.trn: it is of another database of that name (family g)",
        ]
    );
}

#[test]
fn of_two_files_with_the_same_log_one_is_applied_and_the_other_named() {
    let plan = plan(&at(10), &sets([log("copy of a", 10, 20), log("a", 10, 20), log("b", 20, 30)]), None);
    assert_eq!(order(&plan), [(10, 20), (20, 30)]);
    assert_eq!(whys(&plan), ["copy of a: it holds the same log as a"]);
}

#[test]
fn a_copy_only_log_beside_the_chain_does_not_break_it() {
    let beside = Header { copy_only: true, ..log("beside", 10, 15) };
    let plan = plan(&at(10), &sets([beside, log("a", 10, 20), log("b", 20, 30)]), None);
    assert_eq!(order(&plan), [(10, 20), (20, 30)]);
    assert_eq!(whys(&plan), ["beside: other files hold the same log"]);
}

#[test]
fn a_damaged_file_stops_everything_unless_another_holds_the_same_log() {
    let damaged = Header { damaged: true, ..log("b", 20, 30) };
    let files = [log("a", 10, 20), damaged.clone(), log("c", 30, 40)];
    assert_eq!(plan(&at(10), &sets(files.clone()), None).verdict, Verdict::Damaged(Box::new(damaged)));
    let with_copy = plan(&at(10), &sets(files.into_iter().chain([log("b again", 20, 30)])), None);
    assert_eq!(order(&with_copy), [(10, 20), (20, 30), (30, 40)]);
    assert_eq!(whys(&with_copy), ["b: it is damaged, and another file holds the same log"]);
}

#[test]
fn a_log_that_began_before_the_recovery_goes_on_from_a_full_backup_made_after_it() {
    let spanning = Header { fork: Some("s".to_owned()), ..log("span", 10, 30) };
    let after = Standing { fork: Some("s".to_owned()), ..at(20) };
    assert_eq!(order(&plan(&after, &sets([spanning]), None)), [(10, 30)]);
    // The log of the fork that was left is none for it.
    let Verdict::Gap(_) = plan(&after, &sets([log("left", 10, 40)]), None).verdict else { panic!("a fork") };
}

#[test]
fn the_log_of_another_recovery_fork_is_no_continuation_and_never_forgotten() {
    let forked = |file: &str, first, last| Header {
        first_fork: Some("s".to_owned()),
        fork: Some("s".to_owned()),
        ..log(file, first, last)
    };
    let spanning = Header { fork: Some("s".to_owned()), ..log("span", 10, 20) };
    assert_eq!(order(&plan(&at(10), &sets([spanning, forked("b", 20, 30)]), None)), [(10, 20), (20, 30)]);
    let Verdict::Gap(gap) = plan(&at(20), &sets([forked("b", 20, 30)]), None).verdict else { panic!("a fork") };
    assert!(gap.to_string().contains("another recovery fork: b (LSN 20 to 30) begins in fork s"), "{gap}");
}

#[test]
fn several_sets_of_one_file_are_told_by_position() {
    let second = Header { position: 2, ..log("all.trn", 20, 30) };
    let plan = plan(&at(10), &[Seen::Sets(vec![second, log("all.trn", 10, 20)])], None);
    let Verdict::Apply(headers) = plan.verdict else { panic!("applies") };
    assert_eq!(headers.iter().map(Header::place).collect::<Vec<_>>(), ["all.trn", "all.trn(2)"]);
}

#[test]
fn the_newest_full_backup_that_is_good_is_the_one_to_begin_with() {
    let full = |file: &str, last| Header { kind: SetKind::Full, ..log(file, 1, last) };
    let damaged = Header { damaged: true, ..full("newest", 30) };
    let files = sets([full("old", 10), full("new", 20), damaged, log("log", 20, 40)]);
    assert_eq!(newest_full("MGC", &files).map(|header| header.file.as_str()), Some("new"));
    assert_eq!(newest_full("mgccomp", &files), None);
}

#[test]
fn an_lsn_is_digits_and_keeps_all_of_them() {
    let text = "1234567890123456789012345";
    let lsn = Lsn::parse(text).expect("25 digits");
    assert_eq!(serde_json::to_value(lsn).expect("json"), text);
    assert_eq!(serde_json::from_value::<Lsn>(text.into()).expect("read back"), lsn);
    for wrong in ["", "-1", "1e3", "00000022:000001b0:0001", "12345678901234567890123456"] {
        assert_eq!(Lsn::parse(wrong), None, "{wrong}");
    }
}

/// A chain of log backups of some lengths, beginning at 1000; all before `applied` of them have been applied.
fn chain() -> impl Strategy<Value = (Vec<Header>, usize)> {
    (prop::collection::vec(1u128..1000, 2..12), prop::collection::vec("[a-z0-9_]{1,8}", 12)).prop_flat_map(
        |(lengths, names)| {
            let mut first = 1000;
            let headers: Vec<Header> = lengths
                .iter()
                .enumerate()
                .map(|(number, length)| {
                    first += length;
                    log(&format!("{}{number}", names[number]), first - length, first)
                })
                .collect();
            let count = headers.len();
            (Just(headers), 0..count)
        },
    )
}

proptest! {
    #[test]
    fn any_order_of_any_names_gives_the_same_plan((headers, applied) in chain(), seed in any::<u64>()) {
        let start = at(headers[applied].first.0);
        let expected: Vec<_> = headers[applied..].iter().map(|h| (h.first.0, h.last.0)).collect();
        let straight = plan(&start, &sets(headers.clone()), None);
        prop_assert_eq!(&order(&straight), &expected);
        let mut shuffled = headers;
        // A shuffle that depends on the seed alone.
        shuffled.sort_by_key(|header| (header.first.0 as u64).wrapping_mul(seed | 1).rotate_left(17));
        prop_assert_eq!(plan(&start, &sets(shuffled), None), straight);
    }

    #[test]
    fn any_missing_file_but_the_last_is_a_gap_and_nothing_is_applied((headers, applied) in chain(), which in any::<prop::sample::Index>()) {
        let start = at(headers[applied].first.0);
        let needed = &headers[applied..];
        prop_assume!(needed.len() > 1);
        let missing = &needed[which.index(needed.len() - 1)];
        let rest = headers.iter().filter(|header| *header != missing).cloned();
        match plan(&start, &sets(rest), None).verdict {
            Verdict::Gap(gap) => {
                prop_assert_eq!(gap.needed, missing.first);
                prop_assert_eq!(gap.before.map(|header| header.first), Some(missing.last));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn the_last_file_is_missed_where_the_end_is_known((headers, applied) in chain()) {
        let start = at(headers[applied].first.0);
        let end = headers.last().expect("two at least").last;
        let rest = &headers[..headers.len() - 1];
        prop_assert!(matches!(plan(&start, &sets(rest.to_vec()), Some(end)).verdict, Verdict::Gap(_)));
        prop_assert!(!matches!(plan(&start, &sets(headers), Some(end)).verdict, Verdict::Gap(_)));
    }

    #[test]
    fn a_plan_goes_on_without_a_hole_whatever_the_headers_are(
        ranges in prop::collection::vec((0u128..60, 0u128..60, any::<bool>()), 0..12), from in 0u128..60,
    ) {
        let headers = ranges.iter().enumerate().map(|(n, (first, last, damaged))| Header {
            damaged: *damaged,
            ..log(&format!("f{n}"), *first, *last)
        });
        let plan = plan(&at(from), &sets(headers), None);
        if let Verdict::Apply(chosen) = plan.verdict {
            let mut lsn = Lsn(from);
            for header in &chosen {
                prop_assert!(header.first <= lsn && lsn < header.last && !header.damaged);
                lsn = header.last;
            }
            prop_assert!(ranges.iter().all(|(first, last, _)| first >= last || Lsn(*last) <= lsn));
        }
    }
}
