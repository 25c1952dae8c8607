//! The pages that users read say what the code does: their examples are taken, and every action and parameter is on them.

use std::{fs, path::Path};

use baton_model::{action, check};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks between ```yaml and ```.
fn examples(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_examples_of_the_language_are_taken_together() {
    let page = page("runbooks.md");
    let files: Vec<(String, String)> = examples(&page)
        .into_iter()
        .map(|text| {
            (if text.starts_with("group:") { "group.yaml" } else { "switchover.yaml" }.to_owned(), text.to_owned())
        })
        .collect();
    assert_eq!(files.len(), 2, "examples");
    let faults: String = check::check_files(&files).iter().map(|fault| format!("{fault}\n")).collect();
    assert_eq!(faults, "");
}

#[test]
fn every_action_is_described_with_its_timeout_and_every_parameter() {
    let page = page("actions.md");
    let mut missing = Vec::new();
    for entry in action::catalogue() {
        let Some(at) = page.find(&format!("\n### {}\n", entry.name)) else {
            missing.push(entry.name.to_owned());
            continue;
        };
        let section = page[at + 5..].split("\n## ").next().unwrap_or_default();
        let section = section.split("\n### ").next().unwrap_or_default();
        if !section.contains(&format!("Timeout {}.", entry.timeout)) {
            missing.push(format!("{}: Timeout {}.", entry.name, entry.timeout));
        }
        let schema = entry.schema.as_value();
        let keys = schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys());
        missing.extend(
            keys.filter(|key| !section.contains(&format!("`{key}`"))).map(|key| format!("{}: `{key}`", entry.name)),
        );
    }
    assert!(missing.is_empty(), "not in docs/actions.md: {}", missing.join(", "));
}

#[test]
fn no_action_is_described_that_does_not_exist() {
    let page = page("actions.md");
    let names: Vec<&str> = action::catalogue().iter().map(|entry| entry.name).collect();
    let unknown: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### ")).filter(|name| !names.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Every `name` of the steps of a shipped runbook.
fn step_names(product: &str, runbook: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/runbooks").join(product).join(runbook);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter_map(|line| line.trim_start().strip_prefix("- name: ")).map(str::to_owned).collect()
}

/// A step is named as in: `rejoin` "Drop the old replication schema".
fn names_every_step(product: &str, runbooks: &[&str]) {
    let page = page(&format!("products/{product}.md")).split_whitespace().collect::<Vec<_>>().join(" ");
    for runbook in runbooks {
        let names = step_names(product, &format!("{runbook}.yaml"));
        assert!(names.len() > 1, "{runbook}: {names:?}");
        let told: Vec<&str> = page
            .split(&format!("`{runbook}` \""))
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap_or_default())
            .collect();
        let left_out: Vec<&String> = names.iter().filter(|name| !told.contains(&name.as_str())).collect();
        assert!(left_out.is_empty(), "{runbook}: not on the page: {left_out:?}");
        let unknown: Vec<&&str> = told.iter().filter(|told| !names.iter().any(|name| name == *told)).collect();
        assert!(unknown.is_empty(), "{runbook} has no steps {unknown:?}");
    }
}

#[test]
fn the_page_of_horizon_daas_names_every_step_of_its_runbooks_and_no_other() {
    names_every_step("horizon-daas", &["enable-writes", "promote-provider", "promote-tenant", "rejoin", "switchover"]);
}

#[test]
fn the_page_of_genesys_framework_names_every_step_of_its_runbooks_and_no_other() {
    names_every_step("genesys-framework", &["start", "failover", "switchback", "reseed", "add-database"]);
}

#[test]
fn the_page_of_avaya_pom_names_every_step_of_its_runbooks_and_no_other() {
    names_every_step("avaya-pom", &["switchover", "resume-data-movement", "stop", "start"]);
}

#[test]
fn the_page_of_persistent_chat_names_every_step_of_its_runbooks_and_no_other() {
    names_every_step("persistent-chat", &["failover", "failback"]);
}

#[test]
fn the_page_of_teradata_data_mover_names_every_step_of_its_runbooks_and_no_other() {
    names_every_step("teradata-data-mover", &["configure", "failover", "switchback"]);
}

/// The sources of functions: every `fn NAME` of the tree.
fn functions(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(&path).expect("a source file is text"));
        }
    }
}

#[test]
fn the_tests_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    // A test's name is a sentence: at least three words.
    let sentence = |name: &&str| {
        name.matches('_').count() > 2 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
    };
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(sentence).collect();
    assert!(named.len() > 20, "{named:?}");
    let mut sources = String::new();
    for part in ["shared", "coordinator", "agent", "cli", "tests"] {
        functions(&root.join(part), &mut sources);
    }
    let missing: Vec<&&str> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names tests that do not exist: {missing:?}");
}
