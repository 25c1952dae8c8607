//! Watching: exit codes, a leader's death in the middle, and Ctrl-C.

use std::io::{BufRead as _, BufReader, Read as _};

use crate::{
    coordinator::{Coordinator, Script, World},
    documents,
};

fn watched(views: Vec<baton_model::view::RunView>) -> Script {
    Script { views, ..Script::default() }
}

#[test]
fn the_exit_code_says_how_the_run_stands() {
    let world = World::new();
    for (view, code) in [
        (documents::skipped(), 0),
        (documents::rolled_back(), 1),
        (documents::halted(), 3),
        (documents::waiting(), 3),
        (documents::unknown(), 3),
    ] {
        let leader = Coordinator::start(&world, watched(vec![documents::running(), view]));
        world.run(&[&leader], &["watch", "pom-17"]).expect(code);
    }
    let leader = Coordinator::start(&world, watched(vec![documents::running(), documents::skipped()]));
    let lines = world.run(&[&leader], &["watch", "pom-17", "-o", "json"]).expect(0).stdout;
    let phases: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(phases.iter().map(|view| view["phase"].as_str().unwrap()).collect::<Vec<_>>(), ["running", "succeeded"]);
    let empty = Coordinator::start(&world, Script::default());
    world.run(&[&empty], &["watch", "pom-99"]).expect(4);
}

#[test]
fn the_leaders_death_does_not_end_the_watching() {
    let world = World::new();
    let mut old = Coordinator::start(&world, watched(vec![documents::running()]));
    let new = Coordinator::start(&world, Script { follows: Some(Some(old.address.clone())), ..Script::default() });
    let mut watching = world.command(&[&new, &old], &["watch", "pom-17"]).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("pom-17 is running")));
    {
        let mut script = new.script.lock().unwrap();
        script.follows = None;
        script.views = vec![documents::transferred(), documents::over(documents::transferred(), "succeeded", "")];
    }
    old.die();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.ends_with("pom-17: db2 is primary now")), "{rest:?}");
    assert!(rest.last().unwrap().ends_with("pom-17 is succeeded"), "{rest:?}");
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    let mut talk = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert!(talk.starts_with("The coordinator went away; the run goes on."), "{talk}");
}

#[test]
fn when_nobody_is_left_the_run_is_out_of_sight_and_not_failed() {
    let world = World::new();
    let mut only = Coordinator::start(&world, watched(vec![documents::running()]));
    let mut watching = world.command(&[&only], &["watch", "pom-17", "--timeout", "1s"]).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("pom-17 is running")));
    only.die();
    assert_eq!(watching.wait().unwrap().code(), Some(6));
    let mut talk = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert!(talk.contains("BTN-0806 pom-17 is out of sight") && talk.contains("The run goes on"), "{talk}");
}

#[test]
fn ctrl_c_detaches_and_says_how_to_come_back() {
    let world = World::new();
    let leader = Coordinator::start(&world, watched(vec![documents::running()]));
    let mut watching = world.command(&[&leader], &["watch", "pom-17"]).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("pom-17 is running")));
    let interrupt = std::process::Command::new("kill").args(["-INT", &watching.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(watching.wait().unwrap().code(), Some(130));
    let mut talk = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(talk, "No longer watching; pom-17 goes on. Come back with \"baton watch pom-17\".\n");
    assert!(leader.script.lock().unwrap().acts.is_empty());
}
