//! What happens in runs, told as operators would tell it.

use baton_engine::{
    command::{Answer, Command},
    state::{ENDED_RUNS_MAX, FOUND_BYTES_MAX, Standing},
};
use baton_model::{
    digest::Digest,
    ids::{Epoch, StepId, TaskId},
    outcome::{DATA_BYTES_MAX, Outcome::*},
    plan::{Condition, Kind, OnFailure, Retry, Unreachable, Work},
    time::Span,
};
use serde_json::{Value, json};

use crate::world::{World, act, bare, code, definition, group, name, operator, transfer, undoable};

fn confirm(world: &mut World, run: &baton_model::ids::RunId, who: &str, step: &str) -> Answer {
    let command = Command::ConfirmStep { run: run.clone(), step: StepId(step.to_owned()) };
    world.tell_as(operator(who), "", None, command)
}

#[test]
fn a_switchover_goes_stage_by_stage_and_moves_the_role_once() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1", "h2"])], vec![transfer("2", false)], vec![act("3", &["h3"])]]);
    assert_eq!(world.orders(), "1@h1#1 1@h2#1");
    world.report(&run, "1@h1#1", Changed);
    assert_eq!((world.orders().as_str(), world.primary()), ("1@h2#1", ("db1".to_owned(), Epoch(1))));
    world.report(&run, "1@h2#1", Unchanged);
    assert_eq!((world.orders().as_str(), world.primary()), ("3@h3#1", ("db2".to_owned(), Epoch(2))));
    assert_eq!(world.report(&run, "3@h3#1", Changed), Answer::Done);
    assert_eq!(world.phase(&run), "succeeded");
    assert_eq!(world.report(&run, "3@h3#1", Changed), Answer::Already);
    assert!(world.state.groups[&group()].open_run.is_none());
    assert_eq!(world.state.floor(&group()), 2);
}

#[test]
fn a_failed_task_halts_and_nothing_else_is_ordered_until_a_retry() {
    let mut world = World::new();
    let mut step = act("1", &["h1", "h2", "h3"]);
    step.parallel = Some(1);
    let run = world.start(vec![vec![step], vec![act("2", &["h1"])]]);
    assert_eq!(world.orders(), "1@h1#1");
    world.report(&run, "1@h1#1", Failed);
    assert_eq!((world.phase(&run), world.orders().as_str(), world.due().wake), ("halted", "", None));
    assert_eq!(world.halted_because(&run), "step 1 \"step 1\" failed on h1: BTN-0400 it did not go well.");
    assert_eq!(code(&world.tell(Command::ResumeRun { run: run.clone() })), "BTN-0123");
    assert_eq!(world.retry(&run, None, None), Answer::Done);
    assert_eq!((world.phase(&run), world.orders().as_str()), ("running", "1@h1#2"));
    assert_eq!(world.report(&run, "1@h1#1", Changed), Answer::Already, "the first attempt is over");
    world.report(&run, "1@h1#2", Changed);
    assert_eq!(world.orders(), "1@h2#1");
}

#[test]
fn a_retry_of_one_host_waits_until_the_other_is_decided_about() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1", "h2"])]]);
    world.report(&run, "1@h1#1", Failed);
    world.report(&run, "1@h2#1", Failed);
    world.retry(&run, Some("1"), Some("h1"));
    assert_eq!((world.phase(&run), world.orders().as_str(), world.due().wake), ("halted", "", None));
    world.skip(&run, Some("1"), Some("h2"));
    assert_eq!((world.phase(&run), world.orders().as_str()), ("running", "1@h1#2"));
    world.report(&run, "1@h1#2", Changed);
    assert_eq!(world.phase(&run), "succeeded");
}

#[test]
fn a_steps_own_retry_waits_its_delay_and_then_halts() {
    let mut world = World::new();
    let mut step = act("1", &["h1"]);
    step.retry = Retry { attempts: 2, delay: Span::from_secs(5) };
    let run = world.start(vec![vec![step]]);
    world.report(&run, "1@h1#1", Failed);
    assert_eq!((world.phase(&run), world.orders().as_str()), ("running", ""));
    assert_eq!(world.due().wake, Some(world.now.plus(Span::from_secs(5))));
    world.later(5);
    assert_eq!(world.orders(), "1@h1#2");
    world.report(&run, "1@h1#2", Failed);
    assert_eq!(world.phase(&run), "halted");
}

#[test]
fn on_failure_continue_goes_on_and_the_record_says_so() {
    let mut world = World::new();
    let mut step = act("1", &["h1"]);
    step.on_failure = OnFailure::Continue;
    let run = world.start(vec![vec![step], vec![act("2", &["h1"])]]);
    world.report(&run, "1@h1#1", Failed);
    assert_eq!(world.orders(), "2@h1#1");
    assert!(world.run(&run).history.iter().any(|line| line.what.contains("failed: BTN-0400")));
}

#[test]
fn abort_before_the_transfer_undoes_in_reverse_and_only_what_was_touched() {
    let mut world = World::new();
    let run = world.start(vec![
        vec![undoable("1", &["h1", "h2"])],
        vec![undoable("2", &["h2"])],
        vec![undoable("3", &["h3"])],
        vec![transfer("4", false)],
    ]);
    world.report(&run, "1@h1#1", Changed);
    world.report(&run, "1@h2#1", Unchanged);
    world.report(&run, "2@h2#1", Changed);
    assert_eq!(code(&world.tell_as(operator("anna"), " ", None, Command::AbortRun { run: run.clone() })), "BTN-0122");
    assert_eq!(world.abort(&run), Answer::Done);
    assert_eq!((world.phase(&run), world.orders().as_str(), world.due().raises.len()), ("aborting", "", 1));
    assert_eq!(world.abort(&run), Answer::Already);
    let index = world.due().raises[0].index;
    let early = Command::AcknowledgeFence { run: run.clone(), host: name("h3"), index: index - 1 };
    assert_eq!(world.tell(early), Answer::Already, "an older fence does not count");
    world.acknowledge(&run, "h3");
    // Whether step 3 acted is not known, so it is undone too.
    assert_eq!(world.orders(), "3/undo@h3#1");
    world.report(&run, "3/undo@h3#1", Unchanged);
    assert_eq!(world.orders(), "2/undo@h2#1");
    world.report(&run, "2/undo@h2#1", Changed);
    assert_eq!(world.orders(), "1/undo@h1#1");
    world.report(&run, "1/undo@h1#1", Changed);
    assert_eq!((world.phase(&run), world.primary().1), ("rolled back", Epoch(1)));
}

#[test]
fn undo_that_was_given_up_is_not_called_rolled_back() {
    let mut world = World::new();
    let run = world.start(vec![vec![undoable("1", &["h1"])], vec![undoable("2", &["h2"])], vec![act("3", &["h3"])]]);
    world.report(&run, "1@h1#1", Changed);
    world.report(&run, "2@h2#1", Changed);
    world.report(&run, "3@h3#1", Failed);
    world.abort(&run);
    world.report(&run, "2/undo@h2#1", Changed);
    world.report(&run, "1/undo@h1#1", Failed);
    assert_eq!(world.phase(&run), "abort halted");
    world.abort(&run);
    assert_eq!(world.phase(&run), "aborted");
    assert_eq!(world.halted_because(&run), "undone: 1; not undone: 1/undo on h1");
}

#[test]
fn a_second_attempt_that_found_it_in_place_is_undone_all_the_same() {
    let mut world = World::new();
    let run = world.start(vec![vec![undoable("1", &["h1"])], vec![act("2", &["h2"])]]);
    world.report(&run, "1@h1#1", Failed);
    world.retry(&run, None, None);
    world.report(&run, "1@h1#2", Unchanged);
    world.report(&run, "2@h2#1", Failed);
    world.abort(&run);
    assert_eq!(world.orders(), "1/undo@h1#1");
}

#[test]
fn abort_after_the_transfer_undoes_nothing_and_says_what_to_do() {
    let mut world = World::new();
    let run = world.start(vec![vec![undoable("1", &["h1"])], vec![transfer("2", true)], vec![act("3", &["h3"])]]);
    world.report(&run, "1@h1#1", Changed);
    world.report(&run, "3@h3#1", Failed);
    world.abort(&run);
    let why = "the role has moved: db2 is primary; to go back, run a switchover to db1";
    assert_eq!((world.phase(&run), world.halted_because(&run).as_str()), ("aborted", why));
}

#[test]
fn a_dead_host_does_not_hold_an_abort_for_ever() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1"])]]);
    world.abort(&run);
    assert_eq!(world.phase(&run), "aborting");
    world.later(119);
    assert!(world.due().expired.is_empty());
    world.later(1);
    let task = world.due().expired[0].clone();
    assert_eq!(world.tell(Command::ExpireTask { task }), Answer::Done);
    assert_eq!(world.phase(&run), "aborted");
}

#[test]
fn silence_past_deadline_and_grace_is_unknown_and_a_late_report_ends_the_doubt() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1"])]]);
    let task = world.task(&run, "1@h1#1");
    world.later(89);
    assert_eq!(
        world.tell(Command::ExpireTask { task: task.clone() }),
        Answer::Already,
        "the proposer's clock is ahead"
    );
    world.later(1);
    assert_eq!(world.due().expired, vec![task.clone()]);
    world.tell(Command::ExpireTask { task });
    assert_eq!(world.phase(&run), "halted");
    assert_eq!(code(&world.tell(Command::ResumeRun { run: run.clone() })), "BTN-0123");
    world.report(&run, "1@h1#1", Changed);
    assert_eq!(world.tell(Command::ResumeRun { run: run.clone() }), Answer::Done);
    assert_eq!(world.phase(&run), "succeeded");
}

#[test]
fn an_attempt_of_unknown_end_is_fenced_before_the_next() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1"])]]);
    world.report(&run, "1@h1#1", Unknown);
    world.retry(&run, None, None);
    assert_eq!((world.orders().as_str(), world.due().raises.len()), ("", 1));
    world.acknowledge(&run, "h1");
    assert_eq!(world.orders(), "1@h1#2");
    assert_eq!(world.acknowledge(&run, "h1"), Answer::Already);
}

#[test]
fn skipping_what_runs_takes_effect_with_the_fence_and_not_before() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1"]), act("2", &["h1"])], vec![act("3", &["h2"])]]);
    assert_eq!(code(&world.skip(&run, None, None)), "BTN-0118");
    world.skip(&run, Some("1"), None);
    assert_eq!(world.orders(), "2@h1#1");
    let fence = world.due().raises[0].index;
    assert_eq!(world.due().orders[0].index, fence, "the other order on the host is still wanted");
    world.report(&run, "2@h1#1", Changed);
    assert_eq!(world.orders(), "");
    world.acknowledge(&run, "h1");
    assert_eq!(world.orders(), "3@h2#1");
}

#[test]
fn an_unreachable_host_is_left_out_only_where_the_step_says_so() {
    let mut world = World::new();
    let mut step = act("1", &["h1"]);
    step.unreachable = Unreachable::Skip;
    let run = world.start(vec![vec![step], vec![act("2", &["h2"])]]);
    let evidence = "2 of 3".to_owned();
    let task = world.task(&run, "1@h1#1");
    let command = Command::SkipUnreachable { task, evidence: evidence.clone(), at_rest: false };
    assert_eq!(world.tell(command), Answer::Done);
    let task = world.task(&run, "2@h2#1");
    assert_eq!(world.tell(Command::SkipUnreachable { task, evidence, at_rest: true }), Answer::Already);
    assert_eq!(world.orders(), "2@h2#1");
}

#[test]
fn an_attempt_that_may_have_been_ordered_is_left_out_only_where_it_is_at_rest() {
    let mut world = World::new();
    let mut step = act("1", &["h1"]);
    step.unreachable = Unreachable::Skip;
    let run = world.start(vec![vec![step], vec![act("2", &["h2"])]]);
    let first = world.task(&run, "1@h1#1");
    assert_eq!(world.tell(Command::RecordDispatch { tasks: vec![first.clone()] }), Answer::Done);
    assert_eq!(world.tell(Command::RecordDispatch { tasks: vec![first.clone()] }), Answer::Already);
    let left_out = |task: &TaskId, at_rest| {
        let evidence = "2 of 3".to_owned();
        Command::SkipUnreachable { task: task.clone(), evidence, at_rest }
    };
    assert_eq!(world.tell(left_out(&first, false)), Answer::Already);
    assert_eq!(world.orders(), "1@h1#1");
    // The next attempt was not ordered yet.
    world.report(&run, "1@h1#1", Failed);
    world.retry(&run, None, None);
    let second = world.task(&run, "1@h1#2");
    assert_eq!(world.tell(Command::RecordDispatch { tasks: vec![first] }), Answer::Already);
    assert_eq!(world.tell(left_out(&second, false)), Answer::Done);
    assert_eq!(world.orders(), "2@h2#1");

    let run = {
        world.report(&run, "2@h2#1", Changed);
        let mut step = act("1", &["h1"]);
        step.unreachable = Unreachable::Skip;
        world.start(vec![vec![step]])
    };
    let task = world.task(&run, "1@h1#1");
    assert_eq!(world.tell(Command::RecordDispatch { tasks: vec![task.clone()] }), Answer::Done);
    assert_eq!(world.tell(left_out(&task, true)), Answer::Done);
    assert_eq!(world.tell(Command::RecordDispatch { tasks: vec![task] }), Answer::Already);
    assert_eq!(world.orders(), "");
}

#[test]
fn a_confirmation_takes_a_person_and_an_approval_a_second_one() {
    let mut world = World::new();
    let confirmation = bare("1", Work::Confirm { text: "logged off?".to_owned() });
    let approval = bare("2", Work::Approval { text: "sure?".to_owned() });
    let run = world.start(vec![vec![confirmation], vec![approval], vec![act("3", &["h1"])]]);
    assert_eq!(code(&confirm(&mut world, &run, "anna", "2")), "BTN-0117");
    assert_eq!(confirm(&mut world, &run, "anna", "1"), Answer::Done);
    assert_eq!(code(&confirm(&mut world, &run, "anna", "2")), "BTN-0117");
    assert_eq!(code(&world.skip(&run, Some("2"), None)), "BTN-0117", "leaving it out is not a way around");
    assert_eq!(world.orders(), "");
    assert_eq!(confirm(&mut world, &run, "ben", "2"), Answer::Done);
    assert_eq!(confirm(&mut world, &run, "ben", "2"), Answer::Already);
    assert_eq!(world.orders(), "3@h1#1");
    assert_eq!(code(&confirm(&mut world, &run, "ben", "3")), "BTN-0116");
}

#[test]
fn what_a_step_found_decides_and_fills_in_later_ones_and_outlives_the_run() {
    let mut world = World::new();
    let mut look = act("1", &["h1"]);
    (look.register, look.keep) = (Some("found".to_owned()), Some("found".to_owned()));
    let mut change = act("2", &["h2"]);
    change.condition = Condition::Deferred("found.rows > item".to_owned());
    change.item = Some(json!(5));
    if let Work::Act { tasks } = &mut change.work {
        (tasks[0].params, tasks[0].deferred) = (json!({ "name": "${found.text} on ${host.name}" }), true);
    }
    let mut never = act("3", &["h3"]);
    never.condition = Condition::Deferred("found.rows > 100".to_owned());
    (never.keep, never.register) = (Some("found".to_owned()), Some("other".to_owned()));
    let run = world.start(vec![vec![look], vec![change], vec![never]]);
    world.report_data(&run, "1@h1#1", Unchanged, json!({ "rows": 7, "text": "${not.read.again}" }));
    let order = world.due().orders.remove(0);
    assert_eq!(order.params, json!({ "name": "${not.read.again} on h2" }));
    world.report(&run, "2@h2#1", Changed);
    assert_eq!(world.phase(&run), "succeeded");
    assert_eq!(world.state.groups[&group()].facts["found"]["rows"], 7, "a step that was left out forgets nothing");
    assert_eq!(world.run(&run).registered["other"], Value::Null);
}

#[test]
fn a_condition_without_a_value_halts_and_can_be_retried_or_skipped() {
    let mut world = World::new();
    let mut step = act("1", &["h1"]);
    step.condition = Condition::Deferred("missing.thing".to_owned());
    let run = world.start(vec![vec![act("2", &["h2"]), step]]);
    assert_eq!((world.phase(&run), world.orders().as_str()), ("halted", ""));
    assert_eq!(world.retry(&run, None, None), Answer::Done);
    assert_eq!(world.phase(&run), "halted");
    world.skip(&run, None, None);
    assert_eq!(world.orders(), "2@h2#1");
}

#[test]
fn a_transfer_that_failed_is_never_stepped_over() {
    let mut world = World::new();
    let mut step = transfer("1", false);
    step.condition = Condition::Deferred("missing.thing".to_owned());
    step.on_failure = OnFailure::Continue;
    let run = world.start(vec![vec![step], vec![act("2", &["h2"])]]);
    assert_eq!((world.phase(&run), world.orders().as_str()), ("halted", ""));
    assert_eq!(code(&world.skip(&run, None, None)), "BTN-0128");
    assert_eq!(code(&world.skip(&run, Some("1"), None)), "BTN-0128");
    world.abort(&run);
    assert_eq!((world.phase(&run), world.primary().1), ("aborted", Epoch(1)));
}

#[test]
fn the_role_moves_again_only_after_the_old_primary_rejoined_or_was_lost() {
    let mut world = World::new();
    world.start(vec![vec![transfer("1", true)]]);
    let back = |world: &mut World| {
        let plan = world.plan(vec![vec![transfer("1", false)]]);
        code(&world.tell(Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan),
            acceptance: None,
            cause: None,
        }))
        .to_owned()
    };
    assert!(matches!(world.state.groups[&group()].standings["db1"], Standing::Detached { .. }));
    assert_eq!(back(&mut world), "BTN-0103");
    assert_eq!(world.tell(Command::DeclareLost { group: group(), member: name("db1") }), Answer::Done);
    assert_eq!(world.tell(Command::DeclareLost { group: group(), member: name("db1") }), Answer::Already);
    assert_eq!(back(&mut world), "BTN-0104", "a lost member is no target");
    world.start(vec![vec![bare("1", Work::Rejoin { member: name("db1") })]]);
    assert_eq!(back(&mut world), "started");
    assert_eq!(world.primary(), ("db1".to_owned(), Epoch(3)));
    assert_eq!(code(&world.tell(Command::DeclareLost { group: group(), member: name("db1") })), "BTN-0124");
}

#[test]
fn a_plan_out_of_date_is_refused_with_the_difference() {
    let mut world = World::new();
    let good = world.plan(vec![vec![act("1", &["h1"])]]);
    let mut refused = |change: &dyn Fn(&mut baton_model::plan::Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        match world.tell(Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan),
            acceptance: None,
            cause: None,
        }) {
            Answer::Refused { fault } => format!("{} {}", fault.code, fault.message),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(&|plan| plan.epoch = Epoch(7)),
        "BTN-0102 the plan is out of date: made when db1 was primary in epoch 7, now db1 is, in epoch 1."
    );
    assert_eq!(
        refused(&|plan| plan.group_revision = 9),
        "BTN-0102 the plan is out of date: made at revision 9 of group pom, now 1."
    );
    assert!(
        refused(&|plan| plan.runbook_digest = Digest::of_bytes(b"x")).contains("made from runbook move with digest")
    );
    assert!(refused(&|plan| plan.runbook = name("gone")).contains("no longer has a runbook gone"));
    assert_eq!(
        refused(&|plan| plan.stages.push(plan.stages[0].clone())),
        "BTN-0126 the plan cannot be carried out: two steps are called 1."
    );
    let plan = Box::new(good.clone());
    assert_eq!(
        code(&world.tell(Command::StartRun {
            plan,
            digest: Digest::of_bytes(b"shown"),
            acceptance: None,
            cause: None
        })),
        "BTN-0102"
    );
    world.start(vec![vec![act("1", &["h1"])]]);
    let plan = Box::new(good.clone());
    assert_eq!(
        code(&world.tell(Command::StartRun { plan, digest: good.digest(), acceptance: None, cause: None })),
        "BTN-0101"
    );
    assert_eq!(code(&world.tell(Command::RemoveGroup { group: group() })), "BTN-0101");
}

#[test]
fn a_request_that_is_asked_again_is_answered_and_not_done_again() {
    let mut world = World::new();
    let plan = world.plan(vec![]);
    let command = Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None };
    let first = world.tell_as(operator("anna"), "", Some("r1"), command.clone());
    assert_eq!(first, Answer::Started { run: name("pom-1") });
    assert_eq!(world.tell_as(operator("anna"), "", Some("r1"), command.clone()), first);
    assert_eq!(world.tell_as(operator("anna"), "", Some("r2"), command), Answer::Started { run: name("pom-2") });
    assert_eq!(world.state.audit.entries, 3);
}

#[test]
fn old_runs_leave_the_state_and_numbers_outlive_even_the_group() {
    let mut world = World::new();
    for _ in 0..ENDED_RUNS_MAX + 5 {
        world.start(vec![]);
    }
    assert_eq!(world.state.runs.len(), ENDED_RUNS_MAX);
    assert_eq!(world.state.runs.keys().next(), Some(&name("pom-6")));
    world.start(vec![vec![transfer("1", false)]]);
    world.tell(Command::RemoveGroup { group: group() });
    // Who was primary then is so again: another word in the file is refused.
    world.tell(Command::DefineGroup { group: group(), definition: definition(&["db2", "db1"]) });
    assert_eq!(world.primary().1, Epoch(3));
    assert_eq!(world.start(vec![]), name(&format!("pom-{}", ENDED_RUNS_MAX + 7)));
}

#[test]
fn more_than_the_state_may_hold_fails_the_step_and_is_not_kept() {
    let mut world = World::new();
    let hosts: Vec<String> = (0..FOUND_BYTES_MAX / DATA_BYTES_MAX + 2).map(|n| format!("n{n}")).collect();
    let mut step = act("1", &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    (step.register, step.keep) = (Some("all".to_owned()), Some("all".to_owned()));
    let run = world.start(vec![vec![step]]);
    for host in &hosts {
        world.report_data(&run, &format!("1@{host}#1"), Changed, json!("x".repeat(DATA_BYTES_MAX - 2)));
    }
    assert!(world.halted_because(&run).contains("at most 262144 are kept"));
    assert!(world.state.groups[&group()].facts.is_empty());
    world.skip(&run, None, None);
    assert_eq!(world.phase(&run), "succeeded");
    let task = world.task(&run, "1@n1#1");
    let report = Box::new(world.word(Changed, json!("x".repeat(DATA_BYTES_MAX))));
    assert_eq!(code(&world.tell(Command::ReportTask { task, report })), "BTN-0120");
}

#[test]
fn a_generation_only_rises() {
    let mut world = World::new();
    assert_eq!(world.tell(Command::RaiseGeneration { generation: 2 }), Answer::Done);
    assert_eq!(code(&world.tell(Command::RaiseGeneration { generation: 2 })), "BTN-0125");
}

#[test]
fn a_definition_never_moves_the_role() {
    let mut world = World::new();
    let define = |world: &mut World, members: &[&str]| {
        code(&world.tell(Command::DefineGroup { group: group(), definition: definition(members) })).to_owned()
    };
    assert_eq!(define(&mut world, &["db2", "db1"]), "defined");
    assert_eq!(define(&mut world, &["db2", "db1"]), "already");
    assert_eq!(world.primary(), ("db1".to_owned(), Epoch(1)));
    assert_eq!(define(&mut world, &["db2"]), "BTN-0113");
    world.start(vec![vec![act("1", &["h1"])]]);
    assert_eq!(define(&mut world, &["db1"]), "BTN-0101");
}

#[test]
fn a_declined_order_halts_and_a_run_that_is_over_takes_no_words() {
    let mut world = World::new();
    let run = world.start(vec![vec![act("1", &["h1"])]]);
    let task = world.task(&run, "1@h1#1");
    let fault = baton_model::outcome::Fault::new("BTN-0435", "stale.", "");
    world.tell(Command::DeclineTask { task, fault });
    assert_eq!(world.phase(&run), "halted");
    world.abort(&run);
    assert_eq!(code(&world.abort(&run)), "BTN-0127");
    assert_eq!(code(&world.skip(&run, Some("1"), None)), "BTN-0127");
    assert_eq!(code(&world.retry(&run, None, None)), "BTN-0118");
    assert_eq!(code(&confirm(&mut world, &run, "ben", "1")), "BTN-0116");
    assert_eq!(code(&world.abort(&name("pom-9"))), "BTN-0111");
}

#[test]
fn what_can_lose_data_never_starts_in_a_run_that_is_not_forced() {
    let mut world = World::new();
    let force = |step: &mut baton_model::plan::Step, undo: bool| {
        let Work::Act { tasks } = &mut step.work else { panic!("act makes tasks") };
        let tasks = if undo { &mut step.undo } else { tasks };
        tasks.iter_mut().for_each(|task| task.action = "mssql.ag.force_failover".to_owned());
    };
    for undo in [false, true] {
        let mut step = undoable("1", &["h1"]);
        force(&mut step, undo);
        let mut plan = world.plan(vec![vec![step]]);
        let refused = world.tell(Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan.clone()),
            acceptance: None,
            cause: None,
        });
        assert_eq!(code(&refused), "BTN-0126");
        plan.kind = Kind::Forced;
        let started = world.tell(Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan),
            acceptance: None,
            cause: None,
        });
        let Answer::Started { run } = started else { panic!("{started:?}") };
        world.report(&run, "1@h1#1", Changed);
    }
}
