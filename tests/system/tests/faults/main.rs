//! Disks, descriptors, time, callers: each goes wrong for one process while a run is open. What befell it is said in words that an
//! operator can act on, nothing that was acknowledged is lost, the others go on, and the one that was stricken comes back by itself or
//! by its unit.

use baton_system_tests::{
    PATIENCE, World, eventually,
    procedure::{HOSTS, define, gate},
    stricken::Party,
};
use serde_json::Value;

mod crowd;
mod damaged_file;
mod descriptors;
mod full_disk;
mod garbage;
mod lost_permission;
mod slow;
mod strangers;

/// Two gates on the application's host, one on a database's.
fn work() -> String {
    format!(
        "runbook: work\nsteps:\n  - name: First\n    {}  - name: Second\n    {}  - name: Third\n    {}",
        gate("app", "first"),
        gate("host:db2", "second"),
        gate("app", "third"),
    )
}

/// The hosts, the group `shop` with that runbook, and a run that waits in its first gate.
fn under_way() -> (World, String) {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    (world, run)
}

/// The run goes to its end, with every effect once.
fn finishes(world: &World, run: &str) -> Value {
    for gate in ["first", "second", "third"] {
        world.release(gate);
    }
    let view = world.ends(run, "succeeded");
    for gate in ["first", "second", "third"] {
        assert_eq!(world.effects(gate), 1, "{gate}: {view}");
    }
    view
}

/// A coordinator that does not lead.
fn follower(world: &World) -> usize {
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    (leader + 1) % world.cluster.coordinators()
}

/// This coordinator alone answers, with the whole record: as far as the others, with this run as it ended.
fn has_everything(world: &World, number: usize, run: &str, phase: &str) {
    let address = world.cluster.coordinator_address(number).to_string();
    let ask = |arguments: &[&str]| {
        let all = [&["--coordinator", &address, "--timeout", "3s", "-o", "json"][..], arguments].concat();
        let said = world.baton(&all);
        if said.code == 0 { Ok(said.document()) } else { Err(said.stderr) }
    };
    eventually(&format!("c{} has everything", number + 1), || {
        let members = world.cluster.json(&["cluster", "members"]).map_err(|error| format!("{error:#}"))?;
        let name = format!("c{}", number + 1);
        let all = members["members"].as_array().ok_or("members")?;
        let it = all.iter().find(|member| member["name"] == name.as_str()).ok_or("a member")?;
        let applied = members["applied"].as_u64().ok_or("a number")?;
        if it["matched"].as_u64().is_none_or(|matched| matched < applied) {
            return Err(members.to_string());
        }
        let view = ask(&["show", run])?;
        if view["phase"] == phase { Ok(()) } else { Err(view.to_string()) }
    });
}

/// Makes this coordinator lead.
fn lead(world: &World, number: usize) {
    if world.cluster.wait_for_leader(PATIENCE).expect("a leader") == number {
        return;
    }
    let name = format!("c{}", number + 1);
    eventually(&format!("{name} leads"), || {
        let said = world.baton(&["cluster", "transfer", "--to", &name]);
        let leader = world.cluster.leader().map_err(|error| format!("{error:#}"))?;
        if leader == number { Ok(()) } else { Err(said.stderr) }
    });
}

/// Every agent on the line with every coordinator, and nobody has ended meanwhile but by the test's own hand.
fn whole_again(world: &mut World) {
    world.ready(&HOSTS);
    for number in 0..world.cluster.coordinators() {
        let party = Party::Coordinator(number);
        assert!(party.ended(world).is_none(), "{party:?}: {}", party.log(world));
    }
}
