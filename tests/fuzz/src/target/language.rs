//! What people write: YAML, groups, runbooks, expressions, templates; and plans made of them.

use std::{collections::BTreeMap, sync::LazyLock};

use baton_model::{
    check,
    expression::{Expression, Scope, Template, render},
    group::Group,
    ids::Epoch,
    parse::{parse_group, parse_runbook},
    runbook::Runbook,
    time::Moment,
    yaml,
};
use baton_planner::{Request, Situation};
use serde_json::{Value, json};

use super::{Target, all_of, shape, shape_of, text};
use crate::corpus;

pub(super) const ALL: &[Target] = &[
    Target { name: "yaml", what: "YAML without its traps", corpus: corpus::written, feed: read },
    Target { name: "group", what: "group files", corpus: groups, feed: group },
    Target { name: "runbook", what: "runbook files, and plans made from them", corpus: runbooks, feed: runbook },
    Target { name: "expression", what: "CEL, read and evaluated", corpus: corpus::expressions, feed: expression },
    Target { name: "template", what: "texts with ${…}, read and filled in", corpus: templates, feed: template },
];

fn beginning_with(word: &str) -> Vec<Vec<u8>> {
    let all = corpus::written().into_iter();
    all.filter(|text| String::from_utf8_lossy(text).lines().any(|line| line.starts_with(word))).collect()
}

fn groups() -> Vec<Vec<u8>> {
    beginning_with("group:")
}

fn runbooks() -> Vec<Vec<u8>> {
    beginning_with("runbook:")
}

/// Every text of the runbooks that has something in it.
fn templates() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for text in corpus::written() {
        for line in String::from_utf8_lossy(&text).lines().filter(|line| line.contains("${")) {
            let value = line.split_once(": ").map_or(line, |(_, value)| value).trim().trim_matches('"');
            found.push(value.as_bytes().to_vec());
        }
    }
    found
}

fn read(case: &[u8]) -> u64 {
    shape_of(yaml::parse("case.yaml", &text(case)).map_err(|faults| words(&faults)))
}

fn words(faults: &[impl ToString]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn group(case: &[u8]) -> u64 {
    let text = text(case);
    let parsed = parse_group("case.yaml", &text);
    if let Ok(group) = &parsed {
        comes_back::<Group>(group);
        // What windows say, over the whole year.
        for window in group.windows.values() {
            for day in (0..366).step_by(61) {
                let at = Moment(1_790_000_000_000 + day * 86_400_000);
                drop((window.is_open(at), window.next_opening(at), window.openings(at, 3)));
            }
        }
    }
    let checked = check::check_files(&[("case.yaml".to_owned(), text)]);
    all_of([shape_of(parsed.map_err(|faults| words(&faults))), shape(&words(&checked))])
}

fn comes_back<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let written = serde_json::to_vec(value).expect("it can be written");
    let read: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(&read, value, "it comes back as it was written");
}

/// A group with the roles that runbooks speak of.
fn the_group() -> &'static Group {
    static GROUP: LazyLock<Group> = LazyLock::new(|| {
        let text = std::fs::read_to_string(corpus::root().join("deploy/runbooks/avaya-pom/group.yaml"));
        parse_group("group.yaml", &text.expect("the shipped group")).expect("it is sound")
    });
    &GROUP
}

fn runbook(case: &[u8]) -> u64 {
    let parsed = parse_runbook("case.yaml", &text(case));
    let Ok(runbook) = &parsed else { return shape_of(parsed.map_err(|faults| words(&faults))) };
    comes_back::<Runbook>(runbook);
    let group = the_group();
    let situation = Situation {
        primary: group.primary.clone(),
        epoch: Epoch(1),
        revision: 1,
        facts: BTreeMap::new(),
        standings: BTreeMap::new(),
    };
    let wish = Request {
        runbook: runbook.name.clone(),
        to: group.members.keys().find(|member| **member != group.primary).cloned(),
        inputs: runbook.inputs.keys().map(|name| (name.clone(), "1".to_owned())).collect(),
        reason: String::new(),
        overrides: BTreeMap::from([("window".to_owned(), "a case".to_owned())]),
        accepted_data_loss: false,
        now: Moment(1_790_000_000_000),
    };
    let planned = baton_planner::plan(group, runbook, &situation, &wish);
    if let Ok(plan) = &planned {
        comes_back(plan);
        assert_eq!(plan.digest(), plan.clone().digest());
    }
    shape_of(planned.map(|plan| plan.stages.len()))
}

/// What expressions see, in small.
fn scope() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| {
        let host = json!({ "name": "h1", "address": "10.0.0.1", "site": "east", "vars": { "port": 5041, "list": ["a", "b"] } });
        let member =
            json!({ "name": "db1", "site": "east", "vars": {}, "hosts": { "database": [host] }, "database": host });
        let scope: BTreeMap<String, Value> = serde_json::from_value(json!({
            "group": { "name": "pom", "primary": "db1", "epoch": 3, "members": { "db1": member }, "others": [member] },
            "old": member, "new": member, "host": host, "item": "fdb", "input": { "mode": "full", "count": 3, "names": ["x"], "nothing": null },
            "vars": { "service": "POM", "databases": ["fdb", "edb"], "checks": {} }, "facts": { "kept": 1.5 }, "rows": [{ "waiting": 0 }],
            "hosts": { "h1": host }, "accepted_data_loss": false,
        }))
        .expect("a map");
        scope.into_iter().collect()
    });
    &SCOPE
}

fn expression(case: &[u8]) -> u64 {
    let text = text(case);
    let parsed = Expression::parse(&text);
    let Ok(expression) = &parsed else { return shape_of(parsed.map(drop)) };
    drop((expression.references(), expression.paths(), expression.required_paths(), expression.secret()));
    all_of([
        u64::from(expression.mentions_secret()),
        shape_of(expression.evaluate(scope())),
        shape_of(expression.holds(scope())),
    ])
}

fn template(case: &[u8]) -> u64 {
    let text = text(case);
    let parsed = Template::parse(&text);
    if let Ok(template) = &parsed {
        drop((template.references(), template.whole(), template.secrets().count()));
    }
    let value = Value::from(text);
    let deferred = ["found".to_owned()].into();
    let rendered = render(&value, scope(), &deferred).map(|rendered| rendered.value);
    // A text that is escaped is itself again.
    let escaped = baton_model::expression::escape(&value);
    let back = render(&escaped, &Scope::new(), &Default::default()).map(|rendered| rendered.value);
    assert_eq!(back.as_ref().ok(), Some(&value), "an escaped text comes back: {back:?}");
    shape_of(rendered)
}
