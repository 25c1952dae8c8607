//! Several files at once: groups with the runbooks they name. Works without any cluster.

use std::collections::BTreeMap;

use crate::{
    diagnostic::{Diagnostic, code, settle},
    group::Group,
    parse::{self, Faults, names::Uses},
    runbook::{Runbook, Selector, StepDefinition, WorkDefinition},
    yaml::{self, Position},
};

/// What a file is: its first key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Group,
    Runbook,
}

/// Tells groups from runbooks by their first key. Where that cannot be told, why.
pub fn kind_of(path: &str, text: &str) -> Result<FileKind, Vec<Diagnostic>> {
    let root = match yaml::parse(path, text) {
        Ok(root) => root,
        Err(faults) => return guess(text).ok_or(faults),
    };
    let keys: Vec<&str> = root.entries().iter().map(|entry| entry.key.as_str()).collect();
    let found = match (keys.first(), keys.contains(&"runbook"), keys.contains(&"group")) {
        (Some(&"group"), _, _) | (_, false, true) => Some(FileKind::Group),
        (Some(&"runbook"), _, _) | (_, true, _) => Some(FileKind::Runbook),
        _ if keys.contains(&"steps") => Some(FileKind::Runbook),
        _ if keys.contains(&"members") => Some(FileKind::Group),
        _ => None,
    };
    found.ok_or_else(|| {
        let mut faults = Faults::new(path);
        let message = match keys.first() {
            Some(first) => format!("the file begins with {first:?}: it is neither a group nor a runbook"),
            None => "the file is neither a group nor a runbook".to_owned(),
        };
        faults.add(root.at, code::NO_KIND, message, "a group begins with group: NAME, a runbook with runbook: NAME");
        faults.list
    })
}

/// From a file that is no YAML: by its first line that is no comment.
fn guess(text: &str) -> Option<FileKind> {
    let first =
        text.lines().map(str::trim_end).find(|line| !line.is_empty() && !line.starts_with('#') && *line != "---")?;
    match first.split_once(':')?.0 {
        "group" => Some(FileKind::Group),
        "runbook" => Some(FileKind::Runbook),
        _ => None,
    }
}

/// Checks every file in itself, and each group with those of its runbooks that are among the files.
/// Paths are compared after `.` and `..` are taken out. Sorted by file and position.
pub fn check_files(files: &[(String, String)]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut groups: Vec<(&str, Group, Uses)> = Vec::new();
    let mut runbooks: BTreeMap<String, (&str, Runbook, Uses)> = BTreeMap::new();
    for (path, text) in files {
        match kind_of(path, text) {
            Err(faults) => diagnostics.extend(faults),
            Ok(FileKind::Group) => {
                let (group, uses, faults) = parse::read_group(path, text);
                diagnostics.extend(faults);
                groups.extend(group.map(|group| (path.as_str(), group, uses)));
            }
            Ok(FileKind::Runbook) => {
                let (runbook, uses, faults) = parse::read_runbook(path, text);
                diagnostics.extend(faults);
                if let Some(runbook) = runbook {
                    runbooks.insert(normal(path), (path, runbook, uses));
                }
            }
        }
    }
    for (path, group, uses) in &groups {
        check_vars(path, path, group, None, uses, &mut diagnostics);
        for (name, file, _) in &uses.runbooks {
            if let Some((runbook_path, runbook, uses)) = runbooks.get(&normal(&beside(path, file))) {
                let mut faults = Faults::new(runbook_path);
                check_pair(group, runbook, uses, &mut faults);
                diagnostics.append(&mut faults.list);
                check_vars(path, runbook_path, group, Some(runbook), uses, &mut diagnostics);
                check_kind(path, group, name, runbook, uses_position(&groups, path, name), &mut diagnostics);
            }
        }
    }
    settle(diagnostics)
}

fn uses_position(groups: &[(&str, Group, Uses)], path: &str, name: &str) -> Position {
    let of_group = groups.iter().find(|(group, _, _)| *group == path).map(|(_, _, uses)| uses);
    let found = of_group.and_then(|uses| uses.runbooks.iter().find(|(runbook, _, _)| runbook == name));
    found.map_or(Position { line: 1, column: 1 }, |(_, _, at)| *at)
}

/// An automatic failover must be able to run without a person.
fn check_kind(
    path: &str,
    group: &Group,
    name: &str,
    runbook: &Runbook,
    at: Position,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some(crate::group::Automatic::Policy(policy)) = &group.automatic else { return };
    if policy.runbook.as_str() != name {
        return;
    }
    let mut faults = Faults::new(path);
    if let Some((input, _)) = runbook.inputs.iter().find(|(_, input)| input.required) {
        let message = format!("automatic runs {name:?}, whose input {input:?} is required and which nobody would give");
        faults.add(at, code::CONTRADICTION, message, "give the input a default, or name another runbook");
    }
    if !runbook.transfers() {
        let message = format!("automatic runs {name:?}, which does not move the role");
        faults.add(at, code::CONTRADICTION, message, "name a runbook with a role.transfer step");
    }
    let person = runbook.all_steps().find(|step| match step.work {
        WorkDefinition::Confirm(_) | WorkDefinition::Approval(_) => step.when.is_none(),
        _ => false,
    });
    if let Some(step) = person {
        let message =
            format!("automatic runs {name:?}, which waits for a person in line {} ({:?})", step.line, step.name);
        let remedy = "name a runbook without confirm and approval, or give that step a when";
        faults.add(at, code::CONTRADICTION, message, remedy);
    }
    diagnostics.append(&mut faults.list);
}

/// What a runbook names must be in the group that runs it.
fn check_pair(group: &Group, runbook: &Runbook, uses: &Uses, faults: &mut Faults<'_>) {
    let member_roles: Vec<&str> = group.member_roles().map(|role| role.as_str()).collect();
    let all_roles: Vec<&str> = group.all_roles().into_iter().map(|role| role.as_str()).collect();
    for (selector, at) in &uses.selectors {
        let (role, known) = match selector {
            Selector::Role(role) => (role, &all_roles),
            Selector::Old(role) | Selector::New(role) | Selector::Others(role) => (role, &member_roles),
            Selector::Host(host) => {
                if !host.contains("${") && !group.hosts.contains_key(host.as_str()) {
                    let message = format!("group {:?} has no host {host:?}", group.name.as_str());
                    faults.unknown_name(*at, message, host, group.hosts.keys().map(|host| host.as_str()), "");
                }
                continue;
            }
        };
        if !known.contains(&role.as_str()) {
            let shared = all_roles.contains(&role.as_str());
            let what = if shared { "no member of" } else { "nothing in" };
            let message = format!("{what} group {:?} has the host role {:?}", group.name.as_str(), role.as_str());
            if shared {
                faults.add(*at, code::UNKNOWN_NAME, message, format!("the role is shared; write on: {role}"));
            } else {
                faults.unknown_name(*at, message, role.as_str(), known.iter().copied(), "");
            }
        }
    }
    for (name, at) in &uses.connections {
        if !name.contains("${") && !group.connections.contains_key(name) {
            let message = format!("group {:?} has no connection {name:?}", group.name.as_str());
            let nothing = format!("add under connections: {name}: {{ host: …, database: …, user: … }}");
            faults.unknown_name(*at, message, name, group.connections.keys().map(String::as_str), &nothing);
        }
    }
    for (name, at) in &uses.windows {
        if !group.windows.contains_key(name) {
            let message = format!("group {:?} has no window {name:?}", group.name.as_str());
            let nothing =
                format!("add under windows: {name}: {{ from: \"22:00\", to: \"04:00\", time_zone: Europe/Berlin }}");
            faults.unknown_name(*at, message, name, group.windows.keys().map(String::as_str), &nothing);
        }
    }
    let moves = |step: &StepDefinition| step.on.iter().any(|selector| matches!(selector, Selector::New(_)));
    if !runbook.transfers() && group.members.len() < 2 && runbook.all_steps().any(moves) {
        let first = uses.selectors.iter().find(|(selector, _)| matches!(selector, Selector::New(_)));
        if let Some((_, at)) = first {
            let message = format!("group {:?} has one member, so there is no new one", group.name.as_str());
            faults.add(*at, code::CONTRADICTION, message, "add a member, or write old");
        }
    }
}

/// Variables that are read and nowhere set.
fn check_vars(
    group_path: &str,
    path: &str,
    group: &Group,
    runbook: Option<&Runbook>,
    uses: &Uses,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut faults = Faults::new(path);
    // a group's connections may read what its runbooks set; without the runbook nobody can tell
    let defaults = runbook.map(|runbook| runbook.vars.keys()).into_iter().flatten();
    let known: Vec<&str> = group.vars.keys().chain(defaults).map(String::as_str).collect();
    for (name, at) in &uses.vars {
        if known.contains(&name.as_str()) || (runbook.is_none() && !group.runbooks.is_empty()) {
            continue;
        }
        let message =
            format!("vars.{name} is set neither by group {:?} ({group_path}) nor by the runbook", group.name.as_str());
        let nothing = format!("add under vars of the group: {name}: VALUE");
        match crate::diagnostic::nearest(name, known.iter().copied()) {
            Some(_) => faults.unknown_name(*at, message, name, known.iter().copied(), &nothing),
            None => faults.add(*at, code::UNKNOWN_NAME, message, nothing),
        }
    }
    diagnostics.append(&mut faults.list);
}

/// `file` as it is named from beside `path`.
fn beside(path: &str, file: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{file}"),
        None => file.to_owned(),
    }
}

/// Without `.` and, where something is before them, `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| *last != ".." && !last.is_empty()) => {
                parts.pop();
            }
            // an empty first part is the root
            "" if !parts.is_empty() => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}
