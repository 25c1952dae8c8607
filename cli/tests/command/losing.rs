//! The data-loss bill on the screen, and the word without which nothing that loses data starts.

use baton_cli::output::{bill, groups, look::Look, plan, run};
use baton_model::{
    bill::{Acceptance, Bill, Kept, Parties, Sampled, Samples},
    ids::{HostName, SampleName},
    plan::Kind,
    time::{Moment, Span},
    view::{PlanView, RunView, StatusView},
};
use serde_json::{Value, json};

use crate::{
    coordinator::{Coordinator, Script, World},
    documents, pictures,
};

fn look() -> Look {
    Look { width: 100, color: false, unicode: true, zone: jiff::tz::TimeZone::UTC }
}

fn row(name: &str, replica: &str, local: bool, log: &str, commit: &str) -> Value {
    json!({
        "name": name, "replica": replica, "is_local": local, "synchronization_state": "NOT SYNCHRONIZING",
        "is_failover_ready": false, "is_suspended": false, "end_of_log_lsn": log, "last_hardened_lsn": log,
        "last_commit_time": commit, "log_send_queue_kb": 512,
    })
}

fn said(replica: &str, role: &str, seen: Moment, rows: Vec<Value>) -> Kept {
    Kept::new(Sampled { seen, data: json!({ "replica": replica, "role": role, "databases": rows }) })
}

fn bill_of(hosts: Vec<(&str, Kept)>) -> Bill {
    let name = |host: &str| HostName::new(host).unwrap();
    let ag = SampleName::new("ag").unwrap();
    let kept = hosts.into_iter().map(|(host, kept)| (name(host), kept)).collect();
    let samples: Samples = [(ag.clone(), kept)].into();
    let parties = Parties {
        asked: [(ag, vec![name("pomdb1"), name("pomdb2")])].into(),
        old: [name("pomdb1")].into(),
        target: [name("pomdb2")].into(),
    };
    Bill::of(&samples, &parties, documents::START)
}

fn before(seconds: u64) -> Moment {
    Moment(documents::START.0 - Span::from_secs(seconds).0)
}

/// One database of each kind.
fn mixed() -> Bill {
    let ready = |mut row: Value| {
        row["is_failover_ready"] = json!(true);
        row
    };
    let blind = |mut row: Value| {
        row["last_commit_time"] = Value::Null;
        row["last_hardened_lsn"] = Value::Null;
        row
    };
    let broken = |mut row: Value| {
        row["synchronization_state"] = json!("REVERTING");
        row
    };
    let paused = |mut row: Value| {
        row["is_suspended"] = json!(true);
        row
    };
    let (new, old) = ("2026-11-21T02:59:46.120", "2026-11-21T02:58:31.120");
    let log = "98000000012300001";
    let mut primary: Vec<Value> =
        ["orders", "stock", "audit", "prices", "users"].map(|name| row(name, "SQL1", true, log, new)).into();
    primary.push(row("orders", "SQL2", false, "97999999999900001", old));
    bill_of(vec![
        ("pomdb1", said("SQL1", "PRIMARY", before(14), primary)),
        (
            "pomdb2",
            said(
                "SQL2",
                "RESOLVING",
                before(1),
                vec![
                    paused(row("orders", "SQL2", true, "97999999999900001", old)),
                    ready(row("stock", "SQL2", true, log, new)),
                    blind(row("audit", "SQL2", true, log, new)),
                    broken(row("prices", "SQL2", true, log, new)),
                    row("users", "SQL2", true, log, new),
                ],
            ),
        ),
    ])
}

pub fn plan_view() -> PlanView {
    let mut view = documents::plan(Kind::Forced);
    view.plan.loses_data = true;
    view.bill = Some(mixed());
    view
}

#[test]
fn bills_plans_and_runs_that_lose_data() {
    insta::assert_snapshot!("bill_mixed", bill::render(&mixed(), &look()));
    let alone = said("SQL2", "RESOLVING", before(1), vec![row("orders", "SQL2", true, "97", "2026-11-21T02:58:31")]);
    insta::assert_snapshot!("bill_never_seen", bill::render(&bill_of(vec![("pomdb2", alone)]), &look()));
    let mut silent = row("orders", "SQL2", true, "97", "2026-11-21T02:58:31");
    silent["last_hardened_lsn"] = Value::Null;
    silent["last_commit_time"] = Value::Null;
    let rows = ["SQL1", "SQL2"].map(|name| row("orders", name, name == "SQL1", "97", "2026-11-21T02:58:31")).into();
    let seen = bill_of(vec![
        ("pomdb1", said("SQL1", "PRIMARY", before(90), rows)),
        ("pomdb2", said("SQL2", "RESOLVING", before(1), vec![silent])),
    ]);
    insta::assert_snapshot!("bill_seen_by_the_other", bill::render(&seen, &look()));
    insta::assert_snapshot!("bill_nothing_known", bill::render(&bill_of(vec![]), &look()));
    let drawn = plan::render(&plan_view(), &look());
    let (_, shown) = drawn.split_once("what this would lose").expect("the bill stands in the plan");
    assert!(shown.contains("SQL1 had") && shown.trim_end().ends_with("clients of db1 are cut off."), "{drawn}");
    let accepted = RunView {
        accepted_loss: Some(Acceptance { typed: "pom".into(), bill: mixed() }),
        ..documents::over(documents::transferred(), "succeeded", "")
    };
    insta::assert_snapshot!("show_accepted_loss", run::show(&accepted, &look()));
    let json = serde_json::to_value(&accepted).unwrap();
    assert_eq!(json["accepted_loss"]["bill"]["databases"][1]["target"]["last_commit"], "unknown", "{json}");
    let mut group = pictures::group_view();
    group.warnings = vec!["sample ag of pomdb1 is 45 s old (asked every 10s): pomdb1 has no session".into()];
    let drawn = groups::group(&group, &look());
    assert!(drawn.contains("! sample ag of pomdb1 is 45 s old"), "{drawn}");
    let status = StatusView { cluster: pictures::cluster_view(), groups: vec![group] };
    let drawn = groups::status(&status, &look());
    let limited = "it must rejoin before the role moves again; sample ag of pomdb1 is 45 s old (asked every 10s)";
    assert!(drawn.contains(limited), "{drawn}");
}

fn leader(world: &World) -> Coordinator {
    let script = Script { plan: Some(plan_view()), views: vec![documents::skipped()], ..Script::default() };
    Coordinator::start(world, script)
}

#[test]
fn yes_is_no_acceptance_and_a_wrong_name_is_told() {
    let world = World::new();
    let leader = leader(&world);
    let refused = |arguments: &[&str], words: &[&str]| {
        let all: Vec<&str> = ["failover", "pom", "--yes"].iter().chain(arguments).copied().collect();
        let ended = world.run(&[&leader], &all).expect(5);
        for word in words {
            assert!(ended.stderr.contains(word), "no {word:?} in:\n{}", ended.stderr);
        }
    };
    let verdict = "prices: not to be taken: it is REVERTING on SQL2";
    refused(&[], &["BTN-0170 runbook failover of pom can lose data", verdict, "--accept-data-loss=pom", "SQL1 had"]);
    refused(&["--accept-data-loss"], &["BTN-0170", "no terminal to type it on", "--accept-data-loss=pom"]);
    refused(&["--accept-data-loss=pum"], &["BTN-0171", "\"pum\" was typed, not \"pom\""]);
    refused(&["--accept-data-loss=POM"], &["BTN-0171", "\"POM\" was typed"]);
    assert!(leader.script.lock().unwrap().starts.is_empty(), "nothing was started");
    // The acceptance of a loss is no yes to the start.
    let asked = world.run(&[&leader], &["failover", "pom", "--accept-data-loss=pom"]).expect(5);
    assert!(asked.stderr.contains("BTN-0807"), "{}", asked.stderr);
    assert!(leader.script.lock().unwrap().starts.is_empty());
}

#[test]
fn the_acceptance_and_the_bill_that_was_shown_go_with_the_start() {
    let world = World::new();
    let leader = leader(&world);
    leader.script.lock().unwrap().bill = Some(mixed());
    let run = ["run", "pom", "failover", "--yes", "--accept-data-loss=pom"];
    let done = world.run(&[&leader], &run).expect(0);
    assert!(done.stderr.contains("pom-17 starts with the loss accepted: prices: not to be taken"), "{}", done.stderr);
    let script = leader.script.lock().unwrap();
    let start = &script.starts[0];
    assert_eq!(start.accepted_data_loss, "pom");
    assert_eq!(serde_json::from_slice::<Bill>(&start.shown_bill).unwrap(), mixed());
    assert!(start.plan.as_ref().unwrap().accept_data_loss, "the plan is the one with the acceptance in it");
    assert!(script.plans.iter().all(|plan| plan.accept_data_loss), "and so was what was shown");
}

#[test]
fn a_worse_bill_is_a_refusal_for_a_script() {
    let world = World::new();
    let leader = leader(&world);
    leader.script.lock().unwrap().start_refuses = Some(baton_model::outcome::Fault::new("BTN-0172", "worse.", "Read."));
    let refused = world.run(&[&leader], &["failover", "pom", "--yes", "--accept-data-loss=pom"]).expect(5);
    assert!(refused.stderr.contains("BTN-0172"), "{}", refused.stderr);
    assert_eq!(leader.script.lock().unwrap().starts.len(), 1);
}

#[test]
fn where_nothing_can_be_lost_nothing_is_accepted() {
    let world = World::new();
    let script =
        Script { plan: Some(documents::plan(Kind::Forced)), views: vec![documents::skipped()], ..Script::default() };
    let leader = Coordinator::start(&world, script);
    world.run(&[&leader], &["failover", "pom", "--yes", "--accept-data-loss=whatever"]).expect(0);
    let script = leader.script.lock().unwrap();
    assert_eq!((script.starts[0].accepted_data_loss.as_str(), script.starts[0].shown_bill.len()), ("", 0));
}
