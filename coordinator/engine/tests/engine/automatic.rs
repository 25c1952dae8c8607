//! A run that starts by itself: once, and only while nothing speaks against it.

use baton_engine::{
    command::{Answer, AutomaticRule, AutomaticWord, Command},
    state::Phase,
};
use baton_model::{
    assignment::Deed,
    author::Actor,
    ids::RunId,
    outcome::Outcome,
    plan::Work,
    time::{Moment, Span},
};

use super::world::*;

fn watched() -> World {
    let mut world = World::new();
    let mut definition = definition(&["db1", "db2"]);
    definition.automatic = Some(AutomaticRule { runbook: name("move"), cooldown: Span::from_secs(600) });
    assert!(matches!(world.tell(Command::DefineGroup { group: group(), definition }), Answer::Defined { .. }));
    world
}

fn coordinator() -> Actor {
    Actor::Coordinator("c1".to_owned())
}

fn fire_as(world: &mut World, who: Actor) -> Answer {
    let plan = world.plan(vec![vec![act("1", &["h1"])], vec![transfer("2", false)], vec![act("3", &["h2"])]]);
    let cause = Some("daemon on h1: dead".to_owned());
    let command = Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause };
    world.tell_as(who, "", None, command)
}

fn fire(world: &mut World) -> RunId {
    match fire_as(world, coordinator()) {
        Answer::Started { run } => run,
        other => panic!("{other:?}"),
    }
}

fn confirm(world: &mut World, run: &RunId) {
    world.tell_as(coordinator(), "", None, Command::ConfirmCause { run: run.clone(), evidence: "dead".to_owned() });
}

fn limited(world: &World) -> bool {
    world.state.groups[&group()].automatic.limited.is_some()
}

#[test]
fn nothing_is_ordered_before_the_fault_was_looked_at_again() {
    let mut world = watched();
    let run = fire(&mut world);
    assert_eq!(world.run(&run).phase, Phase::Checking);
    assert_eq!(world.due().rechecks, std::slice::from_ref(&run));
    assert!(world.due().orders.is_empty());
    assert!(!limited(&world), "it has not acted");
    confirm(&mut world, &run);
    assert_eq!(world.due().orders.len(), 1);
    assert!(limited(&world));
}

#[test]
fn a_fault_that_has_gone_calls_the_run_off_and_is_recorded() {
    let mut world = watched();
    let run = fire(&mut world);
    world.tell_as(coordinator(), "", None, Command::CallOffRun { run: run.clone(), why: "it lives".to_owned() });
    assert!(matches!(&world.run(&run).phase, Phase::Aborted { note } if note.contains("called off")));
    assert!(world.due().orders.is_empty() && !limited(&world));
    let state = &world.state.groups[&group()];
    assert!(state.open_run.is_none());
    assert!(state.automatic.judged.back().expect("recorded").what.contains("it lives"));
    confirm(&mut world, &run);
    assert!(world.due().orders.is_empty(), "what was called off stays so");
    let again = fire(&mut world);
    assert_eq!(world.run(&again).phase, Phase::Checking, "what did nothing is no reason to wait");
}

#[test]
fn it_fires_once_and_again_only_after_a_rearming_and_the_cooldown() {
    let mut world = watched();
    let run = fire(&mut world);
    confirm(&mut world, &run);
    world.report(&run, "1@h1#1", Outcome::Changed);
    world.report(&run, "3@h2#1", Outcome::Changed);
    assert_eq!(world.run(&run).phase, Phase::Succeeded);
    assert_eq!(code(&fire_as(&mut world, coordinator())), "BTN-0183");
    let no_reason = Command::SetAutomatic { group: group(), word: AutomaticWord::Rearm };
    assert_eq!(code(&world.tell_as(operator("anna"), "", None, no_reason)), "BTN-0122");
    world.tell(Command::SetAutomatic { group: group(), word: AutomaticWord::Rearm });
    assert!(!limited(&world));
    assert_eq!(code(&fire_as(&mut world, coordinator())), "BTN-0184");
    world.later(600);
    let run = fire(&mut world);
    assert_eq!(world.run(&run).phase, Phase::Checking);
}

#[test]
fn a_run_that_rearms_ends_what_limited_the_group() {
    let mut world = watched();
    let run = fire(&mut world);
    confirm(&mut world, &run);
    world.report(&run, "1@h1#1", Outcome::Changed);
    world.report(&run, "3@h2#1", Outcome::Changed);
    assert!(limited(&world));
    let back = world.start(vec![vec![transfer("1", false)], vec![act("2", &["h1"])], vec![bare("3", Work::Rearm)]]);
    assert!(limited(&world), "until the switchback has ended");
    world.report(&back, "2@h1#1", Outcome::Changed);
    assert!(!limited(&world));
}

#[test]
fn people_others_and_a_paused_group_start_nothing_by_themselves() {
    let mut world = watched();
    assert_eq!(code(&fire_as(&mut world, operator("anna"))), "BTN-0180");
    assert_eq!(code(&fire_as(&mut world, Actor::Agent(name("h1")))), "BTN-0180");
    world.tell(Command::SetAutomatic { group: group(), word: AutomaticWord::Pause });
    assert_eq!(code(&fire_as(&mut world, coordinator())), "BTN-0182");
    world.tell(Command::SetAutomatic { group: group(), word: AutomaticWord::Resume });
    let run = fire(&mut world);
    assert_eq!(code(&fire_as(&mut world, coordinator())), "BTN-0101", "a busy group is left alone");
    world.tell(Command::AbortRun { run: run.clone() });
    assert!(world.run(&run).phase.is_over(), "an operator may end it while it is checked");
    let mut plain = World::new();
    assert_eq!(code(&fire_as(&mut plain, coordinator())), "BTN-0181");
}

#[test]
fn each_deed_is_recorded_once_however_often_it_is_told() {
    let mut world = watched();
    let deed = |number| Deed {
        number,
        group: group(),
        component: None,
        at: Moment(0),
        what: "stopped it".to_owned(),
        failed: false,
    };
    let tell = |world: &mut World, host: &str, deeds: Vec<Deed>| {
        world.tell_as(Actor::Agent(name(host)), "", None, Command::RecordDeeds { host: name(host), deeds })
    };
    assert_eq!(tell(&mut world, "h1", vec![deed(1), deed(2)]), Answer::Done);
    assert_eq!(tell(&mut world, "h1", vec![deed(1), deed(2)]), Answer::Already);
    assert_eq!(tell(&mut world, "h1", vec![deed(2), deed(3)]), Answer::Done);
    assert_eq!(tell(&mut world, "h2", vec![deed(1)]), Answer::Done);
    assert_eq!(tell(&mut world, "elsewhere", vec![deed(1)]), Answer::Already);
    assert_eq!(world.state.groups[&group()].alerts.latest.len(), 4);
    assert_eq!(code(&tell(&mut world, "h1", (4..80).map(deed).collect())), "BTN-0120");
}
