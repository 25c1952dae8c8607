//! From a wish to a run: nothing starts unconfirmed, nothing planned turns into force, nothing starts twice.

use baton_model::plan::Kind;

use crate::{
    coordinator::{Coordinator, Script, World},
    documents,
};

fn leader(world: &World, kind: Kind) -> Coordinator {
    let script = Script { plan: Some(documents::plan(kind)), views: vec![documents::skipped()], ..Script::default() };
    Coordinator::start(world, script)
}

#[test]
fn without_a_terminal_and_without_yes_nothing_starts() {
    let world = World::new();
    let leader = leader(&world, Kind::Planned);
    let refused = world.run(&[&leader], &["switchover", "pom", "--to", "db2"]).expect(5);
    assert!(
        refused.stderr.contains("BTN-0807") && refused.stderr.contains("db2 becomes primary"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("point of no return"), "the plan was shown\n{}", refused.stderr);
    assert!(leader.script.lock().unwrap().starts.is_empty());
}

#[test]
fn what_was_shown_is_what_is_started_and_an_unanswered_start_is_repeated_under_its_own_name() {
    let world = World::new();
    let leader = leader(&world, Kind::Planned);
    leader.script.lock().unwrap().starts_unanswered = 2;
    let arguments = ["switchover", "pom", "--to", "db2", "-i", "copy_database=false", "-r", "patching", "--yes"];
    let done = world.run(&[&leader], &arguments).expect(0);
    assert!(done.stdout.contains("pom-17 is succeeded"), "{}", done.stdout);
    let script = leader.script.lock().unwrap();
    assert_eq!(script.starts.len(), 3);
    assert!(script.starts.iter().all(|start| *start == script.starts[0]), "one name for all three");
    let start = &script.starts[0];
    assert_eq!(start.digest, documents::plan(Kind::Planned).digest.0);
    let plan = start.plan.as_ref().unwrap();
    assert_eq!((plan.inputs["copy_database"].as_str(), plan.to.as_str(), plan.observe), ("false", "db2", false));
}

#[test]
fn a_start_without_an_answer_is_unknown_and_not_failed() {
    let world = World::new();
    let leader = leader(&world, Kind::Planned);
    leader.script.lock().unwrap().starts_unanswered = usize::MAX;
    let unknown = world.run(&[&leader], &["switchover", "pom", "--yes", "--timeout", "1s"]).expect(6);
    assert!(unknown.stderr.contains("BTN-0805 no answer within 1s, and nobody here can tell"), "{}", unknown.stderr);
}

#[test]
fn planned_and_forced_have_their_own_words() {
    let world = World::new();
    let forced = leader(&world, Kind::Forced);
    let refused = world.run(&[&forced], &["switchover", "pom", "--yes"]).expect(5);
    assert!(refused.stderr.contains("BTN-0808") && refused.stderr.contains("baton failover pom"), "{}", refused.stderr);
    let planned = leader(&world, Kind::Planned);
    assert!(world.run(&[&planned], &["failover", "pom", "--yes"]).expect(5).stderr.contains("BTN-0808"));
    let detached = world.run(&[&forced], &["failover", "pom", "--yes", "--detach"]).expect(0);
    assert_eq!(detached.stdout, "pom-17\n");
    assert_eq!(forced.script.lock().unwrap().starts.len(), 1);
}
