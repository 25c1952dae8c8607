//! Members that a run leaves out of step: why, until when, and what that holds up.

use baton_engine::{
    command::{Answer, Command},
    state::Standing,
};
use baton_model::{
    outcome::Outcome::*,
    plan::{Sentence, StepWindow, Work},
};
use serde_json::json;

use crate::world::{World, act, bare, code, definition, group, name, transfer};

fn standing(world: &World, member: &str) -> Standing {
    let member: baton_model::ids::MemberName = name(member);
    world.state.groups[&group()].standings[&member].clone()
}

fn detach(id: &str, member: &str, text: &str, deferred: bool) -> baton_model::plan::Step {
    let because = Sentence { text: text.to_owned(), deferred };
    bare(id, Work::Detach { member: name(member), because })
}

#[test]
fn a_detached_member_says_why_until_it_has_rejoined_and_the_role_stays_meanwhile() {
    let mut world = World::new();
    let mut find = act("1", &["h1"]);
    find.register = Some("found".to_owned());
    let after = detach("3", "db1", "data movement paused\n on ${found.name}", true);
    let run = world.start(vec![vec![find], vec![transfer("2", false)], vec![after]]);
    world.report_data(&run, "1@h1#1", Changed, json!({ "name": "pomdb1" }));
    assert_eq!((world.phase(&run), world.primary().0.as_str()), ("succeeded", "db2"));
    let because = "data movement paused on pomdb1".to_owned();
    let paused = Standing::Detached { by: run, since: world.now, because };
    assert_eq!(standing(&world, "db1"), paused);
    let back = world.plan(vec![vec![transfer("1", false)]]);
    let start = Command::StartRun { digest: back.digest(), plan: Box::new(back), acceptance: None, cause: None };
    let refused = world.tell(start.clone());
    let Answer::Refused { fault } = &refused else { panic!("{refused:?}") };
    assert_eq!(
        (fault.code.as_str(), fault.message.as_str()),
        ("BTN-0103", "data movement paused on pomdb1: db1 is detached since pom-1, and has not rejoined.")
    );
    let rejoin = world.start(vec![vec![bare("1", Work::Rejoin { member: name("db1") })]]);
    assert_eq!(world.phase(&rejoin), "succeeded");
    assert!(world.state.groups[&group()].standings.is_empty());
    let back = world.plan(vec![vec![transfer("1", false)]]);
    assert_eq!(
        code(&world.tell(Command::StartRun {
            digest: back.digest(),
            plan: Box::new(back),
            acceptance: None,
            cause: None
        })),
        "started"
    );
}

#[test]
fn a_transfer_says_why_it_detaches_and_a_run_cannot_detach_whom_it_makes_primary() {
    let mut world = World::new();
    let because = Some(Sentence { text: "site west is gone".to_owned(), deferred: false });
    let run = world.start(vec![vec![bare("1", Work::Transfer { detach_old: true, because })]]);
    assert_eq!(
        standing(&world, "db1"),
        Standing::Detached { by: run, since: world.now, because: "site west is gone".to_owned() }
    );
    let mut world = World::new();
    let run = world.start(vec![vec![detach("1", "db2", "paused", false)], vec![transfer("2", false)]]);
    assert!(
        world.halted_because(&run).ends_with("this run has detached db2: paused"),
        "{}",
        world.halted_because(&run)
    );
    assert_eq!(world.primary().0, "db1");
    let run = {
        world.abort(&run);
        world.start(vec![vec![detach("1", "db1", "paused", false)]])
    };
    assert!(world.halted_because(&run).contains("db1 is primary or no member"));
}

#[test]
fn a_detached_target_may_rejoin_in_the_run_that_moves_the_role_and_not_without_that_step() {
    let away = || {
        let mut world = World::new();
        world.start(vec![vec![bare("1", Work::Transfer { detach_old: true, because: None })]]);
        world
    };
    let back = || vec![vec![bare("1", Work::Rejoin { member: name("db1") })], vec![transfer("2", false)]];
    let mut world = away();
    let run = world.start(back());
    assert_eq!((world.phase(&run), world.primary().0.as_str()), ("succeeded", "db1"));
    assert!(world.state.groups[&group()].standings.is_empty());

    let refused = |stages: Vec<Vec<baton_model::plan::Step>>| {
        let mut world = away();
        let plan = world.plan(stages);
        code(&world.tell(Command::StartRun {
            digest: plan.digest(),
            plan: Box::new(plan),
            acceptance: None,
            cause: None,
        }))
        .to_owned()
    };
    assert_eq!(
        refused(vec![vec![transfer("1", false)], vec![bare("2", Work::Rejoin { member: name("db1") })]]),
        "BTN-0103"
    );
    assert_eq!(
        refused(vec![vec![bare("1", Work::Rejoin { member: name("db2") })], vec![transfer("2", false)]]),
        "BTN-0103"
    );
    let mut perhaps = back();
    perhaps[0][0].condition = baton_model::plan::Condition::Deferred("found.ok".to_owned());
    assert_eq!(refused(perhaps), "BTN-0103");
}

#[test]
fn the_role_does_not_move_past_another_member_whose_rejoining_was_left_out() {
    let mut world = World::new();
    let three = definition(&["db1", "db2", "db3"]);
    world.tell(Command::DefineGroup { group: group(), definition: three });
    world.start(vec![vec![detach("1", "db3", "paused", false)]]);
    let mut back = bare("1", Work::Rejoin { member: name("db3") });
    back.window = Some(StepWindow { name: "night".to_owned(), definition: String::new(), openings: Vec::new() });
    let run = world.start(vec![vec![back], vec![transfer("2", false)]]);
    assert_eq!(world.skip(&run, Some("1"), None), Answer::Done);
    assert!(world.halted_because(&run).contains("db3 is detached since pom-1"), "{}", world.halted_because(&run));
    assert_eq!(world.primary().0, "db1");
}

#[test]
fn what_a_step_says_of_a_member_is_bounded_and_a_lost_one_stays_lost() {
    let mut world = World::new();
    world.start(vec![vec![detach("1", "db2", &"ä ".repeat(4000), false)]]);
    let Standing::Detached { because, .. } = standing(&world, "db2") else { panic!("not detached") };
    assert!(because.len() <= 1024 && because.ends_with('…'), "{} bytes", because.len());
    world.tell(Command::DeclareLost { group: group(), member: name("db2") });
    let run = world.start(vec![vec![detach("1", "db2", "paused", false)]]);
    assert_eq!(world.phase(&run), "succeeded");
    assert!(matches!(standing(&world, "db2"), Standing::Lost { .. }));
}

#[test]
fn a_standing_written_before_it_had_a_reason_is_still_read() {
    let old: Standing = serde_json::from_str(r#"{"standing":"detached","by":"pom-1","since":7}"#).expect("old bytes");
    assert_eq!(
        old,
        Standing::Detached { by: name("pom-1"), since: baton_model::time::Moment(7), because: String::new() }
    );
}
