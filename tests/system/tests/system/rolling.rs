//! Every process of an installation is ended in order and comes back with other programs, one at a time, while a run is open; one of them goes
//! back again in the middle.
//!
//! `BATON_OTHER_PROGRAMS` names a folder with another version's `baton-coordinator`, `baton-agent` and `baton`. Without it the same programs
//! take their own place, and the test says so: then it has tried restarts, and no versions.

use std::path::Path;

use baton_lab::cluster::Binaries;
use baton_system_tests::{
    PATIENCE, World, eventually,
    procedure::{HOSTS, define, gate},
    stricken::Party,
};
use serde_json::Value;

/// A gate before every process that is replaced: the run is in the middle of something each time.
fn runbook() -> String {
    format!(
        "runbook: switchover\nsteps:\n  - name: Stop the old one\n    {}  - confirm: Is everybody out?\n  - together:\n      - name: Application\n        {}      \
         - name: New database\n        {}  - role.transfer: {{}}\n  - name: Start the new one\n    {}  - name: Last\n    {}",
        gate("old.database", "1"),
        gate("app", "3a").replace("\n    ", "\n        "),
        gate("new.database", "3n").replace("\n    ", "\n        "),
        gate("new.database", "5"),
        gate("app", "6"),
    )
}

const GATES: [&str; 5] = ["1", "3a", "3n", "5", "6"];

struct Programs {
    here: Binaries,
    other: Binaries,
}

impl Programs {
    fn find() -> Self {
        let here = Binaries::beside_this().expect("the programs are built");
        let other = match std::env::var_os("BATON_OTHER_PROGRAMS") {
            Some(folder) => {
                Binaries::in_folder(Path::new(&folder)).expect("BATON_OTHER_PROGRAMS has all three programs")
            }
            None => {
                eprintln!(
                    "THE SAME PROGRAMS: BATON_OTHER_PROGRAMS is not set, so these are restarts and no other version"
                );
                here.clone()
            }
        };
        Self { here, other }
    }
}

/// Ended in order, and started with these programs.
fn replace(world: &mut World, party: Party<'_>, programs: &Binaries) {
    let status = party.stop(world);
    assert!(status.success(), "{party:?} was ended in order: {status:?}; {}", party.log(world));
    match party {
        Party::Coordinator(number) => world.cluster.install_coordinator(number, programs),
        Party::Agent(host) => world.cluster.install_agent(host, programs),
    }
    party.start(world);
}

/// It serves again, with all that the others have.
fn is_back(world: &World, number: usize) {
    let address = world.cluster.coordinator_address(number).to_string();
    eventually(&format!("c{} is one of three again", number + 1), || {
        let said = world.baton(&["--coordinator", &address, "--timeout", "3s", "status"]);
        if said.code == 0 { Ok(()) } else { Err(said.stderr) }
    });
    world.ready(&HOSTS);
}

/// An older program may meet an entry that it does not know. Then it says so and ends, and the others go on without it.
fn is_back_or_says_that_it_is_too_old(world: &mut World, number: usize) -> bool {
    let party = Party::Coordinator(number);
    let address = world.cluster.coordinator_address(number).to_string();
    let serves = eventually(&format!("c{} serves, or says why not", number + 1), || {
        if party.ended(world).is_some() {
            return Ok(false);
        }
        let said = world.baton(&["--coordinator", &address, "--timeout", "3s", "status"]);
        if said.code == 0 { Ok(true) } else { Err(said.stderr) }
    });
    if !serves {
        let last = party.ends_saying(world, &["BTN-0199", "Install the version"]);
        eprintln!("the older program does not know what is in the log, and says so: {last}");
    }
    serves
}

fn step(view: &Value, index: usize) -> &Value {
    &view["steps"][index]
}

#[test]
fn every_process_is_replaced_one_at_a_time_while_a_run_goes_on() {
    let programs = Programs::find();
    let mut world = World::start(&HOSTS);
    define(&world, &[("switchover", &runbook())]);
    let run = world.begin(&["switchover", "shop", "--to", "b"]);
    world.begun("1", 1);

    // Who follows first, who leads last: as docs/upgrade.md says.
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let order = [(leader + 1) % 3, (leader + 2) % 3, leader];
    replace(&mut world, Party::Coordinator(order[0]), &programs.other);
    is_back(&world, order[0]);
    world.release("1");
    world.until(&run, "waits for a word", |view| step(view, 1)["state"] == "waiting");
    replace(&mut world, Party::Coordinator(order[1]), &programs.other);
    is_back(&world, order[1]);
    assert_eq!(world.baton(&["confirm", &run]).code, 0);
    world.begun("3a", 1);
    world.begun("3n", 1);
    replace(&mut world, Party::Coordinator(leader), &programs.other);
    is_back(&world, leader);

    // An agent whose program is at work: it is performed from its beginning by the next one, and has its effect once.
    replace(&mut world, Party::Agent("app1"), &programs.other);
    world.begun("3a", 2);
    world.release("3a");
    world.release("3n");
    world.begun("5", 1);
    replace(&mut world, Party::Agent("db1"), &programs.other);
    replace(&mut world, Party::Agent("db2"), &programs.other);
    world.begun("5", 2);
    world.ready(&HOSTS);

    // Back again: one coordinator and one agent.
    replace(&mut world, Party::Coordinator(order[0]), &programs.here);
    let back = is_back_or_says_that_it_is_too_old(&mut world, order[0]);
    replace(&mut world, Party::Agent("app1"), &programs.here);
    world.release("5");
    world.begun("6", 1);
    world.release("6");
    let view = world.ends(&run, "succeeded");

    for gate in GATES {
        assert_eq!(world.effects(gate), 1, "{gate}: {view}");
    }
    let tasks =
        view["steps"].as_array().expect("steps").iter().flat_map(|step| step["tasks"].as_array().expect("tasks"));
    tasks.for_each(|task| assert_eq!(task["attempt"], 1, "nobody had to do it again: {view}"));
    let group = &world.json(&["status"])["groups"][0];
    assert_eq!((&group["primary"], &group["epoch"]), (&"b".into(), &2.into()), "{group}");
    // And forward again where it had to be.
    if !back {
        world.cluster.install_coordinator(order[0], &programs.other);
        Party::Coordinator(order[0]).start(&mut world);
    }
    is_back(&world, order[0]);
    let said = world.json(&["cluster", "members"]);
    assert_eq!(said["members"].as_array().map(Vec::len), Some(3), "{said}");
}
