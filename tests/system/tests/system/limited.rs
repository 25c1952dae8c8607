//! What a run leaves out of step is seen by everybody, survives everybody's death, and holds the role until it has rejoined.

use baton_system_tests::{
    PATIENCE, World,
    procedure::{HOSTS, define},
};

const SWITCHOVER: &str = "runbook: switchover
steps:
  - name: Look
    on: old.database
    exec.run: { argv: [/bin/sh, -c, 'exit 0'], repeatable: true }
    register: found
  - role.transfer: {}
  - role.detached:
      member: \"${old.name}\"
      because: \"data movement ${found.exit_code == 0 ? 'paused' : 'lost'} on ${old.database.name}\"
";
const REJOIN: &str = "runbook: rejoin
inputs: { member: { type: string, required: true } }
steps:
  - role.rejoined: { member: \"${input.member}\" }
";

#[test]
fn a_paused_member_is_shown_until_it_has_rejoined_and_the_role_does_not_move() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("switchover", SWITCHOVER), ("rejoin", REJOIN)]);
    let said = world.baton(&["switchover", "shop", "--to", "b", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");

    for number in 0..world.cluster.coordinators() {
        world.cluster.kill_coordinator(number);
    }
    for number in 0..world.cluster.coordinators() {
        world.cluster.start_coordinator(&world.registry, number).expect("restarted");
    }
    world.cluster.wait_for_agents(&HOSTS, PATIENCE).expect("agents on the line");

    let limited = "limited: data movement paused on db1: a is detached since 20";
    for words in [["status"].as_slice(), &["status", "shop"]] {
        let said = world.baton(words);
        assert!(said.stdout.contains(limited) && said.stdout.contains("(shop-1)"), "{said:?}");
    }
    let group = &world.json(&["status", "shop"]);
    let member = group["members"].as_array().into_iter().flatten().find(|member| member["name"] == "a").expect("a");
    assert_eq!((&member["standing"], &member["by"]), (&"detached".into(), &"shop-1".into()), "{group}");
    assert_eq!(member["because"], "data movement paused on db1", "{group}");
    assert!(member["since"].is_u64(), "{group}");

    let why = "detached since shop-1 (data movement paused on db1)";
    world.baton(&["switchover", "shop", "--to", "a", "--yes"]).is_refused("BTN-0133", &[why]);
    world.baton(&["switchover", "shop", "--yes"]).is_refused("BTN-0134", &[why]);

    let said = world.baton(&["run", "shop", "rejoin", "-i", "member=a", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(world.json(&["status", "shop"])["limits"], serde_json::json!([]));
    assert_eq!(world.baton(&["switchover", "shop", "--yes"]).code, 0);
    assert_eq!(world.json(&["status"])["groups"][0]["primary"], "a");
}
