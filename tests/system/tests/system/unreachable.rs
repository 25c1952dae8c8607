//! The coordinators themselves prove that a service is gone: with real sockets, and with a coordinator that is gone too.

use std::net::TcpListener;

use baton_system_tests::{
    World,
    procedure::{HOSTS, gate, write},
    world::told,
};

fn define(world: &World, port: u16, from: u32) {
    let runbook = format!(
        "runbook: work\nprechecks:\n  - name: The chat is gone\n    on: app\n    coordinators.unreachable: {{ tcp: [\"${{host.address}}:{port}\"], from: {from} }}\n    guard: alive\nsteps:\n  - name: Work\n    {}",
        gate("app", "work")
    );
    write(world, "", &[("work", &runbook)]);
    world.apply("shop");
}

#[test]
fn a_service_that_answers_one_coordinator_stops_the_run_and_a_dead_one_is_proven_by_two() {
    let mut world = World::start(&HOSTS);
    world.release("work");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    define(&world, port, 2);

    let said = world.baton(&["run", "shop", "work", "--yes"]);
    assert_eq!((said.code, world.lines("begun.work")), (3, 0), "{said:?}");
    let view = world.show("shop-1");
    let why = view["why"].as_str().expect("why");
    assert!(why.contains(&format!("it is not unreachable: c1 connects to 127.0.0.1:{port}; c2 connects")), "{why}");
    assert_eq!(view["steps"][0]["state"], "failed", "{}", told(&view));

    // It dies, and so does a coordinator: the word of the two that are left is enough.
    drop(listener);
    let leader = world.cluster.leader().expect("a leader");
    world.cluster.kill_coordinator(leader);
    assert_eq!(world.baton(&["retry", "shop-1", "--watch"]).code, 0);
    let view = world.ends("shop-1", "succeeded");
    let note = view["steps"][0]["note"].as_str().expect("a note");
    assert!(note.starts_with("2 of 3 coordinators could connect to nothing. Seen: c"), "{note}");
    assert!(
        note.contains(&format!("127.0.0.1:{port} not (refused)")) && !note.contains(&format!("c{}:", leader + 1)),
        "{note}"
    );
    let lines = view["history"].as_array().into_iter().flatten().filter_map(|line| line["what"].as_str());
    let lines: Vec<&str> = lines.filter(|what| what.starts_with("step p1: ")).collect();
    assert_eq!(lines.len(), 2, "both verdicts are on the record: {lines:?}");

    // Three are asked for, and two are left; then more than there are. An override asks nobody.
    define(&world, port, 3);
    let said = world.baton(&["run", "shop", "work", "--yes"]);
    assert_eq!(said.code, 3, "{said:?}");
    let why = world.show("shop-2")["why"].to_string();
    assert!(why.contains("the word of 3 coordinators is wanted, and 2 of 3 could tell"), "{why}");
    assert_eq!(world.baton(&["abort", "shop-2", "--reason", "a test", "--watch"]).code, 1);
    define(&world, port, 4);
    let warnings = world.json(&["plan", "shop", "work"])["warnings"].to_string();
    assert!(warnings.contains("would fail: it takes the word of 4 coordinators, and the cluster has 3"), "{warnings}");
    let said = world.baton(&["run", "shop", "work", "--yes"]);
    assert_eq!(said.code, 3, "{said:?}");
    let why = world.show("shop-3")["why"].to_string();
    assert!(why.contains("it takes the word of 4 coordinators, and the cluster has 3"), "{why}");
    assert_eq!(world.baton(&["abort", "shop-3", "--reason", "a test", "--watch"]).code, 1);
    let over = ["run", "shop", "work", "--yes", "--override", "alive=seen by eye"];
    assert_eq!(world.baton(&over).code, 0);
    let view = world.ends("shop-4", "succeeded");
    let step = &view["steps"][0];
    assert_eq!((&step["state"], &step["note"]), (&"skipped".into(), &"alive is overridden: seen by eye".into()));
    assert_eq!(world.effects("work"), 1, "it is done once, and found in place afterwards");
}
