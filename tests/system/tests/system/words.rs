//! An operator's words on a run: halt, retry, skip, resume, abort, confirm, approve; and what nobody knows.

use baton_platform::identity::Role;
use baton_system_tests::{
    World, eventually,
    procedure::{HOSTS, define, gate},
    world::told,
};

/// Fails until there is a file `good`; counts its performances.
const FLAKY: &str =
    "exec.run: { argv: [/bin/sh, -c, 'echo x >> \"$0/tries\"; test -e \"$0/good\"', \"${vars.files}\"] }";

fn appends(on: &str, line: &str, undo: &str) -> String {
    format!(
        "on: {on}\n    exec.run: {{ argv: [/bin/sh, -c, 'echo {line} >> \"$0/order\"', \"${{vars.files}}\"], unless: {{ argv: [/bin/sh, -c, 'grep -qx {line} \"$0/order\"', \"${{vars.files}}\"] }} }}\n    undo: {{ exec.run: {{ argv: [/bin/sh, -c, 'echo {undo} >> \"$0/order\"', \"${{vars.files}}\"] }} }}\n"
    )
}

#[test]
fn a_halted_run_is_retried_or_left_out_with_a_reason() {
    let world = World::start(&HOSTS);
    let runbook = format!(
        "runbook: work\nsteps:\n  - name: Flaky\n    on: app\n    {FLAKY}\n  - name: After\n    {}",
        gate("app", "after")
    );
    define(&world, &[("work", &runbook)]);
    world.release("after");

    let said = world.baton(&["run", "shop", "work", "--yes"]);
    assert_eq!((said.code, world.lines("tries"), world.effects("after")), (3, 1, 0), "{said:?}");
    world.baton(&["resume", "shop-1"]).is_refused("BTN-0123", &["step 1", "BTN-0533", "baton retry shop-1"]);
    world.baton(&["skip", "shop-1"]).is_refused("BTN-0122", &["--reason"]);
    world.baton(&["retry", "shop-1", "2"]).is_refused("BTN-0119", &["1 on app1"]);
    assert_eq!(world.baton(&["retry", "shop-1", "--watch"]).code, 3);
    assert_eq!((world.lines("tries"), world.effects("after")), (2, 0));
    world.write("good", "");
    assert_eq!(world.baton(&["retry", "shop-1", "1", "--host", "app1", "--watch"]).code, 0);
    let view = world.ends("shop-1", "succeeded");
    assert_eq!(view["steps"][0]["tasks"][0]["attempt"], 3, "{view}");
    assert_eq!((world.lines("tries"), world.effects("after")), (3, 1));
    world.baton(&["retry", "shop-1"]).is_refused("BTN-01", &["succeeded"]);

    std::fs::remove_file(world.path("good")).expect("removed");
    assert_eq!(world.baton(&["run", "shop", "work", "--yes"]).code, 3);
    assert_eq!(world.baton(&["skip", "shop-2", "1", "--reason", "done by hand", "--watch"]).code, 0);
    let view = world.ends("shop-2", "succeeded");
    let task = &view["steps"][0]["tasks"][0];
    assert_eq!(task["state"], "skipped", "{view}");
    assert!(task["summary"].as_str().expect("why").contains("operator: done by hand"), "who and why: {view}");
}

#[test]
fn an_abort_undoes_in_reverse_order_what_was_done() {
    let world = World::start(&HOSTS);
    let runbook = format!(
        "runbook: switchover\nsteps:\n  - name: One\n    {}  - name: Two\n    {}  - name: Flaky\n    on: app\n    {FLAKY}\n  - role.transfer: {{}}\n",
        appends("old.database", "one", "undo-one"),
        appends("app", "two", "undo-two"),
    );
    let after = format!(
        "runbook: after\nsteps:\n  - name: One\n    {}  - role.transfer: {{}}\n  - name: Flaky\n    on: app\n    {FLAKY}\n",
        appends("old.database", "three", "undo-three"),
    );
    define(&world, &[("switchover", &runbook), ("after", &after)]);
    assert_eq!(world.baton(&["switchover", "shop", "--to", "b", "--yes"]).code, 3);
    assert_eq!(world.read("order"), "one\ntwo\n");
    let said = world.baton(&["abort", "shop-1", "--reason", "changed my mind", "--watch"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(world.read("order"), "one\ntwo\nundo-two\nundo-one\n");
    let view = world.ends("shop-1", "rolled back");
    assert_eq!(view["transferred"], false);
    assert_eq!(world.json(&["status"])["groups"][0]["primary"], "a");

    assert_eq!(world.baton(&["run", "shop", "after", "--to", "b", "--yes"]).code, 3);
    let said = world.baton(&["abort", "shop-2", "--reason", "changed my mind", "--watch"]);
    assert_eq!(said.code, 1, "{said:?}");
    let view = world.ends("shop-2", "aborted");
    let why = view["why"].as_str().expect("why");
    assert!(why.contains("b is primary") && why.contains("switchover to a"), "it says so instead of guessing: {why}");
    assert_eq!(world.read("order"), "one\ntwo\nundo-two\nundo-one\nthree\n", "nothing is undone after the role moved");
    let group = &world.json(&["status"])["groups"][0];
    assert_eq!((&group["primary"], &group["epoch"]), (&"b".into(), &2.into()));
}

#[test]
fn an_undo_that_fails_halts_the_abort_until_somebody_decides() {
    let world = World::start(&HOSTS);
    let undo = FLAKY.replace("tries", "undone");
    let runbook = format!(
        "runbook: work\nsteps:\n  - name: One\n    on: app\n    exec.run: {{ argv: [/bin/sh, -c, 'exit 0'] }}\n    undo: {{ {undo} }}\n  - name: Flaky\n    on: app\n    {FLAKY}\n"
    );
    define(&world, &[("work", &runbook)]);
    assert_eq!(world.baton(&["run", "shop", "work", "--yes"]).code, 3);
    let said = world.baton(&["abort", "shop-1", "--reason", "a test", "--watch"]);
    assert_eq!(said.code, 3, "{said:?}");
    let view = world.show("shop-1");
    assert_eq!(view["phase"], "abort halted", "{}", told(&view));
    world.write("good", "");
    assert_eq!(world.baton(&["retry", "shop-1", "--watch"]).code, 1);
    world.ends("shop-1", "rolled back");
    assert_eq!((world.lines("tries"), world.lines("undone")), (1, 2));
}

#[test]
fn a_person_confirms_and_a_second_one_approves() {
    let world = World::start(&HOSTS);
    let runbook = format!(
        "runbook: work\nprechecks:\n  - confirm: Is the shop closed?\nsteps:\n  - name: Sign\n    approval: May ${{vars.files}} be changed?\n  - name: Work\n    {}",
        gate("app", "work")
    );
    define(&world, &[("work", &runbook)]);
    world.release("work");
    let said = world.baton_as("otto", Role::Approver, &["run", "shop", "work", "--yes"]);
    assert_eq!(said.code, 3, "{said:?}");
    let view = world.show("shop-1");
    assert_eq!((&view["waiting"], &view["phase"]), (&true.into(), &"running".into()), "{view}");
    assert_eq!(view["steps"][0]["question"], "Is the shop closed?", "{view}");
    assert_eq!(world.baton_as("otto", Role::Approver, &["confirm", "shop-1"]).code, 0);
    let waits = |view: &serde_json::Value| view["steps"][1]["state"] == "waiting";
    world.until("shop-1", "waits for an approval", waits);
    world.baton_as("otto", Role::Approver, &["confirm", "shop-1"]).is_refused("BTN-0151", &["baton approve"]);
    world.baton_as("otto", Role::Approver, &["approve", "shop-1"]).is_refused("BTN-0117", &["otto"]);
    world.baton_as("otto", Role::Approver, &["skip", "shop-1", "1", "-r", "x"]).is_refused("BTN-0117", &["otto"]);
    world.baton_as("anna", Role::Operator, &["approve", "shop-1"]).is_refused("BTN-0305", &["takes approver"]);
    assert_eq!(world.effects("work"), 0);
    assert_eq!(world.baton_as("anne", Role::Approver, &["approve", "shop-1"]).code, 0);
    let view = world.ends("shop-1", "succeeded");
    assert!(view["steps"][1]["note"].as_str().expect("a note").contains("approved by"), "{view}");
    assert_eq!(world.effects("work"), 1);
    world.baton(&["confirm", "shop-1"]).is_refused("BTN-01", &["shop-1"]);
}

#[test]
fn what_nobody_knows_is_unknown_until_the_agent_returns() {
    let mut world = World::start(&HOSTS);
    // No `creates`: nobody can see whether it has run.
    let blind = gate("app", "work").split(", creates").next().expect("a step").to_owned() + " }\n    timeout: 1s\n";
    define(&world, &[("work", &format!("runbook: work\nsteps:\n  - name: Blind\n    {blind}"))]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("work", 1);
    world.cluster.kill_agent("app1");
    // A second of its own, and thirty of grace.
    let view = world.until(&run, "halts", |view| view["phase"] == "halted");
    let task = &view["steps"][0]["tasks"][0];
    assert_eq!((&task["state"], &task["fault"]["code"]), (&"unknown".into(), &"BTN-0121".into()), "{view}");
    assert!(task["fault"]["remedy"].as_str().expect("a remedy").contains(&format!("baton retry {run}")), "{view}");
    assert_eq!(world.baton(&["watch", &run]).code, 3);
    // It does not act by itself when it comes back: it is asked first.
    world.cluster.start_agent(&world.registry, "app1").expect("started");
    world.ready(&["app1"]);
    let word = world.baton(&["skip", &run, "--reason", "looked: not done"]);
    assert_eq!(word.code, 0, "{word:?}");
    world.ends(&run, "succeeded");
    world.release("work");
    assert_eq!((world.lines("begun.work"), world.effects("work")), (1, 0), "ended, and never begun again");
}

#[test]
fn a_dead_host_is_skipped_where_the_step_allows_it_and_halts_nothing_else() {
    let mut world = World::start(&HOSTS);
    let runbook = format!(
        "runbook: work\nsteps:\n  - name: Tell everybody\n    on: [app, old.database]\n    unreachable: skip\n    exec.run: {{ argv: [/bin/sh, -c, 'echo told >> \"$0/told\"', \"${{vars.files}}\"] }}\n  - name: Work\n    {}",
        gate("old.database", "work")
    );
    define(&world, &[("work", &runbook)]);
    world.release("work");
    world.cluster.kill_agent("app1");
    eventually("app1 is off the line", || {
        let hosts = world.json(&["hosts"]);
        let app = hosts.as_array().into_iter().flatten().find(|host| host["name"] == "app1").cloned();
        let reached = app.map(|host| host["reached_by"].to_string()).unwrap_or_default();
        if reached == "[]" { Ok(()) } else { Err(reached) }
    });
    let plan = world.json(&["plan", "shop", "work"]);
    assert!(plan["warnings"].to_string().contains("would be skipped on app1"), "{plan}");
    assert_eq!(world.baton(&["run", "shop", "work", "--yes"]).code, 0);
    let view = world.show("shop-1");
    let tasks = view["steps"][0]["tasks"].as_array().expect("tasks");
    let of = |host: &str| tasks.iter().find(|task| task["host"] == host).expect("a task");
    assert_eq!((&of("app1")["state"], &of("db1")["state"]), (&"skipped".into(), &"changed".into()), "{view}");
    assert!(of("app1")["summary"].as_str().expect("why").contains("of 3 coordinators"), "the evidence: {view}");
    assert_eq!((world.lines("told"), world.effects("work")), (1, 1));
}
