//! Files as operators write them: samples are taken, and every malformed one is answered with exactly the golden text beside it.
//!
//! `BATON_REGENERATE=1 cargo test -p baton-model --test files` writes the golden texts anew; read each as the operator who has to mend the file.

use std::{fs, path::Path};

use baton_model::{check, diagnostic::Diagnostic, group::Group, parse, runbook::Runbook, schema};
use serde_json::Value;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn sample(name: &str) -> String {
    fs::read_to_string(folder("samples").join(name)).expect(name)
}

fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

fn sample_group() -> Group {
    parse::parse_group("group.yaml", &sample("group.yaml")).unwrap_or_else(|faults| panic!("{}", told(&faults)))
}

fn sample_runbook() -> Runbook {
    parse::parse_runbook("runbook.yaml", &sample("runbook.yaml")).unwrap_or_else(|faults| panic!("{}", told(&faults)))
}

#[test]
fn the_samples_are_taken_alone_and_together() {
    sample_group();
    sample_runbook();
    let files = ["group.yaml", "runbook.yaml"].map(|name| (name.to_owned(), sample(name)));
    assert_eq!(told(&check::check_files(&files)), "");
}

#[test]
fn what_was_read_survives_being_stored() {
    let (group, runbook) = (sample_group(), sample_runbook());
    let stored = serde_json::to_string(&group).expect("json");
    assert_eq!(serde_json::from_str::<Group>(&stored).expect("a group"), group);
    let stored = serde_json::to_string(&runbook).expect("json");
    assert_eq!(serde_json::from_str::<Runbook>(&stored).expect("a runbook"), runbook);
}

#[test]
fn every_malformed_file_is_answered_with_its_golden_text() {
    let regenerate = std::env::var_os("BATON_REGENERATE").is_some();
    let mut wrong = Vec::new();
    let mut names: Vec<String> = fs::read_dir(folder("malformed"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "only {} malformed files", names.len());
    for name in names {
        let text = fs::read_to_string(folder("malformed").join(&name)).expect(&name);
        // a file that goes with the sample says so in its first line
        let mut files = vec![(name.clone(), text.clone())];
        if text.starts_with("# with the sample group") {
            files.push(("group.yaml".to_owned(), sample("group.yaml").replace("runbook.yaml", &name)));
        }
        if text.starts_with("# with the sample runbook") {
            files.push(("runbook.yaml".to_owned(), sample("runbook.yaml")));
        }
        let answer = told(&check::check_files(&files));
        assert!(!answer.is_empty(), "{name} is taken");
        let golden = folder("malformed").join(name.replace(".yaml", ".txt"));
        if regenerate {
            fs::write(&golden, &answer).expect("write");
        } else if fs::read_to_string(&golden).unwrap_or_default() != answer {
            wrong.push(format!("{name}:\n{answer}"));
        }
    }
    assert!(wrong.is_empty(), "not as in the golden texts:\n{}", wrong.join("\n"));
}

/// Enough of JSON Schema to hold the samples against ours; a keyword that it does not know is a failure of the test.
fn holds(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Value::Object(fields) = schema else {
        return if *schema == Value::Bool(true) { Ok(()) } else { Err(format!("nothing may stand here: {value}")) };
    };
    for (keyword, rule) in fields {
        let list = || rule.as_array().into_iter().flatten();
        let ok = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" | "then" | "else" => true,
            "$ref" => {
                let path = rule.as_str().and_then(|path| path.strip_prefix('#')).ok_or("a reference")?;
                holds(root, root.pointer(path).ok_or_else(|| format!("{path} is not there"))?, value)?;
                true
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str() {
                    Some("string") => value.is_string(),
                    Some("integer") => value.is_i64() || value.is_u64(),
                    Some("number") => value.is_number(),
                    Some("boolean") => value.is_boolean(),
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("null") => value.is_null(),
                    _ => false,
                };
                is(rule) || list().any(is)
            }
            "enum" => list().any(|one| one == value),
            "const" => rule == value,
            "anyOf" => list().any(|one| holds(root, one, value).is_ok()),
            "oneOf" => list().filter(|one| holds(root, one, value).is_ok()).count() == 1,
            "required" => list().all(|key| value.get(key.as_str().unwrap_or("")).is_some()),
            "minimum" => value.as_f64() >= rule.as_f64() || !value.is_number(),
            "maximum" => value.as_f64() <= rule.as_f64() || !value.is_number(),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap_or(0)),
            "minProperties" => value.as_object().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap_or(0)),
            "maxProperties" => value.as_object().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap_or(0)),
            "pattern" => value.as_str().is_none_or(|text| matches_pattern(rule.as_str().unwrap_or(""), text)),
            "items" => value.as_array().into_iter().flatten().all(|item| holds(root, rule, item).is_ok()),
            "if" => holds(root, &fields[if holds(root, rule, value).is_ok() { "then" } else { "else" }], value).is_ok(),
            "properties" | "patternProperties" | "additionalProperties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    let known = fields.get("properties").and_then(|known| known.get(key));
                    let by_pattern = || fields.get("patternProperties")?.as_object()?.values().next();
                    if let Some(schema) = known.or_else(by_pattern).or_else(|| fields.get("additionalProperties")) {
                        holds(root, schema, inner).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
                true
            }
            other => return Err(format!("unknown keyword {other}")),
        };
        if !ok {
            return Err(format!("{keyword} {rule} does not hold for {value}"));
        }
    }
    Ok(())
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern {
        r"\$\{" => text.contains("${"),
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$" => baton_model::ids::HostName::new(text).is_ok(),
        "^([0-9]+(ms|s|m|h))+$" => text.parse::<baton_model::time::Span>().is_ok(),
        "^([01][0-9]|2[0-3]):[0-5][0-9]$" => text.parse::<baton_model::group::TimeOfDay>().is_ok(),
        other => panic!("a pattern that this test does not know: {other}"),
    }
}

#[test]
fn the_samples_hold_against_the_published_schemas() {
    for (schema, file) in [(schema::group_schema(), "group.yaml"), (schema::runbook_schema(), "runbook.yaml")] {
        let value = baton_model::yaml::parse(file, &sample(file)).expect("yaml").to_json();
        holds(&schema, &schema, &value).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut wrong = value.clone();
        wrong["nonsense"] = Value::Bool(true);
        assert!(holds(&schema, &schema, &wrong).is_err(), "{file}: an unknown key is taken");
    }
    let schema = schema::runbook_schema();
    let mut runbook = baton_model::yaml::parse("r", &sample("runbook.yaml")).expect("yaml").to_json();
    runbook["steps"][0]["service.start"] = serde_json::json!({ "name": "POM" });
    assert!(holds(&schema, &schema, &runbook).is_err(), "two actions in a step are taken");
}

#[test]
fn every_reference_of_the_published_schemas_leads_somewhere() {
    fn walk(root: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(path) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(root.pointer(&path[1..]).is_some(), "{path}");
                }
                fields.values().for_each(|inner| walk(root, inner));
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(root, inner)),
            _ => {}
        }
    }
    for schema in [schema::group_schema(), schema::runbook_schema()] {
        walk(&schema, &schema);
    }
}
