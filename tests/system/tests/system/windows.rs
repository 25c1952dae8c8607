//! A step that waits for its maintenance window: visibly, over every death, until an operator opens it or it is open by the
//! coordinators' own clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use baton_system_tests::{
    PATIENCE, World, eventually,
    procedure::{HOSTS, gate, write},
    world::told,
};

/// `HH:MM` in UTC, so many hours from now.
fn hours_from_now(hours: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let minutes = now.saturating_add_signed(hours * 3600) / 60;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// The group with the window `later`, which opens in three hours, and `present`, which opened an hour ago.
fn define(world: &World, window: &str) {
    let runbook = format!(
        "runbook: work\nsteps:\n  - name: Before\n    {}  - together:\n      - name: At night\n        window: {window}\n        {}      - name: Beside it\n        {}",
        gate("app", "${group.name}.before"),
        gate("app", "night").replace("\n    ", "\n        "),
        gate("old.database", "beside").replace("\n    ", "\n        "),
    );
    let windows = format!(
        "windows:\n  later: {{ from: \"{}\", to: \"{}\", time_zone: Etc/UTC }}\n  present: {{ from: \"{}\", to: \"{}\", time_zone: Europe/Berlin }}\n",
        hours_from_now(3),
        hours_from_now(4),
        // In Berlin it is one hour later than in London, or two.
        hours_from_now(0),
        hours_from_now(4),
    );
    write(world, &windows, &[("work", &runbook)]);
    world.apply("shop");
    for gate in ["shop.before", "night", "beside"] {
        world.release(gate);
    }
}

fn waits(world: &World, run: &str) {
    let view = world.until(run, "waits for its window", |view| {
        view["why"].as_str().is_some_and(|why| why.starts_with("step 2.1 waits for window later, which opens 20"))
    });
    assert_eq!((&view["phase"], &view["waiting"]), (&"running".into(), &false.into()), "{}", told(&view));
    assert_eq!((world.effects("shop.before"), world.lines("begun.night"), world.lines("begun.beside")), (1, 0, 0));
}

#[test]
fn a_step_waits_for_its_window_over_every_death_until_an_operator_opens_it() {
    let mut world = World::start(&HOSTS);
    define(&world, "later");
    let plan = world.json(&["plan", "shop", "work"]);
    let warning = plan["warnings"].as_array().and_then(|all| all.last()).expect("a warning").to_string();
    assert!(warning.contains("would wait for window later, which opens 20"), "{plan}");
    let run = world.begin(&["run", "shop", "work"]);
    waits(&world, &run);
    for words in [["status"].as_slice(), &["status", "shop"], &["show", &run]] {
        let said = world.baton(words);
        assert!(said.stdout.contains("waits for window later, which opens 20"), "{said:?}");
    }
    // The leader, then everybody: who comes after computes the same answer.
    let leader = world.cluster.leader().expect("a leader");
    world.cluster.kill_coordinator(leader);
    waits(&world, &run);
    world.cluster.start_coordinator(&world.registry, leader).expect("restarted");
    for number in 0..world.cluster.coordinators() {
        world.cluster.kill_coordinator(number);
    }
    for number in 0..world.cluster.coordinators() {
        world.cluster.start_coordinator(&world.registry, number).expect("restarted");
    }
    world.cluster.wait_for_agents(&HOSTS, PATIENCE).expect("agents on the line");
    waits(&world, &run);

    world.baton(&["confirm", &run, "2.1", "--reason", "yes"]).is_refused("BTN-0116", &["2.1"]);
    world.baton(&["override", &run, "window"]).is_refused("BTN-0122", &["--reason"]);
    world.baton(&["override", &run, "windwo", "--reason", "hurry"]).is_refused("BTN-0138", &["window"]);
    assert_eq!(world.baton(&["override", &run, "window", "--reason", "the manager said so", "--watch"]).code, 0);
    let view = world.ends(&run, "succeeded");
    assert_eq!((world.effects("night"), world.effects("beside")), (1, 1));
    let history = view["history"].as_array().expect("a record");
    let line = history.iter().find(|line| line["what"] == "override of window").expect("on the record");
    assert_eq!(line["author"]["why"], "the manager said so", "{line}");
}

#[test]
fn a_window_that_is_open_opens_by_the_clocks_of_most_coordinators() {
    let mut world = World::start(&HOSTS);
    define(&world, "present");
    // One coordinator cannot be asked: two of three are most.
    let leader = world.cluster.leader().expect("a leader");
    let other = (leader + 1) % world.cluster.coordinators();
    world.cluster.kill_coordinator(other);
    let run = world.begin(&["run", "shop", "work"]);
    let view = world.ends(&run, "succeeded");
    assert_eq!((world.effects("night"), world.effects("beside")), (1, 1));
    let opened = eventually("the record of it", || {
        let lines = view["history"].as_array().into_iter().flatten();
        let mut lines = lines.filter_map(|line| line["what"].as_str());
        lines.find(|what| what.starts_with("window present is open")).map(str::to_owned).ok_or(told(&view))
    });
    assert!(opened.contains("by the clocks of 2 of 3 coordinators") && opened.contains("step 2.1 begins"), "{opened}");
}
