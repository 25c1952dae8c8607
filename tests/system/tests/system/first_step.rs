//! One step end to end, as an operator meets it: apply, plan, run, show, runs; documents and exit codes.

use baton_system_tests::{
    World,
    procedure::{HOSTS, define, write},
};

const NOTE: &str = "runbook: note
description: Writes a line
inputs: { text: { type: string, required: true } }
steps:
  - name: Write it down
    on: app
    file.line: { path: \"${vars.files}/notes\", line: \"${input.text}\" }
    undo: { file.restore: { path: \"${vars.files}/notes\" } }
";
const FALSE: &str = "runbook: broken
steps:
  - name: Fail
    on: app
    exec.run: { argv: [/bin/sh, -c, \"echo it went wrong >&2; exit 7\"] }
";

#[test]
fn one_step_from_the_file_to_the_effect() {
    let world = World::start(&HOSTS);
    world.write("notes", "first\n");
    write(&world, "", &[("note", NOTE)]);
    let group = world.path("shop.yaml").display().to_string();

    let dry = world.json(&["apply", "--dry-run", &group]);
    assert_eq!((&dry["changes"][0]["change"], &dry["changes"][0]["revision"]), (&"created".into(), &1.into()), "{dry}");
    assert_eq!(world.json(&["status"])["groups"], serde_json::json!([]), "a dry run defines nothing");
    let applied = world.json(&["apply", &group]);
    assert_eq!(applied["changes"][0]["group"], "shop");
    assert_eq!(applied["changes"][0]["runbooks"], serde_json::json!(["note"]));
    assert_eq!(world.json(&["apply", &group])["changes"][0]["change"], "unchanged");

    let plan = world.json(&["plan", "shop", "note", "-i", "text=second"]);
    let observed = &plan["observations"][0];
    assert_eq!(
        (&observed["host"], &observed["observation"]["observed"]),
        (&"app1".into(), &"differs".into()),
        "{plan}"
    );
    let change = observed["observation"]["change"].as_str().expect("a change");
    assert!(change.contains("+second"), "{change}");
    assert_eq!(plan["digest"].as_str().map(str::len), Some(64), "{plan}");
    let table = world.baton(&["plan", "shop", "note", "-i", "text=second"]);
    assert!(table.code == 0 && table.stdout.contains("+second") && table.stdout.contains("Write it down"), "{table:?}");
    assert_eq!(world.read("notes"), "first\n", "a plan changes nothing");

    let run = world.baton(&["run", "shop", "note", "-i", "text=second", "--yes"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(world.read("notes"), "first\nsecond\n");

    let shown = world.show("shop-1");
    assert_eq!(
        (&shown["phase"], &shown["over"], &shown["waiting"]),
        (&"succeeded".into(), &true.into(), &false.into())
    );
    assert_eq!(shown["digest"], plan["digest"], "what was shown is what ran");
    let task = &shown["steps"][0]["tasks"][0];
    assert_eq!((&task["state"], &task["attempt"]), (&"changed".into(), &1.into()), "{shown}");
    assert_eq!(shown["started"]["who"], serde_json::json!({"kind": "operator", "name": "operator"}), "{shown}");
    let again = world.json(&["plan", "shop", "note", "-i", "text=second"]);
    assert_eq!(again["observations"][0]["observation"]["observed"], "in_place", "{again}");
    assert_eq!(world.baton(&["run", "shop", "note", "-i", "text=second", "--yes"]).code, 0);
    assert_eq!(world.show("shop-2")["steps"][0]["tasks"][0]["state"], "unchanged");
    let runs = world.json(&["runs", "shop"]);
    let names: Vec<&str> = runs.as_array().expect("a list").iter().filter_map(|run| run["id"].as_str()).collect();
    assert_eq!(names, ["shop-2", "shop-1"]);
    let status = world.json(&["status"]);
    let group = &status["groups"][0];
    assert_eq!((&group["primary"], &group["epoch"], &group["revision"]), (&"a".into(), &1.into(), &1.into()));
    assert_eq!(status["cluster"]["members"].as_array().map(Vec::len), Some(3));
}

#[test]
fn exit_codes_say_how_it_went() {
    let world = World::start(&HOSTS);
    define(&world, &[("note", NOTE), ("broken", FALSE)]);
    let usage = world.baton(&["frobnicate"]);
    assert_eq!(usage.code, 2, "{usage:?}");
    let file = world.write("wrong.yaml", "group: wrong\nprimery: a\n");
    let wrong = world.baton(&["apply", &file.display().to_string()]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(format!("{}{}", wrong.stdout, wrong.stderr).contains("wrong.yaml:2:1"), "{wrong:?}");
    world.baton(&["run", "shop", "note", "--yes"]).is_refused("BTN-0130", &["text", "-i name=value"]);
    world.baton(&["run", "shop", "note", "-i", "text=x"]).is_refused("BTN-0807", &["--yes"]);
    world.baton(&["show", "shop-9"]).is(4, "BTN-0111", &["shop-9", "baton runs"]);
    world.baton(&["plan", "nothing", "note"]).is(4, "BTN-0110", &["nothing", "shop"]);
    world.baton(&["plan", "shop", "nothing"]).is(4, "BTN-01", &["nothing", "note"]);

    let halted = world.baton(&["run", "shop", "broken", "--yes"]);
    assert_eq!(halted.code, 3, "{halted:?}");
    assert_eq!(world.baton(&["watch", "shop-1"]).code, 3);
    let view = world.show("shop-1");
    let task = &view["steps"][0]["tasks"][0];
    assert_eq!((&task["state"], &task["fault"]["code"]), (&"failed".into(), &"BTN-0533".into()), "{view}");
    assert!(task["output"]["head"].as_str().expect("output").contains("it went wrong"), "{view}");
    let output = world.baton(&["output", "shop-1", "1", "app1"]);
    assert!(output.code == 0 && output.stdout.contains("it went wrong"), "{output:?}");
    world.baton(&["abort", "shop-1"]).is_refused("BTN-0122", &["--reason"]);
    let aborted = world.baton(&["abort", "shop-1", "--reason", "a test", "--watch"]);
    assert_eq!(aborted.code, 1, "{aborted:?}");

    let nobody = world.baton(&["--coordinator", "127.0.0.1:9", "--timeout", "2s", "status"]);
    nobody.is(6, "BTN-0803", &["127.0.0.1:9"]);
    let document = world.baton(&["-o", "json", "show", "shop-9"]);
    let error: serde_json::Value = serde_json::from_str(&document.stderr).expect("a document");
    assert_eq!((document.code, &error["error"]["code"]), (4, &"BTN-0111".into()), "{document:?}");
}
