//! No room on the disk of one coordinator, or of one agent, while a run is open.

use std::fmt::Write as _;

use baton_system_tests::{
    World, eventually,
    procedure::{HOSTS, write},
    small_disk::{SmallDisk, can_mount},
    stricken::Party,
};

use serde_json::Value;

use super::{finishes, follower, has_everything, lead, under_way, whole_again};

/// Room for what the tests write before the disk is full.
const MEBIBYTES: u32 = 32;

/// Applies the group again and again, each time another and a large one, until the party has ended. Answers the last description that was
/// acknowledged, and how many were.
fn write_until_it_ends(world: &mut World, party: Party<'_>) -> (String, usize) {
    let (mut last, mut acknowledged) = (String::new(), 0);
    for number in 0.. {
        if party.ended(world).is_some() {
            return (last, acknowledged);
        }
        assert!(number < 400, "it has written all of that, and its disk was full: {}", party.log(world));
        let mut text = format!("group: ledger-{}\ndescription: number {number}\nprimary: a\n", number % 4);
        text.push_str("members:\n  a: { hosts: { database: db1 } }\n  b: { hosts: { database: db2 } }\n");
        text.push_str("hosts:\n  db1: { address: 127.0.0.1 }\n  db2: { address: 127.0.0.1 }\nvars:\n");
        for line in 0..600 {
            let _ = writeln!(text, "  note{line}: \"{number} {}\"", "x".repeat(200));
        }
        let path = world.write("ledger.yaml", &text);
        let said = world.baton(&["apply", &path.display().to_string(), "--reason", "a test"]);
        // One that lost its leader on the way is not acknowledged; any other is no business of a full disk elsewhere.
        if said.code == 0 {
            (last, acknowledged) = (format!("number {number}"), acknowledged + 1);
        } else {
            assert_eq!(said.code, 6, "{said:?}");
        }
    }
    unreachable!("the loop ends by its bound")
}

fn description(world: &World, text: &str) -> bool {
    (0..4).any(|number| {
        let group = format!("ledger-{number}");
        let view = world.cluster.json(&["status", &group]);
        view.is_ok_and(|view| view["description"] == text || view["groups"][0]["description"] == text)
    })
}

/// `leads`: it is the leader whose disk is full.
fn a_coordinator(leads: bool) {
    if !can_mount() {
        return;
    }
    let (mut world, run) = under_way();
    let number = follower(&world);
    let party = Party::Coordinator(number);
    party.kill(&mut world);
    let data = world.cluster.coordinator_directory(number).join("data");
    let disk = SmallDisk::over(&data, MEBIBYTES);
    party.start(&mut world);
    world.ready(&HOSTS);
    if leads {
        lead(&world, number);
    }

    disk.fill();
    let (last, acknowledged) = write_until_it_ends(&mut world, party);
    let name = format!("c{}", number + 1);
    let file = data.join("log.redb").display().to_string();
    party.ends_saying(&mut world, &["BTN-0164", &name, &file, "No space left on device", "has room"]);
    assert!(acknowledged > 0, "the others took nothing more");
    // Its unit starts it; nothing has changed, whether it is the opening or the first write that finds no room.
    party.ends_again_saying(&mut world, &["BTN-016", &name, &file, "No space left on device", "has room"]);

    finishes(&world, &run);
    disk.free();
    party.start(&mut world);
    whole_again(&mut world);
    has_everything(&world, number, &run, "succeeded");
    // What the cluster acknowledged, it says itself when it leads.
    lead(&world, number);
    assert!(description(&world, &last), "{last} was acknowledged");
    drop(world);
    drop(disk);
}

#[test]
fn a_follower_without_room_for_its_log_ends_and_says_so_and_the_run_goes_on() {
    a_coordinator(false);
}

#[test]
fn a_leader_without_room_for_its_log_ends_and_says_so_and_another_goes_on_with_the_run() {
    a_coordinator(true);
}

#[test]
fn an_agent_without_room_for_its_journal_ends_and_says_so_and_does_nothing_twice() {
    if !can_mount() {
        return;
    }
    let mut world = World::start(&HOSTS);
    let party = Party::Agent("app1");
    party.kill(&mut world);
    let state = world.cluster.agent_directory("app1").join("state");
    let disk = SmallDisk::over(&state, MEBIBYTES);
    party.start(&mut world);
    world.ready(&HOSTS);
    // A line a step, until the journal takes no more.
    let mut steps = String::from("runbook: many\nsteps:\n");
    for number in 0..60 {
        let _ = write!(
            steps,
            "  - name: Line {number}\n    on: app\n    exec.run: {{ argv: [/bin/sh, -c, 'echo {number} >> \"${{vars.files}}/many\"; head -c 14000 /dev/zero | tr \"\\0\" x'], \
             unless: {{ argv: [/bin/sh, -c, 'grep -qx {number} \"${{vars.files}}/many\"'] }} }}\n"
        );
    }
    write(&world, "", &[("many", &steps), ("work", &super::work())]);
    world.write("many", "");
    world.apply("shop");
    disk.fill();
    let run = world.begin(&["run", "shop", "many"]);
    let file = state.join("journal.redb").display().to_string();
    // What finds no room first is the journal, whose agent ends, or a task's own output, which fails the task: both say what to do.
    let ended = eventually("the agent ends, or the run halts", || match party.ended(&mut world) {
        Some(_) => Ok(true),
        None if world.show(&run)["phase"] == "halted" => Ok(false),
        None => Err(party.log(&world)),
    });
    if ended {
        party.says(&world, 0, &["BTN-0451", &file, "No space left on device", "has room"]);
        party.ends_again_saying(&mut world, &["BTN-0451", &file, "No space left on device", "has room"]);
    } else {
        let view = world.show(&run);
        let faults: Vec<&Value> = view["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .flat_map(|step| step["tasks"].as_array().expect("tasks"))
            .map(|task| &task["fault"])
            .filter(|fault| !fault.is_null())
            .collect();
        let [fault] = faults[..] else { panic!("one task failed: {view}") };
        let told = fault.to_string();
        assert!(told.contains("BTN-04") && told.contains("No space left on device"), "{told}");
        assert!(told.contains("has room"), "{told}");
    }
    // The others are asked as ever.
    let said = world.baton(&["status"]);
    assert_eq!(said.code, 0, "{said:?}");
    let before = world.lines("many");

    disk.free();
    if ended {
        party.start(&mut world);
    } else {
        let said = world.baton(&["retry", &run]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    world.ready(&HOSTS);
    world.ends(&run, "succeeded");
    let lines = world.read("many");
    let seen: Vec<usize> = lines.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(seen, (0..60).collect::<Vec<_>>(), "each line once, {before} of them before the disk was freed");
    drop(world);
    drop(disk);
}
