//! A group's rules that its schema cannot say: every name that is used is defined, and the parts make sense together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Faults, listed,
    names::{Names, Strings, Uses, check_identifier},
    shape::Shape,
};
use crate::{
    diagnostic::code,
    group::{Automatic, Group},
    schema,
    time::Span,
    yaml::{Content, Entry, Node, Position},
};

pub(super) fn read(root: &Node, uses: &mut Uses, faults: &mut Faults<'_>) -> Option<Group> {
    let Content::Map(entries) = &root.content else {
        faults.add(root.at, code::NO_KIND, "this is no group", "a group begins with group: NAME");
        return None;
    };
    let plain: Vec<Entry> = entries
        .iter()
        .filter(|entry| !matches!(entry.key.as_str(), "connections" | "samples" | "components"))
        .cloned()
        .collect();
    let plain = Node { at: root.at, content: Content::Map(plain) };
    let schema = schema::group_types();
    let mut decoded =
        Shape { root: schema, strings: Strings::Literal, faults }.read(&plain, schema, "the group", root.at);
    if let Some(connections) = root.get("connections") {
        decoded["connections"] = read_connections(connections, uses, faults);
    }
    if let Some(components) = root.get("components") {
        decoded["components"] = super::component::read(components, root, uses, faults);
    }
    if let Some(samples) = root.get("samples") {
        decoded["samples"] = super::sample::read(samples, root, uses, faults);
    }
    check_names(root, faults);
    check_hosts(root, faults);
    super::component::check_lease(root, faults);
    check_automatic(root, faults);
    for entry in root.get("runbooks").map_or(&[][..], Node::entries) {
        if let Some(path) = entry.node.text() {
            if path.starts_with('/') {
                let remedy = "write the path relative to this file";
                faults.add(entry.node.at, code::WRONG_VALUE, format!("{path:?} is an absolute path"), remedy);
            }
            uses.runbooks.push((entry.key.clone(), path.to_owned(), entry.node.at));
        }
    }
    match serde_json::from_value::<Group>(decoded) {
        Ok(group) => {
            check_first_question(&group, root, faults);
            Some(group)
        }
        Err(error) => {
            // the shape and the rules above say it better; this is for what they should have said
            if faults.list.is_empty() {
                faults.add(root.at, code::WRONG_VALUE, format!("the group cannot be read: {error}"), "");
            }
            None
        }
    }
}

/// Each is held against [`crate::action::sql::Connection`] with templates, and kept as it is written.
fn read_connections(connections: &Node, uses: &mut Uses, faults: &mut Faults<'_>) -> Value {
    let schema = schema::connection_types();
    let names =
        Names { known: BTreeSet::from(["host".to_owned(), "item".to_owned(), "input".to_owned()]), ..Names::default() };
    let mut read = serde_json::Map::new();
    if !matches!(connections.content, Content::Map(_)) && !connections.is_null() {
        let remedy = "write NAME: { host: …, database: …, user: … } below it";
        faults.add(connections.at, code::WRONG_VALUE, "\"connections\" must be a mapping (key: value)", remedy);
    }
    for entry in connections.entries() {
        let mut own = Uses::default();
        // inputs are the runbook's, so any may be meant
        let strings = Strings::Templates { names: &Names { inputs: BTreeSet::new(), ..names.clone() }, uses: &mut own };
        let label = format!("connection {:?}", entry.key);
        let value = Shape { root: schema, strings, faults }.read(&entry.node, schema, &label, entry.at);
        uses.vars.append(&mut own.vars);
        read.insert(entry.key.clone(), value);
    }
    Value::Object(read)
}

fn keys<'a>(root: &'a Node, key: &str) -> Vec<&'a str> {
    root.get(key).map_or(&[][..], Node::entries).iter().map(|entry| entry.key.as_str()).collect()
}

/// Host lists as they are written: a name or a list of names.
fn hosts_in(node: &Node) -> Vec<(&str, Position)> {
    let one = node.text().map(|name| (name, node.at)).into_iter();
    one.chain(node.items().iter().filter_map(|item| Some((item.text()?, item.at)))).collect()
}

fn check_names(root: &Node, faults: &mut Faults<'_>) {
    let members = keys(root, "members");
    if let Some(entry) = root.entry("members")
        && members.is_empty()
    {
        let remedy = "name at least one: NAME: { hosts: { ROLE: HOST } }";
        faults.add(entry.at, code::MISSING_KEY, "the group has no member", remedy);
    }
    if let Some((primary, at)) = root.get("primary").and_then(|node| Some((node.text()?, node.at)))
        && !members.is_empty()
        && !members.contains(&primary)
    {
        faults.unknown_name(
            at,
            format!("primary {primary:?} is no member of the group"),
            primary,
            members.iter().copied(),
            "",
        );
    }
    let of_hosts = root.get("hosts").map_or(&[][..], Node::entries).iter();
    let of_members = root.get("members").map_or(&[][..], Node::entries).iter();
    let nested = of_hosts.chain(of_members).filter_map(|entry| entry.node.get("vars"));
    for entry in root.get("vars").into_iter().chain(nested).flat_map(Node::entries) {
        check_identifier(&entry.key, "a variable", entry.at, faults);
    }
}

fn check_hosts(root: &Node, faults: &mut Faults<'_>) {
    let known = keys(root, "hosts");
    let shared = root.get("roles").map_or(&[][..], Node::entries);
    let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
    let mut member_roles: BTreeSet<&str> = BTreeSet::new();
    let members = root.get("members").map_or(&[][..], Node::entries);
    for member in members {
        let Some(hosts) = member.node.entry("hosts") else { continue };
        if hosts.node.entries().is_empty() {
            let message = format!("member {:?} has no host", member.key);
            faults.add(hosts.at, code::MISSING_KEY, message, "name at least one: ROLE: HOST");
        }
        for role in hosts.node.entries() {
            member_roles.insert(&role.key);
            check_role(role, &known, faults);
            for (host, at) in hosts_in(&role.node) {
                let before = *owner.entry(host).or_insert(&member.key);
                if before != member.key {
                    let message = format!("host {host:?} is of member {:?} and of member {before:?}", member.key);
                    let remedy = "a member's hosts are its own; list a shared host under roles";
                    faults.add(at, code::CONTRADICTION, message, remedy);
                }
            }
        }
    }
    for role in shared {
        check_role(role, &known, faults);
        if member_roles.contains(role.key.as_str()) {
            let message = format!("role {:?} is shared here and a member's role as well", role.key);
            faults.add(role.at, code::CONTRADICTION, message, "give one of them another name");
        }
    }
}

fn check_role(role: &Entry, known: &[&str], faults: &mut Faults<'_>) {
    if role.key.contains('.') {
        let remedy = format!("write {:?}; a dot divides old, new and others from the role", role.key.replace('.', "-"));
        faults.add(role.at, code::WRONG_VALUE, format!("{:?} cannot be the name of a host role", role.key), remedy);
    }
    let hosts = hosts_in(&role.node);
    if hosts.is_empty() && matches!(role.node.content, Content::List(_)) {
        let remedy = "name at least one host, or take the role out";
        faults.add(role.node.at, code::WRONG_VALUE, format!("role {:?} has no host", role.key), remedy);
    }
    let mut seen = BTreeSet::new();
    for (host, at) in hosts {
        if !known.contains(&host) {
            let nothing = format!("add under hosts: {host}: {{ address: … }}");
            match crate::diagnostic::nearest(host, known.iter().copied()) {
                Some(_) => {
                    let message = format!("host {host:?} is not among the group's hosts");
                    faults.unknown_name(at, message, host, known.iter().copied(), &nothing);
                }
                None => {
                    faults.add(at, code::UNKNOWN_NAME, format!("host {host:?} is not among the group's hosts"), nothing)
                }
            }
        }
        if !seen.insert(host) {
            faults.add(
                at,
                code::CONTRADICTION,
                format!("host {host:?} stands twice in role {:?}", role.key),
                "keep one",
            );
        }
    }
}

fn check_automatic(root: &Node, faults: &mut Faults<'_>) {
    let Some(automatic) = root.entry("automatic").filter(|entry| matches!(entry.node.content, Content::Map(_))) else {
        return;
    };
    let node = &automatic.node;
    if node.entry("manual_only").is_some() {
        for other in node.entries().iter().filter(|entry| entry.key != "manual_only") {
            let message = format!("{:?} stands beside manual_only, which refuses every automatic failover", other.key);
            faults.add(other.at, code::CONTRADICTION, message, "take one of them out");
        }
        return;
    }
    let components = keys(root, "components");
    let mut counted = 0;
    for list in ["any", "all"] {
        for item in node.get(list).map_or(&[][..], Node::items) {
            counted += 1;
            if let Some(name) = item.text().filter(|name| !components.contains(name)) {
                let nothing =
                    format!("define it: components: {{ {name}: {{ on: ROLE, probe: {{ service: {{ name: … }} }} }} }}");
                let message = format!("there is no component {name:?}");
                faults.unknown_name(item.at, message, name, components.iter().copied(), &nothing);
            }
        }
    }
    if counted == 0 {
        let remedy = "add any: [COMPONENT] (one of them is enough) or all: [COMPONENT, COMPONENT]";
        faults.add(automatic.at, code::MISSING_KEY, "\"automatic\" does not say which failures count", remedy);
    }
    let runbooks = keys(root, "runbooks");
    match node.get("runbook") {
        None => {
            let remedy = format!("add runbook: one of {}", listed(&runbooks));
            faults.add(automatic.at, code::MISSING_KEY, "\"automatic\" does not say which runbook to run", remedy);
        }
        Some(runbook) => {
            if let Some(name) = runbook.text().filter(|name| !runbooks.contains(name)) {
                let nothing = format!("add it under runbooks: {name}: PATH");
                faults.unknown_name(
                    runbook.at,
                    format!("the group has no runbook {name:?}"),
                    name,
                    runbooks.iter().copied(),
                    &nothing,
                );
            }
        }
    }
    let members = keys(root, "members");
    check_automatic_spans(node, faults);
    match node.get("to") {
        Some(to) => {
            if let Some(name) = to.text().filter(|name| !members.contains(name)) {
                faults.unknown_name(
                    to.at,
                    format!("{name:?} is no member of the group"),
                    name,
                    members.iter().copied(),
                    "",
                );
            }
        }
        None if members.len() != 2 => {
            let message = format!("\"automatic\" does not say to which of the {} members to fail over", members.len());
            faults.add(automatic.at, code::MISSING_KEY, message, format!("add to: one of {}", listed(&members)));
        }
        None => {}
    }
}

/// What a run has just started is known as failed until it is asked again: that must come before it counts.
fn check_first_question(group: &Group, root: &Node, faults: &mut Faults<'_>) {
    let (Some(Automatic::Policy(policy)), Some(at)) = (&group.automatic, root.entry("automatic")) else { return };
    let counts = Span(policy.grace.0 + policy.holds_for.0);
    let watched = policy.condition.components().filter_map(|name| Some((name, group.components.get(name)?)));
    for (name, component) in watched {
        let asked = component.longest_pause();
        if counts <= asked {
            let message = format!(
                "grace {} + for {} = {counts}, and component {:?} is asked only every {} (at the latest after {asked}): what a run has just started would count as failed",
                policy.grace,
                policy.holds_for,
                name.as_str(),
                component.every,
            );
            let remedy = format!("write a grace that makes it more than {asked}, or a shorter every");
            faults.add(at.at, code::CONTRADICTION, message, remedy);
        }
    }
}

/// Without a pause between two runs a fault that comes and goes wears the group out.
fn check_automatic_spans(node: &Node, faults: &mut Faults<'_>) {
    for (key, min, max) in [("for", Span(0), Span::from_secs(3600)), ("grace", Span(0), Span::from_secs(3600))] {
        let Some((span, at)) = node.get(key).and_then(|node| Some((node.text()?.parse::<Span>().ok()?, node.at)))
        else {
            continue;
        };
        if !(min..=max).contains(&span) {
            faults.add(at, code::WRONG_VALUE, format!("{key:?} cannot be {span}"), format!("write {min} to {max}"));
        }
    }
}
