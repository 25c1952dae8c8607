//! Leases and automatic failover as an operator meets them: what is refused, and what is shown.

use baton_system_tests::{
    World,
    procedure::{HOSTS, define, write},
};

const COMPONENTS: &str =
    "components:\n  worker: { on: database, probe: { process: { program: baton-no-such-worker } }, exclusive: true }\n";
const NOTE: &str = "runbook: note\nsteps:\n  - on: app\n    file.line: { path: \"${vars.files}/notes\", line: x }\n";

#[test]
fn a_lease_that_ends_with_each_leader_is_refused_with_the_arithmetic() {
    let world = World::start(&HOSTS);
    write(&world, &format!("{COMPONENTS}lease: 1s\n"), &[("note", NOTE)]);
    let refused = world.baton(&["apply", &world.path("shop.yaml").display().to_string()]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("BTN-0187") && refused.stderr.contains("x 5/4 ="), "{refused:?}");
    assert_eq!(world.json(&["status"])["groups"], serde_json::json!([]), "nothing is defined");
    write(&world, &format!("{COMPONENTS}lease: 5s\n"), &[("note", NOTE)]);
    world.apply("shop");
    let status = world.json(&["status", "shop"]);
    assert_eq!(status["lease"]["lasts"], "5s", "{status}");
    let worker = &status["components"][0];
    assert_eq!((&worker["component"], &worker["exclusive"]), (&"worker".into(), &true.into()), "{status}");
}

#[test]
fn an_operators_words_on_automatic_failover_are_recorded_and_want_a_reason() {
    let world = World::start(&HOSTS);
    define(&world, &[("note", NOTE)]);
    assert_eq!(world.baton(&["auto", "pause", "shop"]).code, 2, "a reason is asked for");
    let refused = world.baton(&["auto", "pause", "shop", "-r", " "]);
    assert!(refused.code == 5 && refused.stderr.contains("BTN-0122"), "{refused:?}");
    assert_eq!(world.baton(&["auto", "pause", "shop", "-r", "a disk is replaced"]).code, 0);
    let status = world.json(&["status", "shop"]);
    assert_eq!(status["automatic"]["paused"]["why"], "a disk is replaced", "{status}");
    let table = world.baton(&["status", "shop"]);
    assert!(table.stdout.contains("paused since") && table.stdout.contains("a disk is replaced"), "{table:?}");
    assert_eq!(world.baton(&["auto", "resume", "shop"]).code, 0);
    assert!(world.json(&["status", "shop"])["automatic"]["paused"].is_null());
    assert_eq!(world.baton(&["auto", "rearm", "nobody", "-r", "x"]).code, 4, "there is no such group");
}
