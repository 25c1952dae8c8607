//! A secret's value is where it belongs, and nowhere else: not in a file of a coordinator or an agent, not in a log at any
//! level, not in anything that the command says.

use std::collections::BTreeMap;

use baton_system_tests::{
    Said, World, eventually,
    procedure::{HOSTS, define},
    search::{files, files_with, holds},
    world::Setting,
};

/// With everything that some encoding escapes.
const VALUE: &str = "c0rrect \"horse\\ b@tterY/staple+7é";
/// Not secret: what must be found, so that a search that finds nothing means something.
const MARKER: &str = "marker-that-may-be-seen-4711";

const USE: &str = r#"runbook: use
inputs: { why: { type: string, default: marker-that-may-be-seen-4711 } }
steps:
  - name: In the environment
    on: app
    exec.run:
      argv: [/bin/sh, -c, 'test -n "$PASSWORD" && printf %s "$PASSWORD" > "$0"; echo marker-that-may-be-seen-4711', "${vars.files}/target.environment"]
      environment: { PASSWORD: "${secret('fdb')}" }
      creates: "${vars.files}/target.environment"
    undo:
      exec.run:
        argv: [/bin/sh, -c, 'echo "undone with $PASSWORD"; echo "$PASSWORD" >&2']
        environment: { PASSWORD: "${secret('fdb')}" }
  - name: On standard input
    on: app
    exec.run: { argv: [/bin/sh, -c, 'cat; sleep 0.1; cat /proc/self/environ'], stdin: "stdin ${secret('fdb')} end" }
  - name: In a file
    on: app
    file.properties: { path: "${vars.files}/target.properties", set: { "db.password": "${secret('fdb')}", "note": "${input.why}" } }
    undo: { file.restore: { path: "${vars.files}/target.properties" } }
  - name: A whole file
    on: app
    file.template: { path: "${vars.files}/target.template", content: "password ${secret('fdb')}\n" }
    undo: { file.restore: { path: "${vars.files}/target.template" } }
  - name: Says it and fails
    on: app
    exec.run:
      argv: [/bin/sh, -c, 'echo "my password is $PASSWORD"; printf "%s" "$PASSWORD" >&2; for part in 1 2 3; do printf "%s" "$PASSWORD"; sleep 0.1; done; seq 1 9000; echo "$PASSWORD"; exit 3']
      environment: { PASSWORD: "${secret('fdb')}" }
  - name: Never
    on: app
    exec.run: { argv: [/bin/sh, -c, 'exit 1'] }
"#;

/// One that is at work while everybody is killed: it is in the journal, not yet begun to be forgotten.
const HELD: &str = r#"runbook: held
steps:
  - on: app
    exec.run:
      argv: [/bin/sh, -c, '/bin/sh "$0/gate.sh" "$0" held; echo "marker-that-may-be-seen-4711 and $PASSWORD"; exit 5', "${vars.files}"]
      environment: { PASSWORD: "${secret('fdb')}" }
"#;

/// One whose value is told in pieces: the redaction must hold back what may become it.
const PIECES: &str = r#"runbook: pieces
steps:
  - on: app
    exec.run:
      argv: [/bin/sh, -c, 'a=${PASSWORD%%horse*}; printf "%s" "$a"; sleep 0.3; printf "%s" "${PASSWORD#"$a"}"; echo; exit 4']
      environment: { PASSWORD: "${secret('fdb')}" }
"#;

#[test]
fn a_secret_is_found_nowhere_but_where_it_belongs() {
    let secrets = BTreeMap::from([("fdb".to_owned(), format!("{VALUE}\n"))]);
    let mut world = World::with(&HOSTS, &Setting { secrets, log: Some("trace".to_owned()) });
    world.write("target.properties", "# mine\ndb.password=old\n");
    let pieces = PIECES.replace("${PASSWORD%%", "$${PASSWORD%%").replace("${PASSWORD#", "$${PASSWORD#");
    define(&world, &[("use", USE), ("pieces", &pieces), ("held", HELD)]);
    let mut said: Vec<Said> = Vec::new();
    let mut say = |world: &World, arguments: &[&str], code: i32| {
        for format in ["table", "json"] {
            let mut all = arguments.to_vec();
            all.extend(["-o", format]);
            let answer = world.baton(&all);
            assert_eq!(answer.code, code, "{answer:?}");
            said.push(answer);
        }
    };

    say(&world, &["plan", "shop", "use"], 0);
    let started = world.baton(&["run", "shop", "use", "--yes"]);
    assert_eq!(started.code, 3, "{started:?}");
    say(&world, &["watch", "shop-1"], 3);
    say(&world, &["show", "shop-1"], 3 - 3);
    // It was used, so that there is something to hide.
    assert_eq!(world.read("target.environment"), VALUE);
    assert!(world.read("target.properties").contains("marker-that"), "{}", world.read("target.properties"));
    assert_eq!(world.read("target.template"), format!("password {VALUE}\n"));
    let failed = &world.show("shop-1")["steps"][4]["tasks"][0];
    assert_eq!(failed["fault"]["code"], "BTN-0533", "{failed}");
    let head = failed["output"]["head"].as_str().expect("output");
    assert!(head.contains("my password is [secret fdb]"), "{head}");
    for step in ["1", "2", "5"] {
        say(&world, &["output", "shop-1", step, "app1"], 0);
    }
    // In place now: the diff of a dry run has nothing to show; then differing, with the value on the other side.
    say(&world, &["plan", "shop", "use"], 0);
    world.write("target.properties", "# mine\ndb.password=else\n");
    say(&world, &["plan", "shop", "use"], 0);
    let retried = world.baton(&["retry", "shop-1", "--watch"]);
    assert_eq!(retried.code, 3, "{retried:?}");
    let aborted = world.baton(&["abort", "shop-1", "--reason", "a test", "--watch"]);
    assert_eq!(aborted.code, 1, "{aborted:?}");
    let undone = world.show("shop-1");
    assert!(undone.to_string().contains("undone with [secret fdb]"), "{undone}");
    say(&world, &["show", "shop-1"], 0);
    let pieces = world.baton(&["run", "shop", "pieces", "--yes"]);
    assert_eq!(pieces.code, 3, "{pieces:?}");
    let output = world.show("shop-2")["steps"][0]["tasks"][0]["output"].clone();
    assert_eq!(output["head"], "[secret fdb]\n", "both halves are one value: {output}");
    say(&world, &["show", "shop-2"], 0);
    say(&world, &["output", "shop-2", "1", "app1"], 0);
    said.extend([started, retried, aborted, pieces]);

    assert_eq!(world.baton(&["abort", "shop-2", "--reason", "a test"]).code, 0);
    // Nobody is there to hear how it ends: the report stays in the journal.
    world.begin(&["run", "shop", "held"]);
    world.begun("held", 1);
    (0..3).for_each(|number| world.cluster.kill_coordinator(number));
    world.release("held");
    let journal = world.cluster.agent_directory("app1").join("state/journal.redb");
    eventually("the report is in the journal", || {
        let bytes = std::fs::read(&journal).map_err(|error| error.to_string())?;
        if String::from_utf8_lossy(&bytes).contains("and [secret fdb]") { Ok(()) } else { Err("not yet".to_owned()) }
    });
    HOSTS.iter().for_each(|host| world.cluster.kill_agent(host));
    look(&world, &said);
}

fn look(world: &World, said: &[Said]) {
    for answer in said {
        let text = format!("{}\n{}", answer.stdout, answer.stderr);
        assert_eq!(holds(text.as_bytes(), VALUE), None, "{text}");
    }
    let root = world.root().canonicalize().expect("real");
    let mut allowed: Vec<_> = HOSTS.iter().map(|host| root.join("baton").join(host).join("secrets/fdb")).collect();
    allowed.extend(["target.environment", "target.template"].map(|name| world.path(name)));
    let found = files_with(&root, VALUE);
    for path in &allowed {
        assert!(
            !path.exists() || found.iter().any(|(file, _)| file == path),
            "the search misses {}: it is worth nothing",
            path.display()
        );
    }
    let elsewhere: Vec<_> = found.iter().filter(|(path, _)| !allowed.contains(path)).collect();
    assert!(elsewhere.is_empty(), "the secret is in {elsewhere:#?}");
    // What is not secret is in all these places, so they were looked at.
    let marked: Vec<String> = files_with(&root, MARKER).iter().map(|(path, _)| path.display().to_string()).collect();
    for place in ["c1/data/log.redb", "c2/data/log.redb", "c3/data/log.redb", "app1/state/journal.redb"] {
        assert!(marked.iter().any(|path| path.ends_with(place)), "no marker in {place}: {marked:#?}");
    }
    let logs = files(&root).into_iter().filter(|path| path.ends_with("log"));
    let traced = logs.filter(|path| std::fs::read_to_string(path).is_ok_and(|log| log.contains("TRACE")));
    assert_eq!(traced.count(), 6, "three coordinators and three agents log everything");
}
