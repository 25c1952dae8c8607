//! A leader that was only asleep, and wakes up deposed: it does nothing twice, and nothing late.

use baton_system_tests::{
    PATIENCE, World, eventually,
    procedure::{HOSTS, define, gate},
};
use rustix::process::Signal;

fn runbook() -> String {
    format!(
        "runbook: work\nsteps:\n  - name: First\n    {}  - name: Second\n    {}",
        gate("app", "first"),
        gate("new.database", "second").replace("new.database", "host:db2")
    )
}

#[test]
fn a_leader_that_wakes_up_deposed_does_nothing_twice() {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &runbook())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    let asleep = world.cluster.leader().expect("a leader");
    assert!(world.cluster.signal_coordinator(asleep, Signal::STOP));
    let awake = eventually("another leader", || match world.cluster.leader() {
        Ok(leader) if leader != asleep => Ok(leader),
        other => Err(format!("{other:?}")),
    });
    // Its report goes to the new leader, which orders the second step, while the old one still believes in the first.
    world.release("first");
    world.begun("second", 1);
    assert!(world.cluster.signal_coordinator(asleep, Signal::CONT));
    eventually("the sleeper knows its leader", || {
        let log = std::fs::read_to_string(world.cluster.coordinator_directory(asleep).join("log")).unwrap_or_default();
        let address = world.cluster.coordinator_address(asleep).to_string();
        let said = world.baton(&["--coordinator", &address, "show", &run, "-o", "json"]);
        let seen = said.document();
        let is_there = world.cluster.leader().map_err(|error| format!("{error:#}"))? == awake;
        if said.code == 0 && seen["steps"][0]["state"] == "done" && is_there { Ok(()) } else { Err(log) }
    });
    world.release("second");
    let view = world.ends(&run, "succeeded");
    for gate in ["first", "second"] {
        assert_eq!((world.lines(&format!("begun.{gate}")), world.effects(gate)), (1, 1), "{gate}: {view}");
    }
    assert!(view["steps"].as_array().expect("steps").iter().all(|step| step["tasks"][0]["attempt"] == 1), "{view}");
    world.cluster.wait_for_leader(PATIENCE).expect("a leader");
}

#[test]
fn an_abort_is_not_overtaken_by_a_sleeping_agent() {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &runbook())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    assert!(world.cluster.signal_agent("app1", Signal::STOP));
    let said = world.baton(&["abort", &run, "--reason", "a test"]);
    assert_eq!(said.code, 0, "{said:?}");
    let view = world.show(&run);
    assert_eq!(view["steps"][0]["tasks"][0]["state"], "fencing", "it may run still: {view}");
    assert_eq!(view["over"], false, "an abort waits for the host's word: {view}");
    assert!(world.cluster.signal_agent("app1", Signal::CONT));
    let view = world.ends(&run, "aborted");
    // Ended in its middle, and not let go before: it has no effect, now or later.
    world.release("first");
    let next = world.begin(&["run", "shop", "work"]);
    assert_eq!(world.begun("second", 1), ());
    world.release("second");
    world.ends(&next, "succeeded");
    assert_eq!((world.lines("begun.first"), world.effects("first")), (2, 1), "{view}");
}
