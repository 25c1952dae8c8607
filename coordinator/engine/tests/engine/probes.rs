//! Steps that the coordinators carry out themselves: what they saw decides, once, and only for the question that was asked.

use baton_engine::{
    command::{Answer, Command},
    due::DueProbe,
    sighting::{Connection, Seen, Sighting},
    state::run::Verdict,
};
use baton_model::{
    author::Actor,
    ids::{RunId, StepId},
    outcome::Outcome::*,
    plan::{OnFailure, Step, Work},
};

use crate::world::{World, act, bare, code, operator};

pub fn probe(id: &str, from: u32, guard: Option<&str>) -> Step {
    let endpoints = vec!["chat1:5041".to_owned(), "chat2:5041".to_owned()];
    bare(id, Work::ProveUnreachable { endpoints, from, guard: guard.map(str::to_owned) })
}

/// What so many coordinators saw: `-` nothing, `+` it answers, `?` their own trouble.
pub fn sightings(words: &str) -> Vec<Sighting> {
    let seen = |word: char, endpoint: &str| Seen {
        endpoint: endpoint.to_owned(),
        connection: match word {
            '+' => Connection::Made,
            '-' => Connection::NotMade { why: "refused".to_owned() },
            _ => Connection::CannotTell { why: "no such name".to_owned() },
        },
    };
    let one = |(n, word): (usize, char)| Sighting {
        coordinator: format!("c{}", n + 1),
        endpoints: vec![seen('-', "chat1:5041"), seen(word, "chat2:5041")],
    };
    words.chars().enumerate().map(one).collect()
}

pub fn report(world: &mut World, run: &RunId, step: &str, index: u64, words: &str) -> Answer {
    let (run, step) = (run.clone(), StepId(step.to_owned()));
    let sightings = sightings(words);
    let command = Command::ReportSightings { run, step, index, sightings, coordinators: 3 };
    world.tell_as(Actor::Coordinator("c1".to_owned()), "", None, command)
}

fn due(world: &World) -> DueProbe {
    let mut probes = world.due().probes;
    assert_eq!(probes.len(), 1, "{probes:?}");
    probes.remove(0)
}

fn verdict(world: &World, run: &RunId) -> Verdict {
    world.run(run).steps[&StepId("1".to_owned())].verdict.clone()
}

#[test]
fn nothing_follows_before_enough_coordinators_saw_nothing() {
    let mut world = World::new();
    let run = world.start(vec![vec![probe("1", 2, None)], vec![act("2", &["h1"])]]);
    let asked = due(&world);
    assert_eq!((asked.endpoints.len(), world.orders().as_str()), (2, ""));
    assert_eq!(report(&mut world, &run, "1", asked.index, "-?-"), Answer::Done);
    assert_eq!((world.due().probes.len(), world.orders().as_str()), (0, "2@h1#1"));
    let Verdict::Done { note, .. } = verdict(&world, &run) else { panic!("{:?}", verdict(&world, &run)) };
    assert!(
        note.starts_with("2 of 3 coordinators could connect to nothing. Seen: c1: chat1:5041 not (refused)"),
        "{note}"
    );
    assert!(world.run(&run).history.iter().any(|line| line.what.contains(&note)), "in the record");
    assert_eq!(report(&mut world, &run, "1", asked.index, "+++"), Answer::Already);
}

#[test]
fn one_that_connects_halts_the_run_and_an_earlier_answer_says_nothing_about_a_retry() {
    let mut world = World::new();
    let run = world.start(vec![vec![probe("1", 2, Some("alive"))], vec![act("2", &["h1"])]]);
    let first = due(&world);
    report(&mut world, &run, "1", first.index, "--+");
    assert_eq!((world.phase(&run), world.orders().as_str()), ("halted", ""));
    let why = world.halted_because(&run);
    assert!(why.contains("it is not unreachable: c3 connects to chat2:5041"), "{why}");
    assert_eq!(world.due().probes, []);
    world.retry(&run, None, None);
    let second = due(&world);
    assert!(second.index > first.index);
    assert_eq!(report(&mut world, &run, "1", first.index, "---"), Answer::Already, "asked before the retry");
    assert_eq!((world.orders().as_str(), due(&world)), ("", second.clone()));
    report(&mut world, &run, "1", second.index, "-");
    assert!(world.halted_because(&run).contains("the word of 2 coordinators is wanted, and 1 of 3 could tell"));
    // A guard of the run that goes on: overridden, then retried.
    let override_guard = |world: &mut World, guard: &str| {
        let command = Command::OverrideGuard { run: run.clone(), guard: guard.to_owned() };
        world.tell_as(operator("ana"), "the building is on fire", None, command)
    };
    assert_eq!(code(&override_guard(&mut world, "dead")), "BTN-0138");
    assert_eq!(override_guard(&mut world, "alive"), Answer::Done);
    world.retry(&run, None, None);
    assert_eq!(world.orders(), "2@h1#1");
    let why = "alive is overridden: the building is on fire".to_owned();
    assert_eq!(verdict(&world, &run), Verdict::Skipped { why });
}

#[test]
fn a_guard_overridden_at_the_start_asks_nobody_and_more_than_the_cluster_has_is_said() {
    let mut world = World::new();
    let mut plan = world.plan(vec![vec![probe("1", 2, Some("alive"))]]);
    plan.overrides.insert("alive".to_owned(), "it is only half dead".to_owned());
    let command = Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None };
    let Answer::Started { run } = world.tell(command) else { panic!("not started") };
    assert_eq!((world.phase(&run), world.due().probes.len()), ("succeeded", 0));
    let run = world.start(vec![vec![probe("1", 4, None)]]);
    let asked = due(&world);
    report(&mut world, &run, "1", asked.index, "---");
    assert!(world.halted_because(&run).contains("it takes the word of 4 coordinators, and the cluster has 3"));
    assert_eq!(world.skip(&run, Some("1"), None), Answer::Done, "an operator's word");
    assert_eq!(world.phase(&run), "succeeded");
}

#[test]
fn an_aborted_run_hears_no_answer_and_a_halted_one_asks_nothing() {
    let mut world = World::new();
    let mut other = act("2", &["h1"]);
    other.on_failure = OnFailure::Halt;
    let run = world.start(vec![vec![probe("1", 2, None), other]]);
    let asked = due(&world);
    world.report(&run, "2@h1#1", Failed);
    assert_eq!((world.phase(&run), world.due().probes.len()), ("halted", 0));
    world.abort(&run);
    assert_eq!(report(&mut world, &run, "1", asked.index, "---"), Answer::Already);
    let large = "-".repeat(33);
    let run = world.start(vec![vec![probe("1", 2, None)]]);
    let asked = due(&world);
    assert_eq!(code(&report(&mut world, &run, "1", asked.index, &large)), "BTN-0120");
}
