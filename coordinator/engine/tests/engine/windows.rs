//! Maintenance windows inside runs: who may let a step begin, and when.

use baton_engine::{
    command::{Answer, Command},
    due::DueOpening,
    state::run::Verdict,
};
use baton_model::{
    ids::{RunId, StepId},
    outcome::Outcome::*,
    plan::{Condition, Opening, Step, StepWindow, Work},
    time::Moment,
};
use serde_json::json;

use crate::world::{World, act, bare, code, operator, transfer, undoable};

/// Where the world's clock begins.
pub const BEGIN: u64 = 1_700_000_000;

/// Open between these seconds after the beginning.
pub fn window(name: &str, openings: &[(u64, u64)]) -> StepWindow {
    let opening = |(from, to): &(u64, u64)| {
        let opens = Moment((BEGIN + from) * 1000);
        Opening { opens, closes: Moment((BEGIN + to) * 1000), told: opens.utc() }
    };
    StepWindow {
        name: name.to_owned(),
        definition: "test".to_owned(),
        openings: openings.iter().map(opening).collect(),
    }
}

fn within(mut step: Step, openings: &[(u64, u64)]) -> Step {
    step.window = Some(window("night", openings));
    step
}

fn verdict(world: &World, run: &RunId, step: &str) -> Verdict {
    world.run(run).steps[&StepId(step.to_owned())].verdict.clone()
}

fn override_window(world: &mut World, run: &RunId, why: &str) -> Answer {
    world.tell_as(operator("ana"), why, None, Command::OverrideGuard { run: run.clone(), guard: "window".to_owned() })
}

#[test]
fn a_step_waits_for_its_window_and_an_entry_lets_it_go() {
    let mut world = World::new();
    let night = within(act("2", &["h1"]), &[(100, 200)]);
    let run = world.start(vec![vec![act("1", &["h1"])], vec![night, act("3", &["h2"])]]);
    world.report(&run, "1@h1#1", Changed);
    // Nothing of the stage begins, not even what has no window of its own.
    assert_eq!((world.orders().as_str(), world.phase(&run)), ("", "running"));
    assert_eq!(verdict(&world, &run, "2"), Verdict::AwaitsWindow);
    assert_eq!(world.due().wake, Some(Moment((BEGIN + 100) * 1000)));
    let last = world.run(&run).history.back().expect("a line").what.clone();
    assert_eq!(last, "step 2 waits for window night, which opens 2023-11-14 22:15 UTC");
    world.later(99);
    assert_eq!((world.due().openings, world.open_window(&run, 1, &[0, 0, 0])), (vec![], Answer::Already));
    world.later(1);
    assert_eq!(world.due().openings, [DueOpening { run: run.clone(), stage: 1 }]);
    assert_eq!(world.orders(), "", "the clock alone lets nothing go");
    world.later(50);
    assert_eq!(world.open_window(&run, 0, &[0, 0, 0]), Answer::Already, "another stage's");
    assert_eq!(world.open_window(&run, 1, &[0, 0, 0]), Answer::Done);
    assert_eq!((world.orders().as_str(), world.due().openings), ("2@h1#1 3@h2#1", vec![]));
    assert_eq!(world.open_window(&run, 1, &[0, 0, 0]), Answer::Already);
    // It closes while the step is at work: what has begun goes on.
    world.later(60);
    world.report(&run, "2@h1#1", Failed);
    world.retry(&run, None, None);
    assert_eq!(world.orders(), "3@h2#1 2@h1#2");
}

/// When the entry is stamped, what the coordinators' clocks are off by, and whether the step begins.
#[test]
fn a_wrong_clock_opens_no_window_not_even_the_leaders() {
    for (at, off, opens) in [
        (150, &[0, 0, 0][..], true),
        (100, &[0, 0, 0], true),
        (99, &[0, 0, 0], false),
        (200, &[0, 0, 0], false),
        (199, &[0, 0, 0], true),
        // The leader's clock is an hour ahead, and it says so of itself alone.
        (150, &[0, -3600, -3600], false),
        (150, &[0, 0, -3600], true),
        // One voice of three is no majority, however right it is.
        (150, &[0], false),
        (150, &[0, 0], true),
        (150, &[], false),
        // The others are inside, the stamp is not.
        (99, &[20, 20, 20], false),
    ] {
        let mut world = World::new();
        let run = world.start(vec![vec![within(act("1", &["h1"]), &[(100, 200)])]]);
        world.later(at);
        let answer = world.open_window(&run, 0, off);
        assert_eq!((answer == Answer::Done, world.orders() == "1@h1#1"), (opens, opens), "{at} {off:?}");
    }
}

#[test]
fn windows_of_one_stage_open_together_or_not_at_all() {
    let mut world = World::new();
    let early = within(act("1", &["h1"]), &[(100, 200), (400, 500)]);
    let late = within(act("2", &["h2"]), &[(150, 300)]);
    let run = world.start(vec![vec![early, late]]);
    world.later(120);
    assert_eq!((world.due().openings, world.open_window(&run, 0, &[0, 0, 0])), (vec![], Answer::Already));
    assert_eq!(world.due().wake, Some(Moment((BEGIN + 150) * 1000)));
    world.later(130);
    assert_eq!(world.open_window(&run, 0, &[0, 0, 0]), Answer::Already, "the first has closed again");
    assert_eq!(
        (verdict(&world, &run, "1"), verdict(&world, &run, "2")),
        (Verdict::AwaitsWindow, Verdict::AwaitsWindow)
    );
}

#[test]
fn an_override_at_the_start_or_since_opens_every_window_of_the_run() {
    let mut world = World::new();
    let steps = || vec![vec![within(act("1", &["h1"]), &[(100, 200)])], vec![within(act("2", &["h1"]), &[(100, 200)])]];
    let mut plan = world.plan(steps());
    plan.overrides.insert("window".to_owned(), "the manager said so".to_owned());
    let command = Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None };
    let Answer::Started { run } = world.tell(command) else { panic!("not started") };
    assert_eq!(world.orders(), "1@h1#1");
    world.report(&run, "1@h1#1", Changed);
    world.report(&run, "2@h1#1", Changed);
    assert_eq!(world.phase(&run), "succeeded");
    let run = world.start(steps());
    assert_eq!(world.orders(), "");
    assert_eq!(code(&override_window(&mut world, &run, " ")), "BTN-0122");
    let guard = |guard: &str| Command::OverrideGuard { run: run.clone(), guard: guard.to_owned() };
    assert_eq!(code(&world.tell(guard("windwo"))), "BTN-0138");
    assert_eq!(override_window(&mut world, &run, "the manager said so"), Answer::Done);
    assert_eq!(world.orders(), "1@h1#1");
    assert_eq!(override_window(&mut world, &run, "again"), Answer::Already);
    world.report(&run, "1@h1#1", Changed);
    assert_eq!(world.orders(), "2@h1#1");
    let told = world.run(&run).history.iter().find(|line| line.what == "override of window").expect("on the record");
    assert_eq!((told.author.why.as_str(), &told.author.who), ("the manager said so", &operator("ana")));
    world.report(&run, "2@h1#1", Changed);
    assert_eq!(code(&override_window(&mut world, &run, "too late")), "BTN-0127");
    let other = world.start(vec![vec![act("1", &["h1"])]]);
    assert_eq!(code(&override_window(&mut world, &other, "no window")), "BTN-0138");
}

#[test]
fn what_waits_for_a_window_can_be_left_out_or_aborted_and_is_left_out_by_its_condition() {
    let mut world = World::new();
    let mut never = within(act("2", &["h1"]), &[(100, 200)]);
    never.condition = Condition::Deferred("found == 7".to_owned());
    let mut find = undoable("1", &["h1"]);
    find.register = Some("found".to_owned());
    let person = within(bare("3", Work::Confirm { text: "ready?".to_owned() }), &[(100, 200)]);
    let run =
        world.start(vec![vec![find], vec![never], vec![person], vec![within(transfer("4", false), &[(100, 200)])]]);
    world.report_data(&run, "1@h1#1", Changed, json!(8));
    assert!(matches!(verdict(&world, &run, "2"), Verdict::Skipped { .. }), "left out without waiting");
    assert_eq!(verdict(&world, &run, "3"), Verdict::AwaitsWindow);
    let confirm = Command::ConfirmStep { run: run.clone(), step: StepId("3".to_owned()) };
    assert_eq!(code(&world.tell(confirm.clone())), "BTN-0116", "a yes to the question does not open the window");
    assert_eq!(world.skip(&run, Some("3"), None), Answer::Done);
    assert_eq!((verdict(&world, &run, "4"), world.primary().0.as_str()), (Verdict::AwaitsWindow, "db1"));
    assert_eq!(code(&world.skip(&run, Some("4"), None)), "BTN-0128");
    world.later(150);
    world.abort(&run);
    assert_eq!(world.orders(), "1/undo@h1#1");
    assert_eq!((world.due().openings, world.open_window(&run, 3, &[0, 0, 0])), (vec![], Answer::Already));
    world.report(&run, "1/undo@h1#1", Changed);
    assert_eq!((world.phase(&run), world.primary().0.as_str()), ("rolled back", "db1"));
}

#[test]
fn a_step_that_never_began_waits_again_when_it_is_retried_and_others_go_on() {
    let mut world = World::new();
    let mut wrong = within(act("1", &["h1"]), &[(100, 200), (500, 600)]);
    wrong.condition = Condition::Deferred("found.deep".to_owned());
    let mut other = act("2", &["h2", "h3"]);
    other.parallel = Some(1);
    let run = world.start(vec![vec![wrong, other]]);
    world.later(150);
    assert_eq!(world.open_window(&run, 0, &[0, 0, 0]), Answer::Done);
    assert_eq!((world.phase(&run), world.orders().as_str()), ("halted", ""));
    world.later(100);
    assert_eq!(world.retry(&run, None, None), Answer::Done);
    // The condition still has no value, which is told when the step begins; and it begins inside its window alone.
    assert_eq!((world.phase(&run), verdict(&world, &run, "1")), ("running", Verdict::AwaitsWindow));
    assert_eq!(world.orders(), "2@h2#1");
    world.report(&run, "2@h2#1", Changed);
    assert_eq!(world.orders(), "2@h3#1");
    assert_eq!(world.open_window(&run, 0, &[0, 0, 0]), Answer::Already);
    world.later(300);
    assert_eq!(world.open_window(&run, 0, &[0, 0, 0]), Answer::Done);
    assert_eq!(world.phase(&run), "halted");
}

#[test]
fn a_plan_without_another_opening_waits_visibly() {
    let mut world = World::new();
    let run = world.start(vec![vec![within(act("1", &["h1"]), &[(100, 200)])]]);
    world.later(300);
    assert_eq!((world.due().openings, world.due().wake), (vec![], None));
    let plan = &world.run(&run).plan;
    let window = plan.stages[0].steps[0].window.as_ref().expect("a window");
    assert_eq!(window.wait(world.now), "window night, which does not open again in this plan");
    assert_eq!(
        window.wait(Moment((BEGIN + 150) * 1000)),
        "window night, which is open: the coordinators compare their clocks"
    );
}
