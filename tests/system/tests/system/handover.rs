//! Leadership moves, and nobody has to care: clients follow, watches go on, runs go on, sessions are where they must be.

use std::process::{Child, Command};

use baton_system_tests::{
    PATIENCE, World, eventually,
    procedure::{HOSTS, define, gate},
    world::in_background,
};
use rustix::process::{Pid, Signal, kill_process};

fn work() -> String {
    format!(
        "runbook: work\nsteps:\n  - name: First\n    {}  - name: Second\n    {}",
        gate("app", "first"),
        gate("host:db1", "second")
    )
}

/// Ends with the test.
struct Watch {
    child: Child,
    file: std::path::PathBuf,
}

impl Watch {
    fn start(world: &World, run: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["watch", run];
        arguments.extend(more);
        let file = world.path(&format!("watched-{run}"));
        let command: Command = world.cluster.command(&arguments);
        Self { child: in_background(command, &file), file }
    }
    fn said(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap_or_default()
    }
    fn says(&self, what: &str) {
        eventually(what, || if self.said().contains(what) { Ok(()) } else { Err(self.said()) });
    }
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(pid, signal).expect("sent");
    }
    fn ends(&mut self) -> i32 {
        let child = &mut self.child;
        let file = self.file.clone();
        eventually("the watch ends", || match child.try_wait().expect("asked") {
            Some(status) => Ok(status.code().unwrap_or(-1)),
            None => Err(std::fs::read_to_string(&file).unwrap_or_default()),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_survives_the_leaders_death_and_sees_the_end() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    let mut watch = Watch::start(&world, &run, &["-o", "json"]);
    watch.says("\"running\"");
    let leader = world.cluster.leader().expect("a leader");
    world.cluster.kill_coordinator(leader);
    world.release("first");
    world.begun("second", 1);
    world.release("second");
    assert_eq!(watch.ends(), 0, "{}", watch.said());
    let said = watch.said();
    let last = said.lines().rfind(|line| line.starts_with('{')).expect("a document a line");
    let last: serde_json::Value = serde_json::from_str(last).expect("a document");
    assert_eq!((&last["phase"], &last["id"]), (&"succeeded".into(), &run.as_str().into()), "{said}");
    assert_eq!((world.effects("first"), world.effects("second")), (1, 1));
}

#[test]
fn control_c_ends_the_watching_and_not_the_run() {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    let mut watch = Watch::start(&world, &run, &[]);
    watch.says("First");
    watch.signal(Signal::INT);
    assert_eq!(watch.ends(), 130, "{}", watch.said());
    assert!(watch.said().contains(&format!("{run} goes on")), "{}", watch.said());
    assert_eq!(world.show(&run)["phase"], "running");
    ["first", "second"].iter().for_each(|gate| world.release(gate));
    world.ends(&run, "succeeded");
    assert_eq!((world.effects("first"), world.effects("second")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_and_the_run_goes_on() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    let leader = world.cluster.leader().expect("a leader");
    let term = world.json(&["cluster", "members"])["term"].as_u64().expect("a term");
    let status = world.cluster.stop_coordinator(leader).await.expect("it ran");
    assert!(status.success(), "{status:?}");
    let next = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    assert_ne!(next, leader);
    let after = world.json(&["cluster", "members"])["term"].as_u64().expect("a term");
    assert_eq!(after, term + 1, "handed over, and not fought for");
    world.release("first");
    world.begun("second", 1);
    world.cluster.start_coordinator(&world.registry, leader).expect("started");
    world.ready(&HOSTS);
    // On wish, while a program runs.
    let to = format!("c{}", leader + 1);
    let said = world.baton(&["cluster", "transfer", "--to", &to]);
    assert_eq!(said.code, 0, "{said:?}");
    eventually("the leadership moves", || match world.cluster.leader() {
        Ok(now) if now == leader => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.release("second");
    let view = world.ends(&run, "succeeded");
    assert_eq!((world.effects("first"), world.effects("second")), (1, 1), "{view}");
    assert_eq!((world.lines("begun.first"), world.lines("begun.second")), (1, 1), "{view}");
}

#[test]
fn every_follower_sends_its_clients_to_the_leader() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let leader = world.cluster.leader().expect("a leader");
    ["first", "second"].iter().for_each(|gate| world.release(gate));
    for number in 0..3 {
        let address = world.cluster.coordinator_address(number).to_string();
        let run = world.baton(&["--coordinator", &address, "run", "shop", "work", "--yes"]);
        assert_eq!(run.code, 0, "{number}: {run:?}");
        let status = world.baton(&["--coordinator", &address, "status", "-o", "json"]).document();
        assert_eq!(status["cluster"]["leader"], format!("c{}", leader + 1), "{status}");
    }
    assert_eq!(world.effects("first"), 1, "the first run had the effect, the others found it");
    // One that is left alone answers that none leads: no majority, no word.
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    world.cluster.kill_coordinator(leader);
    world.cluster.kill_coordinator(one);
    let alone = world.cluster.coordinator_address(two).to_string();
    let said = world.baton(&["--coordinator", &alone, "--timeout", "4s", "run", "shop", "work", "--yes", "--detach"]);
    said.is(6, "BTN-0804", &["majority"]);
    world.cluster.start_coordinator(&world.registry, one).expect("started");
    world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    assert_eq!(world.json(&["runs", "shop"]).as_array().map(Vec::len), Some(3), "what was not accepted was not done");
}
