//! What is on disk, byte for byte: a later change of form must raise [`codec::VERSION`] and convert.
//!
//! `BATON_GOLDEN=write` writes the files anew.

use std::{fs, path::PathBuf};

use baton_engine::{
    codec::{self, CodecError},
    command::{AutomaticRule, AutomaticWord, Command, LeaseRule, Proposal},
};
use baton_model::{
    assignment::Deed,
    author::Author,
    group::Lease,
    ids::{Epoch, RunId, StepId},
    outcome::{Fault, Outcome},
    plan::{Sentence, Work},
    time::Span,
};
use serde_json::json;

use crate::probes::{probe, report, sightings};
use crate::windows::window;
use crate::world::{World, act, bare, definition, group, name, operator, transfer, undoable};

pub fn same(file: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("BATON_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        fs::write(&path, bytes).expect("write the golden file");
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(&golden), "{file}");
}

#[test]
fn proposals_of_every_command_keep_their_form() {
    let mut world = World::new();
    let plan = world.plan(vec![
        vec![undoable("1", &["h1", "h2"]), bare("2", Work::Confirm { text: "ready?".to_owned() })],
        vec![transfer("3", true)],
    ]);
    let run = world.start(vec![vec![act("1", &["h1"])]]);
    let task = world.task(&run, "1@h1#1");
    let step = StepId("1".to_owned());
    let target = World::target(Some("1"), None);
    let report = Box::new(world.word(Outcome::Failed, json!({ "rows": 0.1 })));
    let fault = Fault::new("BTN-0435", "stale.", "");
    let commands = vec![
        ("define_group", Command::DefineGroup { group: group(), definition: definition(&["db1", "db2"]) }),
        ("remove_group", Command::RemoveGroup { group: group() }),
        ("start_run", Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None }),
        ("report_task", Command::ReportTask { task: task.clone(), report }),
        ("decline_task", Command::DeclineTask { task: task.clone(), fault }),
        ("expire_task", Command::ExpireTask { task: task.clone() }),
        ("record_dispatch", Command::RecordDispatch { tasks: vec![task.clone()] }),
        (
            "skip_unreachable_at_rest",
            Command::SkipUnreachable { task: task.clone(), evidence: "2 of 3".to_owned(), at_rest: true },
        ),
        ("skip_unreachable", Command::SkipUnreachable { task, evidence: "2 of 3".to_owned(), at_rest: false }),
        ("acknowledge_fence", Command::AcknowledgeFence { run: run.clone(), host: name("h1"), index: 7 }),
        ("confirm_step", Command::ConfirmStep { run: run.clone(), step }),
        (
            "open_window",
            Command::OpenWindow {
                run: run.clone(),
                stage: 1,
                clocks: [("c1".to_owned(), world.now)].into(),
                coordinators: 3,
            },
        ),
        (
            "report_sightings",
            Command::ReportSightings {
                run: run.clone(),
                step: StepId("1".to_owned()),
                index: 7,
                sightings: sightings("-+?"),
                coordinators: 3,
            },
        ),
        ("override_guard", Command::OverrideGuard { run: run.clone(), guard: "window".to_owned() }),
        ("retry_tasks", Command::RetryTasks { run: run.clone(), target: target.clone() }),
        ("skip_tasks", Command::SkipTasks { run: run.clone(), target }),
        ("resume_run", Command::ResumeRun { run: run.clone() }),
        ("abort_run", Command::AbortRun { run }),
        ("declare_lost", Command::DeclareLost { group: group(), member: name("db2") }),
        ("raise_generation", Command::RaiseGeneration { generation: 2 }),
    ];
    for (file, command) in commands {
        let author = Author { who: operator("anna"), when: world.now, why: "because".to_owned() };
        let bytes = codec::encode_proposal(&Proposal { author, request: Some("r1".to_owned()), command });
        same(&format!("{file}.json"), &bytes);
        assert_eq!(codec::encode_proposal(&codec::decode_proposal(&bytes).expect("own bytes")), bytes);
    }
}

#[test]
fn a_state_keeps_its_form() {
    let mut world = World::new();
    world.start(vec![vec![transfer("1", true)]]);
    let mut step = undoable("1", &["h1", "h2", "h3"]);
    step.register = Some("found".to_owned());
    let run = world.start(vec![vec![step.clone()], vec![undoable("2", &["h1", "h2", "h3"])]]);
    for task in ["1@h1#1", "1@h2#1", "1@h3#1"] {
        world.report_data(&run, task, Outcome::Changed, json!(0.30000000000000004));
    }
    world.report(&run, "2@h1#1", Outcome::Unknown);
    world.retry(&run, None, None);
    world.skip(&run, Some("2"), Some("h2"));
    world.tell_as(operator("anna"), "", Some("r1"), Command::RaiseGeneration { generation: 2 });
    let bytes = codec::encode_state(&world.state);
    same("state.json", &bytes);
    assert_eq!(codec::decode_state(&bytes).expect("own bytes"), world.state);
}

/// Added beside the older files, which stay as they were written.
#[test]
fn commands_of_leases_and_of_what_starts_by_itself_keep_their_form() {
    let world = World::new();
    let run: RunId = name("pom-1");
    let step = StepId("1".to_owned());
    let deed = Deed {
        number: 7,
        group: group(),
        component: Some(name("daemon")),
        at: world.now,
        what: "stopped daemon: it ran on h2, which is not primary".to_owned(),
        failed: false,
    };
    let mut leased = definition(&["db1", "db2"]);
    let lease = Lease { lasts: Span::from_secs(10), stop_within: Span::from_secs(5) };
    let holders = [(name("db1"), [name("h1")].into()), (name("db2"), [name("h2")].into())].into();
    leased.lease = Some(LeaseRule { lease, holders });
    leased.automatic = Some(AutomaticRule { runbook: name("move"), cooldown: Span::from_secs(600) });
    let plan = world.plan(vec![vec![transfer("1", true)]]);
    let cause = Some("daemon on h1: dead".to_owned());
    let commands = vec![
        ("define_group_leased", Command::DefineGroup { group: group(), definition: leased }),
        ("start_run_cause", Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause }),
        ("confirm_cause", Command::ConfirmCause { run: run.clone(), evidence: "still dead".to_owned() }),
        ("call_off_run", Command::CallOffRun { run: run.clone(), why: "it lives".to_owned() }),
        (
            "end_lease",
            Command::EndLease {
                run: run.clone(),
                step: step.clone(),
                index: 7,
                host: name("h1"),
                how: "ran out".into(),
            },
        ),
        ("give_up_lease", Command::GiveUpLease { run, step, index: 7, why: "it runs".to_owned() }),
        ("record_holding", Command::RecordHolding { group: group(), host: name("h1"), epoch: Epoch(1) }),
        ("set_automatic", Command::SetAutomatic { group: group(), word: AutomaticWord::Rearm }),
        ("record_judgement", Command::RecordJudgement { group: group(), what: "would have".to_owned() }),
        ("record_deeds", Command::RecordDeeds { host: name("h1"), deeds: vec![deed] }),
    ];
    for (file, command) in commands {
        let author = Author { who: operator("anna"), when: world.now, why: "because".to_owned() };
        let bytes = codec::encode_proposal(&Proposal { author, request: None, command });
        same(&format!("{file}.json"), &bytes);
        assert_eq!(codec::encode_proposal(&codec::decode_proposal(&bytes).expect("own bytes")), bytes);
    }
}

/// Added beside the older files, which stay as they were written.
#[test]
fn a_member_that_was_detached_by_a_step_keeps_its_form() {
    let mut world = World::new();
    let because = Sentence { text: "data movement paused on pomdb1".to_owned(), deferred: false };
    let transfer = bare("1", Work::Transfer { detach_old: true, because: Some(because.clone()) });
    world.start(vec![vec![transfer], vec![bare("2", Work::Detach { member: name("db1"), because })]]);
    let bytes = codec::encode_state(&world.state);
    same("state_detached.json", &bytes);
    assert_eq!(codec::decode_state(&bytes).expect("own bytes"), world.state);
    same("start_run_detached.json", &world.log.last().expect("an entry").1);
}

#[test]
fn a_run_that_waits_for_a_window_and_one_that_was_let_go_keep_their_form() {
    let mut world = World::new();
    let mut steps = ["1", "2"].map(|id| act(id, &["h1"]));
    steps.iter_mut().for_each(|step| step.window = Some(window("night", &[(0, 60), (300, 900)])));
    let run = world.start(steps.into_iter().map(|step| vec![step]).collect());
    world.open_window(&run, 0, &[0, 1, 2]);
    world.report(&run, "1@h1#1", Outcome::Changed);
    world.tell(Command::OverrideGuard { run, guard: "window".to_owned() });
    let mut other = act("1", &["h1"]);
    other.window = Some(window("night", &[(300, 900)]));
    world.report(&name("pom-1"), "2@h1#1", Outcome::Changed);
    world.start(vec![vec![other]]);
    let bytes = codec::encode_state(&world.state);
    same("state_window.json", &bytes);
    assert_eq!(codec::decode_state(&bytes).expect("own bytes"), world.state);
}

#[test]
fn a_run_whose_coordinators_are_asked_keeps_its_form() {
    let mut world = World::new();
    world.start(vec![vec![probe("1", 2, Some("alive")), probe("2", 1, None)]]);
    let asked = world.due().probes;
    report(&mut world, &asked[1].run, "2", asked[1].index, "--");
    let bytes = codec::encode_state(&world.state);
    same("state_probing.json", &bytes);
    assert_eq!(codec::decode_state(&bytes).expect("own bytes"), world.state);
}

#[test]
fn what_a_later_version_wrote_is_refused_and_not_misread() {
    let newer = br#"{"version":2,"body":{"whatever":1}}"#;
    assert_eq!(codec::decode_proposal(newer), Err(CodecError::Version { found: 2 }));
    assert!(matches!(codec::decode_state(b"{}"), Err(CodecError::Malformed(_))));
}
