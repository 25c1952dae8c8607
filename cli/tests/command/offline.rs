//! Commands that need no cluster, through the real binary.

use crate::baton::{command, end, run};

const RUNBOOK: &str = "runbook: switchover\ndescription: Move it\nkind: planned\nsteps:\n  - name: Stop\n    on: old.database\n    service.stop: { name: POM }\n  - role.transfer: {}\n";
const GROUP: &str = "group: pom\nmembers:\n  db1: { hosts: { database: db1 } }\n  db2: { hosts: { database: db2 } }\nprimary: db1\nhosts:\n  db1: { address: 127.0.0.1 }\n  db2: { address: 127.0.0.2 }\nrunbooks:\n  switchover: books/switchover.yaml\n";

fn files(runbook: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("books")).unwrap();
    std::fs::write(directory.path().join("pom.yaml"), GROUP).unwrap();
    std::fs::write(directory.path().join("books/switchover.yaml"), runbook).unwrap();
    directory
}

#[test]
fn check_follows_a_group_to_its_runbooks_and_says_where_what_is_wrong() {
    let directory = files(RUNBOOK);
    let good = run(directory.path(), &["check", "pom.yaml"]).expect(0);
    assert_eq!((good.stdout.as_str(), good.stderr.as_str()), ("", "2 files checked, nothing wrong\n"));

    let directory = files(&RUNBOOK.replace("service.stop", "sevice.stop").replace("on:", "onn:"));
    let bad = run(directory.path(), &["check", "pom.yaml"]).expect(2);
    assert!(bad.stdout.lines().count() >= 2, "{}", bad.stdout);
    assert!(bad.stdout.lines().all(|line| line.starts_with("books/switchover.yaml:")), "{}", bad.stdout);
    assert!(bad.stdout.contains("service.stop"), "{}", bad.stdout);
    let json = run(directory.path(), &["check", "pom.yaml", "-o", "json"]).expect(2);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["diagnostics"][0]["file"], "books/switchover.yaml");

    std::fs::remove_file(directory.path().join("books/switchover.yaml")).unwrap();
    let gone = run(directory.path(), &["check", "pom.yaml"]).expect(2);
    assert!(gone.stdout.starts_with("pom.yaml:10:3: BTN-0007 runbook switchover: cannot read"), "{}", gone.stdout);
    run(directory.path(), &["check", "nothing.yaml"]).expect(2);
}

#[test]
fn an_authority_makes_identities_and_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let baton = |arguments: &[&str]| run(directory.path(), arguments);
    baton(&["ca", "init"]).expect(0);
    assert!(baton(&["ca", "init"]).expect(2).stderr.starts_with("BTN-0313 "));
    baton(&["ca", "coordinator", "c1", "--address", "127.0.0.1"]).expect(0);
    baton(&["ca", "agent", "db1"]).expect(0);
    baton(&["ca", "issue", "operator", "ana", "--role", "admin", "--out", "me"]).expect(0);
    let shown = baton(&["ca", "show", "me"]).expect(0).stdout;
    assert!(shown.starts_with("baton://operator/ana?role=admin\nvalid until "), "{shown}");
    assert!(baton(&["ca", "show", "agent-db1"]).expect(0).stdout.starts_with("baton://agent/db1\n"));
    assert!(baton(&["ca", "show", "ca", "-o", "json"]).expect(0).stdout.contains("\"valid_today\": true"));
    baton(&["ca", "agent", "db1"]).expect(2);
    baton(&["ca", "agent", "db1", "--replace"]).expect(0);
    baton(&["ca", "agent", "DB1"]).expect(2);
}

#[test]
fn settings_come_from_options_environment_and_file_and_are_missed_by_name() {
    let directory = tempfile::tempdir().unwrap();
    assert!(run(directory.path(), &["runs"]).expect(2).stderr.starts_with("BTN-0801 no coordinator is named."));
    let dir = directory.path();
    assert!(run(dir, &["runs", "--coordinator", "127.0.0.1:1"]).expect(2).stderr.starts_with("BTN-0802 "));
    std::fs::write(dir.join("b.toml"), "coordinators = [\"127.0.0.1:1\"]\nidentiti = \"x\"\n").unwrap();
    let mut misspelt = command(dir, &["runs"]);
    misspelt.env("BATON_CONFIG", "b.toml");
    assert!(end(misspelt).expect(2).stderr.contains("b.toml:2:1: unknown key `identiti`: did you mean `identity`?"));
    let json = run(dir, &["runs", "-o", "json"]).expect(2);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((&error["error"]["code"], json.stdout.as_str()), (&"BTN-0801".into(), ""));
}

#[test]
fn schemas_completions_and_the_version_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["group", "runbook"] {
        let schema = run(directory.path(), &["schema", kind]).expect(0).stdout;
        assert!(serde_json::from_str::<serde_json::Value>(&schema).unwrap()["$schema"].is_string());
    }
    assert!(run(directory.path(), &["completion", "bash"]).expect(0).stdout.contains("lost-rows"));
    assert!(run(directory.path(), &["version"]).expect(0).stdout.starts_with("baton 0."));
    run(directory.path(), &["no-such-command"]).expect(2);
}
