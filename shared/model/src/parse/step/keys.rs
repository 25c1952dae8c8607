//! A step's keys: those that every step may have, and what people write instead of them.

use serde_json::{Map, Value};

use super::{OTHER_WORK, OWN_KEYS, Place, Reader, UNREACHABLE};
use crate::{
    action::Entry as Action,
    diagnostic::{code, nearest},
    parse::{
        listed,
        names::{Strings, check_identifier},
        rules,
        shape::Shape,
    },
    runbook::StepFile,
    schema,
    yaml::{Entry, Node},
};

/// What other tools call things.
const FOREIGN: &[(&str, &str)] = &[
    ("hosts", "on"),
    ("host", "on"),
    ("where", "on"),
    ("if", "when"),
    ("condition", "when"),
    ("loop", "for"),
    ("with_items", "for"),
    ("foreach", "for"),
    ("for_each", "for"),
    ("retries", "retry"),
    ("ignore_errors", "on_failure: continue"),
    ("rollback", "undo"),
    ("parallelism", "parallel"),
    ("title", "name"),
    ("description", "name"),
    ("manual", "confirm"),
    ("pause", "confirm"),
    ("shell", "exec.run"),
    ("command", "exec.run"),
    ("script", "exec.run"),
    ("service", "service.start"),
];

impl Reader<'_, '_> {
    /// The keys of [`StepFile`]; unknown ones are told here.
    pub(super) fn options(&mut self, entries: &[Entry], catalogue: &[Action]) -> StepFile {
        let schema = schema::step_types();
        let mut read = Map::new();
        for entry in entries {
            let key = entry.key.as_str();
            if let Some(of_key) = schema["properties"].get(key) {
                let before = self.faults.list.len();
                let mut shape = Shape { root: schema, strings: Strings::Literal, faults: self.faults };
                let value = shape.read(&entry.node, of_key, &format!("{key:?}"), entry.at);
                if self.faults.list.len() == before {
                    read.insert(entry.key.clone(), value);
                }
            } else if !OWN_KEYS.contains(&key)
                && !OTHER_WORK.contains(&key)
                && !catalogue.iter().any(|action| action.name == key)
            {
                self.unknown_key(entry, catalogue);
            }
        }
        for key in ["register", "keep"] {
            if let Some(entry) = entries.iter().find(|entry| entry.key == key)
                && let Some(name) = entry.node.text()
            {
                check_identifier(
                    name,
                    if key == "register" { "a result" } else { "a fact" },
                    entry.node.at,
                    self.faults,
                );
            }
        }
        serde_json::from_value(Value::Object(read)).unwrap_or_default()
    }

    pub(super) fn unknown_key(&mut self, entry: &Entry, catalogue: &[Action]) {
        let schema = schema::step_types();
        let options = schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        let actions = catalogue.iter().map(|action| action.name);
        let known: Vec<&str> =
            OWN_KEYS.iter().copied().chain(options).chain(OTHER_WORK.iter().copied()).chain(actions).collect();
        let foreign = FOREIGN.iter().find(|(theirs, _)| *theirs == entry.key).map(|(_, ours)| *ours);
        let family = entry.key.split_once('.').map(|(family, _)| family);
        let said = match entry.key.as_str() {
            "<<" => Some("keys are not merged; write them out"),
            "together" => {
                Some("a together stands alone in its entry and holds no other; write its steps beside the others")
            }
            _ => None,
        };
        if let Some(remedy) = said {
            self.faults.add(entry.at, code::UNKNOWN_KEY, format!("unknown key {:?} in a step", entry.key), remedy);
            return;
        }
        let remedy = match (foreign.or_else(|| nearest(&entry.key, known.iter().copied())), family) {
            (Some(name), _) => format!("did you mean {name:?}?"),
            (None, Some(family)) if known.iter().any(|name| name.starts_with(&format!("{family}."))) => {
                let of_family: Vec<&str> =
                    known.iter().copied().filter(|name| name.starts_with(&format!("{family}."))).collect();
                format!("there are {}", listed(&of_family))
            }
            _ => {
                let mut families: Vec<&str> =
                    catalogue.iter().filter_map(|action| action.name.split('.').next()).collect();
                families.dedup();
                format!(
                    "actions are those of {}; beside them a step takes {}, {}",
                    families.join(", "),
                    OWN_KEYS.join(", "),
                    "timeout, retry, register and so on"
                )
            }
        };
        self.faults.add(entry.at, code::UNKNOWN_KEY, format!("unknown key {:?} in a step", entry.key), remedy);
    }

    /// A guard is of what the coordinators decide; what happens on a host is skipped by name, not overridden.
    pub(super) fn check_guard(&mut self, guard: &str, entry: &Entry, work: &Entry, refuses: bool) {
        if work.key == UNREACHABLE || refuses {
            return rules::check_guard(guard, entry.node.at, self.faults);
        }
        let message = format!("\"guard\" has no meaning for {}", work.key);
        let remedy = format!("take it out; it goes with {UNREACHABLE}, and with refuse");
        self.faults.add(entry.at, code::CONTRADICTION, message, remedy);
    }

    /// What is looked at before there is a run: on hosts, in the prechecks, and nothing that may fail.
    pub(super) fn refuse(&mut self, entry: &Entry, step: &Node, work: &Entry, on_hosts: bool, place: Place) -> String {
        let remedy = self.sentence(&entry.node, "\"refuse\"");
        if remedy.trim().is_empty() && entry.node.scalar().is_some() {
            let message = "\"refuse\" does not say what to do";
            self.faults.add(entry.at, code::WRONG_VALUE, message, "write what an operator does to be let in");
        }
        if !place.precheck {
            let message = "\"refuse\" stands in a step, and the start is refused by prechecks";
            self.faults.add(entry.at, code::CONTRADICTION, message, "move the step to prechecks, or take it out");
        } else if !on_hosts {
            let message = format!("\"refuse\" has no meaning for {}", work.key);
            let remedy = "take it out; it goes with an action that is looked at on hosts";
            self.faults.add(entry.at, code::CONTRADICTION, message, remedy);
        }
        if let Some(goes_on) = step.entry("on_failure").filter(|entry| entry.node.text() == Some("continue")) {
            let message = "on_failure: continue stands beside refuse, which lets no run begin";
            self.faults.add(goes_on.at, code::CONTRADICTION, message, "take one of them out");
        }
        remedy
    }

    /// What only tasks on hosts have.
    pub(super) fn refuse_host_keys(&mut self, entries: &[Entry], work: &Entry) {
        const HOST_KEYS: &[&str] = &["parallel", "unreachable", "retry", "undo", "register", "keep", "on_failure"];
        for entry in entries.iter().filter(|entry| HOST_KEYS.contains(&entry.key.as_str())) {
            let message = format!("{:?} has no meaning for {}", entry.key, work.key);
            self.faults.add(entry.at, code::CONTRADICTION, message, "take it out");
        }
    }
}
