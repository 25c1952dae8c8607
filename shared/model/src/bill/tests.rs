use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: Moment = Moment(1_000_000_000);

fn ag() -> SampleName {
    SampleName::new("ag").expect("a name")
}

fn host(name: &str) -> HostName {
    HostName::new(name).expect("a name")
}

fn ago(seconds: u64) -> Moment {
    Moment(NOW.0 - seconds * 1000)
}

/// A row about `replica`: its log, its last commit at so many seconds past ten.
fn row(name: &str, replica: &str, local: bool, log: u64, commit: &str) -> Value {
    json!({
        "name": name, "replica": replica, "is_local": local, "synchronization_state": "SYNCHRONIZING",
        "is_failover_ready": false, "is_suspended": false, "end_of_log_lsn": log.to_string(),
        "last_hardened_lsn": log.to_string(), "last_commit_time": format!("2026-11-21T10:00:{commit}"),
        "recovery_lsn": null, "log_send_queue_kb": null,
    })
}

fn said(replica: &str, role: &str, rows: Vec<Value>, seen: Moment) -> Kept {
    let data = json!({ "taken_ms": 1, "replica": replica, "role": role, "databases": rows });
    Kept::new(Sampled { seen, data })
}

fn parties() -> Parties {
    Parties {
        asked: BTreeMap::from([(ag(), vec![host("db1"), host("db2")])]),
        old: BTreeSet::from([host("db1")]),
        target: BTreeSet::from([host("db2")]),
    }
}

fn kept(of: &[(&str, &Kept)]) -> Samples {
    let hosts = of.iter().map(|(name, kept)| (host(name), (*kept).clone())).collect();
    BTreeMap::from([(ag(), hosts)])
}

fn bill(primary: Vec<Value>, target: Vec<Value>) -> Bill {
    let primary = said("SQL1", "PRIMARY", primary, ago(14));
    let target = said("SQL2", "SECONDARY", target, ago(1));
    Bill::of(&kept(&[("db1", &primary), ("db2", &target)]), &parties(), NOW)
}

fn with(mut row: Value, key: &str, value: Value) -> Value {
    row[key] = value;
    row
}

#[test]
fn loss_is_the_difference_of_commits_and_the_age_of_the_sample() {
    let bill = bill(vec![row("a", "SQL1", true, 900, "07.500")], vec![row("a", "SQL2", true, 800, "05")]);
    let only = &bill.databases[0];
    assert_eq!(only.loss, Loss::AtMost { commits: Span(2500), since: Span(14_000) });
    assert_eq!(only.old.log, Figure::Known { value: Lsn(900), seen: ago(14) });
    assert_eq!(only.target.log, Figure::Known { value: Lsn(800), seen: ago(1) });
    assert_eq!(only.fitness, Fitness::Fit);
    let said = "a: at most 3 s of commits, plus what happened in the 14 s since the last sample";
    assert_eq!(bill.verdict(), said);
}

#[test]
fn the_worst_governs_and_stands_first() {
    let unfit = with(row("d", "SQL2", true, 900, "07"), "synchronization_state", json!("INITIALIZING"));
    let ready = with(row("b", "SQL2", true, 900, "07"), "is_failover_ready", json!(true));
    let of_primary: Vec<Value> = ["a", "b", "c", "d", "e"].map(|name| row(name, "SQL1", true, 900, "07")).into();
    let late = row("a", "SQL2", true, 100, "01");
    let silent = with(row("e", "SQL2", true, 100, "01"), "last_commit_time", Value::Null);
    let bill = bill(of_primary, vec![late, ready, row("c", "SQL2", true, 899, "06"), unfit, silent]);
    let order: Vec<&str> = bill.databases.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(order, ["d", "e", "a", "c", "b"]);
    assert!(bill.verdict().starts_with("d: not to be taken: it is INITIALIZING on SQL2; "), "{}", bill.verdict());
    assert!(bill.verdict().ends_with("(the 4 other databases no worse)"), "{}", bill.verdict());
}

#[test]
fn an_idle_primary_is_told_from_a_target_that_lags() {
    // The same log: whatever the times say, nothing that was seen is missing.
    let same = bill(vec![row("a", "SQL1", true, 900, "07")], vec![row("a", "SQL2", true, 900, "01")]);
    assert_eq!(same.databases[0].loss, Loss::AtMost { commits: Span(0), since: Span(14_000) });
    assert_eq!(same.databases[0].cautions, Vec::<String>::new());
    // The same commits, and more log: said, since the number alone looks like no loss.
    let ahead = bill(vec![row("a", "SQL1", true, 950, "07")], vec![row("a", "SQL2", true, 900, "07")]);
    assert_eq!(ahead.databases[0].loss, Loss::AtMost { commits: Span(0), since: Span(14_000) });
    assert!(ahead.databases[0].cautions[0].contains("went on beyond"), "{:?}", ahead.databases[0].cautions);
    // Received, and not hardened yet: nothing to warn of.
    let received = with(row("a", "SQL2", true, 900, "07"), "end_of_log_lsn", json!("950"));
    let received = bill(vec![row("a", "SQL1", true, 950, "07")], vec![received]);
    assert_eq!(received.databases[0].cautions, Vec::<String>::new());
    let blind = with(row("a", "SQL2", true, 0, "07"), "last_hardened_lsn", Value::Null);
    let blind = bill(vec![row("a", "SQL1", true, 950, "07")], vec![blind]);
    assert!(blind.databases[0].cautions[0].contains("could not be compared"), "{:?}", blind.databases[0].cautions);
    assert!(
        blind.verdict().starts_with("a: no commit that was seen, but whatever happened in the 14 s"),
        "{}",
        blind.verdict()
    );
}

#[test]
fn positions_are_compared_as_numbers_and_not_as_text() {
    let primary = with(row("a", "SQL1", true, 0, "09"), "end_of_log_lsn", json!("99000000012300001"));
    let target = with(row("a", "SQL2", true, 0, "01"), "last_hardened_lsn", json!("340000000012300001"));
    let bill = bill(vec![primary], vec![target]);
    assert_eq!(bill.databases[0].loss, Loss::AtMost { commits: Span(0), since: Span(14_000) });
}

#[test]
fn a_suspended_copy_with_more_log_than_the_primary_had_proves_nothing() {
    let suspended = |log: u64| with(row("a", "SQL2", true, log, "07"), "is_suspended", json!(true));
    let primary = || vec![row("a", "SQL1", true, 900, "09")];
    let fork = bill(primary(), vec![suspended(950)]);
    assert!(matches!(fork.databases[0].loss, Loss::Unknown { .. }), "{fork:?}");
    let whole = bill(primary(), vec![suspended(900)]);
    assert_eq!(whole.databases[0].loss, Loss::AtMost { commits: Span(0), since: Span(14_000) });
}

#[test]
fn readiness_counts_only_where_it_can_still_hold() {
    let ready = |seen: u64, suspended: bool| {
        let primary = said("SQL1", "PRIMARY", vec![row("a", "SQL1", true, 900, "07")], ago(14));
        let row = with(row("a", "SQL2", true, 800, "05"), "is_failover_ready", json!(true));
        let target = said("SQL2", "SECONDARY", vec![with(row, "is_suspended", json!(suspended))], ago(seen));
        Bill::of(&kept(&[("db1", &primary), ("db2", &target)]), &parties(), NOW)
    };
    let good = ready(2, false);
    assert_eq!(good.databases[0].loss, Loss::NothingIfReady { seen: ago(2) });
    let words = "a: nothing, if SQL2 was up when SQL1 failed (it said 2 s ago that it is ready for a failover)";
    assert_eq!(good.verdict(), words);
    for (seen, suspended) in [(60, false), (2, true)] {
        let bill = ready(seen, suspended);
        assert_eq!(bill.databases[0].loss, Loss::AtMost { commits: Span(2000), since: Span(14_000) });
        assert!(bill.databases[0].cautions.iter().any(|caution| caution.contains("need not hold")), "{bill:?}");
    }
}

#[test]
fn a_primary_that_lost_its_quorum_is_remembered_as_it_was() {
    let mut primary = said("SQL1", "PRIMARY", vec![row("a", "SQL1", true, 900, "07")], ago(40));
    let nulls =
        with(with(row("a", "SQL1", true, 0, "07"), "last_commit_time", Value::Null), "end_of_log_lsn", Value::Null);
    for seen in [30, 20] {
        primary.take(said("SQL1", "RESOLVING", vec![nulls.clone()], ago(seen)).latest);
    }
    let target = said("SQL2", "RESOLVING", vec![row("a", "SQL2", true, 800, "05")], ago(1));
    let bill = Bill::of(&kept(&[("db1", &primary), ("db2", &target)]), &parties(), NOW);
    assert_eq!(bill.databases[0].loss, Loss::AtMost { commits: Span(2000), since: Span(40_000) });
    assert_eq!(
        bill.cautions,
        ["SQL1 (db1) was RESOLVING when it was last seen, 20 s ago; what it had as PRIMARY is older"]
    );
    primary.take(said("SQL1", "PRIMARY", vec![], ago(10)).latest);
    assert_eq!(primary.as_primary, None, "the newest word as primary is the one that counts");
}

#[test]
fn what_the_target_cannot_say_of_itself_the_primary_may_have_seen() {
    let of_target = with(row("a", "SQL2", false, 700, "04"), "log_send_queue_kb", json!(512));
    let silent = with(row("a", "SQL2", true, 0, "05"), "last_commit_time", Value::Null);
    let silent = with(silent, "last_hardened_lsn", Value::Null);
    let bill = bill(vec![row("a", "SQL1", true, 900, "07"), of_target], vec![silent]);
    let only = &bill.databases[0];
    assert_eq!(only.loss, Loss::AtMost { commits: Span(3000), since: Span(14_000) });
    assert_eq!(only.target.log, Figure::Known { value: Lsn(700), seen: ago(14) });
    assert_eq!(only.unsent_kb, Figure::Known { value: 512, seen: ago(14) });
    assert!(only.cautions.iter().any(|caution| caution.contains("what SQL1 (db1) last saw of it")), "{only:?}");
}

#[test]
fn what_nobody_saw_is_unknown_in_words() {
    let target = said("SQL2", "RESOLVING", vec![row("a", "SQL2", true, 800, "05")], ago(1));
    let alone = Bill::of(&kept(&[("db2", &target)]), &parties(), NOW);
    assert_eq!(alone.verdict(), "a: unknown: the primary was never seen");
    assert!(alone.cautions.contains(&"sample ag: db1 was never seen".to_owned()), "{:?}", alone.cautions);
    let primary = said("SQL1", "PRIMARY", vec![row("a", "SQL1", true, 900, "07")], ago(14));
    let gone = Bill::of(&kept(&[("db1", &primary)]), &parties(), NOW);
    assert_eq!(gone.verdict(), "a: unknown: the target was never seen");
    let elsewhere = bill(vec![row("a", "SQL1", true, 900, "07")], vec![]);
    assert!(elsewhere.verdict().starts_with("a: unknown: the target has no copy of it"), "{}", elsewhere.verdict());
    let nothing = Bill::of(&BTreeMap::new(), &parties(), NOW);
    assert_eq!(nothing.verdict(), "unknown: sample ag: db1 was never seen");
    let unasked = Bill::of(&BTreeMap::new(), &Parties::default(), NOW);
    assert!(
        unasked.verdict().starts_with("unknown: the group has no sample of its databases"),
        "{}",
        unasked.verdict()
    );
    let mut garbled = said("SQL1", "PRIMARY", vec![], ago(14));
    garbled.latest.data = json!({ "databases": [{}] });
    let garbled = Bill::of(&kept(&[("db1", &garbled), ("db2", &target)]), &parties(), NOW);
    assert!(garbled.cautions.iter().any(|caution| caution.contains("db1 said is not understood")), "{garbled:?}");
}

#[test]
fn a_figure_in_another_form_is_no_figure() {
    for (key, value) in [
        ("end_of_log_lsn", json!("00000022:00000060:0001")),
        ("end_of_log_lsn", json!(900)),
        ("last_commit_time", json!("yesterday")),
        ("last_commit_time", json!("")),
    ] {
        let bill =
            bill(vec![with(row("a", "SQL1", true, 900, "07"), key, value)], vec![row("a", "SQL2", true, 800, "05")]);
        let old = &bill.databases[0].old;
        let gone =
            if key == "end_of_log_lsn" { old.log == Figure::Unknown } else { old.last_commit == Figure::Unknown };
        assert!(gone, "{old:?}");
    }
    let of_target = with(row("a", "SQL2", false, 700, "04"), "log_send_queue_kb", json!(-1));
    let bill = bill(vec![row("a", "SQL1", true, 900, "07"), of_target], vec![row("a", "SQL2", true, 800, "05")]);
    assert_eq!(bill.databases[0].unsent_kb, Figure::Unknown);
}

#[test]
fn two_primaries_and_a_foreign_one_are_told() {
    let row = || vec![row("a", "SQL1", true, 900, "07")];
    let primary = said("SQL1", "PRIMARY", row(), ago(14));
    let target = said("SQL2", "PRIMARY", vec![super::tests::row("a", "SQL2", true, 950, "08")], ago(1));
    let both = Bill::of(&kept(&[("db1", &primary), ("db2", &target)]), &parties(), NOW);
    assert!(
        both.cautions.contains(&"SQL2 (db2) said 1 s ago that it is PRIMARY itself".to_owned()),
        "{:?}",
        both.cautions
    );
    let mut three = parties();
    three.asked.insert(ag(), vec![host("db1"), host("db2"), host("db3")]);
    let third = said("SQL3", "PRIMARY", row(), ago(3));
    let foreign = Bill::of(&kept(&[("db3", &third), ("db2", &target)]), &three, NOW);
    assert!(foreign.cautions.iter().any(|caution| caution.contains("is not of the group's primary")), "{foreign:?}");
    let several = Bill::of(&kept(&[("db1", &primary), ("db3", &third), ("db2", &target)]), &three, NOW);
    assert!(several.cautions.iter().any(|caution| caution.starts_with("several said")), "{several:?}");
    assert_eq!(several.databases[0].old.host, Some(host("db1")), "the group's own primary is believed first");
    // Primary before the role moved on: no claim to it now.
    let mut former = third.clone();
    former.take(said("SQL3", "SECONDARY", row(), ago(2)).latest);
    let former = Bill::of(&kept(&[("db1", &primary), ("db3", &former), ("db2", &target)]), &three, NOW);
    assert!(!former.cautions.iter().any(|caution| caution.contains("several")), "{former:?}");
}

#[test]
fn only_what_is_really_worse_asks_again() {
    let primary = || vec![row("a", "SQL1", true, 900, "07")];
    let shown = bill(primary(), vec![row("a", "SQL2", true, 800, "05")]);
    let mut later = shown.clone();
    later.made = Moment(NOW.0 + 60_000);
    assert_eq!(later.worse_than(&shown), Vec::<String>::new());
    let ahead = |commit: &str| {
        let late =
            with(row("a", "SQL1", true, 990, "07"), "last_commit_time", json!(format!("2026-11-21T10:{commit}")));
        bill(vec![late], vec![row("a", "SQL2", true, 800, "05")]).worse_than(&shown)
    };
    assert_eq!(ahead("01:07"), Vec::<String>::new(), "a minute more, read and typed");
    assert_eq!(ahead("01:08"), ["a: 1 min 3 s of commits now, not 2 s"]);
    let back = bill(primary(), vec![row("a", "SQL2", true, 799, "05")]);
    assert_eq!(back.worse_than(&shown), ["a: the target's log went back from 800 to 799"]);
    assert_eq!(shown.worse_than(&back), Vec::<String>::new());
    let two = bill(
        vec![row("a", "SQL1", true, 900, "07"), row("b", "SQL1", true, 900, "07")],
        vec![row("a", "SQL2", true, 800, "05")],
    );
    assert_eq!(two.worse_than(&shown), ["b was not in it"]);
    assert_eq!(shown.worse_than(&two), ["b: nothing is known of it any more"]);
    let silent =
        with(with(row("a", "SQL2", true, 0, "05"), "last_commit_time", Value::Null), "last_hardened_lsn", Value::Null);
    let silent = bill(primary(), vec![with(silent, "synchronization_state", json!("SUSPECT"))]);
    assert_eq!(silent.worse_than(&shown).len(), 3, "{:?}", silent.worse_than(&shown));
}

#[test]
fn a_bill_is_read_back_as_it_was_written() {
    let bill = bill(vec![row("a", "SQL1", true, 900, "07")], vec![row("a", "SQL2", true, 800, "05")]);
    let text = serde_json::to_string(&bill).expect("json");
    assert!(text.contains(r#""log":{"known":{"value":"900""#) && text.contains(r#""unsent_kb":"unknown""#), "{text}");
    assert_eq!(serde_json::from_str::<Bill>(&text).expect("read"), bill);
}

#[test]
fn a_long_word_loses_what_it_tells_of_others_before_it_is_refused() {
    let rows = |number: usize, local: bool| {
        (0..number).map(move |n| row(&format!("database{n}"), "SQL1", local, 900, "07")).collect::<Vec<Value>>()
    };
    let said = |mut own: Vec<Value>, others: usize| {
        own.extend(rows(others, false));
        bounded(json!({ "role": "PRIMARY", "databases": own }))
    };
    let kept = |data: Result<Value, usize>| data.map(|data| data["databases"].as_array().expect("rows").len());
    assert_eq!(kept(said(rows(20, true), 20)), Ok(40));
    assert_eq!(kept(said(rows(30, true), 60)), Ok(30));
    assert!(kept(said(rows(90, true), 0)).is_err_and(|bytes| bytes > 16 * 1024));
}

#[test]
fn lengths_are_never_rounded_down() {
    let shown = [0, 1, 14_000, 14_001, 125_000, 3_780_000, 3_600_000, 187_200_001].map(|ms| length(Span(ms)));
    assert_eq!(shown, ["0 s", "1 s", "14 s", "15 s", "2 min 5 s", "1 h 3 min", "1 h", "2 d 5 h"]);
}

/// A row with some of its figures gone.
fn holes() -> impl Strategy<Value = Vec<bool>> {
    proptest::collection::vec(any::<bool>(), 5)
}

const HOLES: [&str; 5] =
    ["last_commit_time", "end_of_log_lsn", "last_hardened_lsn", "is_failover_ready", "synchronization_state"];

fn pierced(mut row: Value, holes: &[bool]) -> Value {
    for (key, gone) in HOLES.iter().zip(holes) {
        if *gone {
            row[*key] = Value::Null;
        }
    }
    row
}

proptest! {
    /// A number is only ever made of figures that were seen: both last commits, or both ends of the log.
    #[test]
    fn absence_never_becomes_a_number(ours in holes(), theirs in holes(), ready: bool, same: bool, log in 1..2000u64) {
        let log = if same { 900 } else { log };
        let target = with(row("a", "SQL2", true, log, "05"), "is_failover_ready", json!(ready));
        let primary = pierced(row("a", "SQL1", true, 900, "07"), &theirs);
        let bill = bill(vec![primary], vec![pierced(target, &ours)]);
        let only = &bill.databases[0];
        let commits = !ours[0] && !theirs[0];
        let logs = !theirs[1] && !ours[2] && log >= 900;
        match &only.loss {
            Loss::NothingIfReady { .. } => prop_assert!(ready && !ours[3]),
            Loss::AtMost { .. } => prop_assert!(commits || logs, "{only:?}"),
            Loss::Unknown { .. } => prop_assert!(!commits && !logs, "{only:?}"),
        }
        prop_assert_eq!(only.old.last_commit == Figure::Unknown, theirs[0]);
        prop_assert_eq!(only.old.log == Figure::Unknown, theirs[1]);
        prop_assert_eq!(only.target.log == Figure::Unknown, ours[2]);
        prop_assert_eq!(only.fitness == Fitness::Unknown, ours[4]);
    }

    /// Whatever an agent sends: no panic, and a verdict in words.
    #[test]
    fn anything_can_be_said(text in "\\PC*", lsn in "\\PC*", number: i64) {
        let row = json!({ "name": text, "is_local": true, "end_of_log_lsn": lsn, "last_hardened_lsn": number, "last_commit_time": text });
        let bill = bill(vec![row.clone(), json!(number)], vec![row]);
        prop_assert!(!bill.verdict().is_empty());
    }
}
