//! From the files that operators write to the engine's definitions, and back.

use std::collections::BTreeMap;

use baton_engine::{
    command::{AutomaticRule, Definition, LeaseRule, Source},
    state,
};
use baton_model::{
    check::{FileKind, kind_of},
    diagnostic::Diagnostic,
    group::{Automatic, Group, Mode},
    ids::{Epoch, RunbookName},
    outcome::Fault,
    parse::{parse_group, parse_runbook},
    runbook::Runbook,
};
use baton_planner::Situation;

use crate::views;

/// Reads files as `baton apply` sends them: groups, and the runbooks that they name by path.
pub fn read(files: &[Source]) -> Result<Vec<(Group, Definition)>, Vec<Diagnostic>> {
    let by_path: BTreeMap<String, &Source> = files.iter().map(|file| (normal(&file.path), file)).collect();
    let pairs: Vec<(String, String)> = files.iter().map(|file| (file.path.clone(), file.text.clone())).collect();
    let diagnostics = baton_model::check::check_files(&pairs);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let mut groups = Vec::new();
    for file in files.iter().filter(|file| matches!(kind_of(&file.path, &file.text), Ok(FileKind::Group))) {
        let group = parse_group(&file.path, &file.text)?;
        let mut runbooks = BTreeMap::new();
        let mut missing = unstoppable(&file.path, &group);
        for (name, path) in &group.runbooks {
            let wanted = normal(&beside(&file.path, path));
            match by_path.get(&wanted) {
                Some(source) => {
                    runbooks.insert(name.clone(), (*source).clone());
                }
                None => missing.push(Diagnostic {
                    file: file.path.clone(),
                    line: 1,
                    column: 1,
                    code: "BTN-0098",
                    message: format!("runbook {name} is {path:?}, which was not sent"),
                    remedy: format!("send {wanted} together with the group"),
                }),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        let definition = Definition {
            members: group.members.keys().cloned().collect(),
            first_primary: group.primary.clone(),
            hosts: group.hosts.keys().cloned().collect(),
            source: file.clone(),
            runbooks,
            automatic: automatic_of(&group),
            lease: group.lease.map(|lease| LeaseRule { lease, holders: baton_planner::assign::holders(&group) }),
        };
        groups.push((group, definition));
    }
    Ok(groups)
}

/// What an agent could not keep its promise about.
fn unstoppable(path: &str, group: &Group) -> Vec<Diagnostic> {
    let situation = Situation {
        primary: group.primary.clone(),
        epoch: Epoch(1),
        revision: 1,
        facts: BTreeMap::new(),
        standings: BTreeMap::new(),
    };
    let told = baton_planner::assign::unstoppable(group, &situation).into_iter();
    told.map(|message| Diagnostic {
        file: path.to_owned(),
        line: 1,
        column: 1,
        code: "BTN-0097",
        message,
        remedy: "give the host the variable that the component's stop (or probe) reads".to_owned(),
    })
    .collect()
}

/// What the engine must know of a policy that may start a run.
fn automatic_of(group: &Group) -> Option<AutomaticRule> {
    match &group.automatic {
        Some(Automatic::Policy(policy)) if policy.mode == Mode::On => {
            Some(AutomaticRule { runbook: policy.runbook.clone(), cooldown: policy.cooldown })
        }
        _ => None,
    }
}

/// `path` as seen from the folder of `file`.
fn beside(file: &str, path: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

/// Without `.` and `..` where they can be resolved by the text alone.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| *last != ".." && !last.is_empty()) => {
                parts.pop();
            }
            "" if !parts.is_empty() => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The group as its operator wrote it.
pub fn group_of(group: &state::Group) -> Result<Group, Fault> {
    let source = &group.definition.source;
    parse_group(&source.path, &source.text).map_err(|diagnostics| no_longer_valid(&diagnostics))
}

/// The group's replicated state, as far as plans and samples depend on it.
pub fn situation_of(group: &state::Group) -> Situation {
    let standings = group.standings.iter();
    Situation {
        primary: group.primary.clone(),
        epoch: group.epoch,
        revision: group.revision,
        facts: group.facts.clone(),
        standings: standings.map(|(member, standing)| (member.clone(), views::group::told(standing))).collect(),
    }
}

pub fn runbook_of(group: &state::Group, group_name: &str, name: &RunbookName) -> Result<Runbook, Fault> {
    let Some(source) = group.definition.runbooks.get(name) else {
        let known: Vec<&str> = group.definition.runbooks.keys().map(RunbookName::as_str).collect();
        return Err(Fault::new(
            "BTN-0109",
            format!("group {group_name} has no runbook {name}; it has: {}.", known.join(", ")),
            "Name it under \"runbooks\" in the group file and apply it.",
        ));
    };
    parse_runbook(&source.path, &source.text).map_err(|diagnostics| no_longer_valid(&diagnostics))
}

/// Stored sources were valid when they were applied; a newer parser may see it otherwise.
fn no_longer_valid(diagnostics: &[Diagnostic]) -> Fault {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    Fault::new(
        "BTN-0108",
        format!("what was applied is no longer understood: {}", lines.join("; ")),
        "Mend the file and apply it again.",
    )
}
