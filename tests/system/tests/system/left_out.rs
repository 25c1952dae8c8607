//! A host that is out of reach may be at work still: whoever leads then does not leave it out, whoever has ordered it.

use baton_system_tests::{
    PATIENCE, World,
    procedure::{HOSTS, define, gate},
    world::told,
};

const GHOSTS: &str = "group: ghosts
primary: a
members:
  a: { hosts: { database: ghost1 } }
  b: { hosts: { database: ghost2 } }
hosts: { ghost1: { address: 127.0.0.1 }, ghost2: { address: 127.0.0.1 } }
runbooks: { nothing: nothing.yaml }
";
const NOTHING: &str = "runbook: nothing
steps:
  - name: Nobody is there
    on: host:ghost1
    unreachable: skip
    exec.run: { argv: [/bin/sh, -c, 'exit 1'] }
";

fn runbook() -> String {
    format!(
        "runbook: work\nsteps:\n  - name: First\n    unreachable: skip\n    {}  - name: Second\n    {}",
        gate("app", "first"),
        gate("host:db2", "second"),
    )
}

#[test]
fn what_the_leader_before_has_ordered_is_waited_for_by_the_next() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("work", &runbook())]);
    world.write("nothing.yaml", NOTHING);
    world.write("ghosts.yaml", GHOSTS);
    world.apply("ghosts");
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    // The program lives on, and nobody hears of it.
    world.cluster.kill_agent("app1");
    let leader = world.cluster.leader().expect("a leader");
    world.cluster.kill_coordinator(leader);
    world.cluster.wait_for_leader(PATIENCE).expect("another leader");
    // It leaves out who was away for less long.
    let nothing = world.begin(&["run", "ghosts", "nothing"]);
    let view = world.ends(&nothing, "succeeded");
    assert_eq!(view["steps"][0]["tasks"][0]["state"], "skipped", "{}", told(&view));
    let view = world.show(&run);
    assert_eq!(view["steps"][0]["tasks"][0]["state"], "dispatched", "{}", told(&view));
    assert_eq!(world.lines("begun.second"), 0, "nothing follows while it may be at work: {}", told(&view));

    world.cluster.start_agent(&world.registry, "app1").expect("started");
    // What was in the middle is ended, and performed from its beginning.
    world.begun("first", 2);
    world.release("first");
    world.begun("second", 1);
    world.release("second");
    world.ends(&run, "succeeded");
    assert_eq!((world.effects("first"), world.effects("second")), (1, 1));
}
