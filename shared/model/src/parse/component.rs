//! A group's components: what is asked on which hosts, and how each is stopped where it must not run.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Faults,
    names::{Names, Strings, Uses},
    sample::{check_connections, one_action, refuse_members},
    shape::Shape,
};
use crate::{
    diagnostic::code,
    group::{COMPONENTS_MAX, LASTS_MAX, LASTS_MIN},
    ids::ComponentName,
    schema,
    time::Span,
    yaml::{Content, Entry, Node},
};

const EVERY_MIN: Span = Span(100);
const EVERY_MAX: Span = Span::from_secs(3600);
/// What an agent may do on its own account: each says afterwards whether it came about.
const STOPS: [&str; 3] = ["service.stop", "process.stop", "exec.run"];
/// Their opposite is known.
const STOPPABLE: [&str; 2] = ["service", "process"];

pub(super) fn read(components: &Node, root: &Node, uses: &mut Uses, faults: &mut Faults<'_>) -> Value {
    let mut read = Map::new();
    if !matches!(components.content, Content::Map(_)) && !components.is_null() {
        let remedy = "write NAME: { on: ROLE, probe: { service: { name: … } } } below it";
        faults.add(components.at, code::WRONG_VALUE, "\"components\" must be a mapping (key: value)", remedy);
    }
    if components.entries().len() > COMPONENTS_MAX {
        let message = format!("the group has {} components; at most {COMPONENTS_MAX}", components.entries().len());
        faults.add(components.at, code::WRONG_VALUE, message, "make two groups of it");
    }
    for entry in components.entries() {
        if ComponentName::new(entry.key.as_str()).is_err() {
            let remedy = "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit";
            let message = format!("{:?} cannot be the name of a component", entry.key);
            faults.add(entry.at, code::WRONG_VALUE, message, remedy);
        }
        read.insert(entry.key.clone(), one(entry, root, uses, faults));
    }
    Value::Object(read)
}

fn one(entry: &Entry, root: &Node, uses: &mut Uses, faults: &mut Faults<'_>) -> Value {
    let schema = schema::component_types();
    let label = format!("component {:?}", entry.key);
    // `stop` is an action, and read by its own rules.
    let plain = match &entry.node.content {
        Content::Map(entries) => {
            let rest = entries.iter().filter(|inner| inner.key != "stop").cloned().collect();
            Node { at: entry.node.at, content: Content::Map(rest) }
        }
        _ => entry.node.clone(),
    };
    let names = Names { known: BTreeSet::from(["host".to_owned()]), ..Names::default() };
    let mut own = Uses::default();
    let strings = Strings::Templates { names: &names, uses: &mut own };
    let mut decoded = Shape { root: schema, strings, faults }.read(&plain, schema, &label, entry.at);
    check_role(entry, root, faults);
    check_numbers(entry, faults);
    if let Some(probe) = entry.node.get("probe") {
        refuse_members(probe, faults);
    }
    check_connections(&own, root, faults);
    uses.vars.append(&mut own.vars);
    if let Some(stop) = entry.node.entry("stop") {
        let permitted = |name: &str| match STOPS.contains(&name) {
            true => Ok(()),
            false => Err((format!("{name} cannot stop a component"), "write service.stop, process.stop or exec.run")),
        };
        let action = one_action(stop, &format!("stop of {label}"), &permitted, root, uses, faults);
        if let Value::Object(fields) = &mut decoded {
            fields.insert("stop".to_owned(), action);
        }
    } else if is_exclusive(entry) && probe_kind(entry).is_some_and(|kind| !STOPPABLE.contains(&kind)) {
        let message = format!("{label} is exclusive, and nothing says how it is stopped");
        let remedy = "add stop: { service.stop: { name: … } }, or probe its service or process";
        faults.add(entry.at, code::MISSING_KEY, message, remedy);
    }
    decoded
}

fn is_exclusive(entry: &Entry) -> bool {
    entry.node.get("exclusive").and_then(Node::scalar).is_some_and(|scalar| scalar.value == Value::Bool(true))
}

fn probe_kind(entry: &Entry) -> Option<&str> {
    entry.node.get("probe")?.entries().first().map(|kind| kind.key.as_str())
}

fn check_role(entry: &Entry, root: &Node, faults: &mut Faults<'_>) {
    let keys = |node: Option<&Node>| -> Vec<String> {
        node.map_or(&[][..], Node::entries).iter().map(|entry| entry.key.clone()).collect()
    };
    let mut roles: BTreeSet<String> = keys(root.get("roles")).into_iter().collect();
    let mut of_members = BTreeSet::new();
    for member in root.get("members").map_or(&[][..], Node::entries) {
        of_members.extend(keys(member.node.get("hosts")));
    }
    let Some((on, at)) = entry.node.get("on").and_then(|node| Some((node.text()?, node.at))) else { return };
    if is_exclusive(entry) && roles.contains(on) {
        let message = format!("component {:?} is exclusive, and role {on:?} is shared by all members", entry.key);
        faults.add(at, code::CONTRADICTION, message, "take exclusive out, or name a role of the members");
    }
    roles.append(&mut of_members);
    if !roles.contains(on) {
        let message = format!("component {:?} is on role {on:?}, which no member and no shared role has", entry.key);
        faults.unknown_name(at, message, on, roles.iter().map(String::as_str), "");
    }
}

fn check_numbers(entry: &Entry, faults: &mut Faults<'_>) {
    for key in ["every", "timeout"] {
        let Some(node) = entry.node.get(key) else { continue };
        let Some(span) = node.text().and_then(|text| text.parse::<Span>().ok()).filter(|span| span.0 > 0) else {
            continue;
        };
        if !(EVERY_MIN..=EVERY_MAX).contains(&span) {
            let message = format!("{key:?} of component {:?} cannot be {span}", entry.key);
            faults.add(node.at, code::WRONG_VALUE, message, format!("write {EVERY_MIN} to {EVERY_MAX}"));
        }
    }
}

/// A lease stops something, and lasts as long as it can be kept.
pub(super) fn check_lease(root: &Node, faults: &mut Faults<'_>) {
    let Some(lease) = root.entry("lease") else { return };
    let exclusive = root.get("components").map_or(&[][..], Node::entries).iter().any(is_exclusive);
    let node = lease.node.get("lasts").unwrap_or(&lease.node);
    let Some(span) = node.text().and_then(|text| text.parse::<Span>().ok()).filter(|span| span.0 > 0) else { return };
    if !(LASTS_MIN..=LASTS_MAX).contains(&span) {
        let message = format!("a lease of {span} is not possible");
        faults.add(node.at, code::WRONG_VALUE, message, format!("write {LASTS_MIN} to {LASTS_MAX}"));
    }
    if !exclusive {
        let remedy = "add exclusive: true to what must stop when the lease ends, or take lease out";
        faults.add(lease.at, code::CONTRADICTION, "the group has a lease, and no component that it would stop", remedy);
    }
}
