//! What an operator asks for, and the guards that need nothing but the request: inputs and the maintenance window.

use std::collections::BTreeMap;

use baton_model::{
    group::{Group, Window},
    ids::{Epoch, MemberName, RunbookName},
    outcome::Fault,
    runbook::{GUARDS, Runbook},
    time::Moment,
};
use serde_json::Value;

/// A wish, as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The runbook's name in the group.
    pub runbook: RunbookName,
    pub to: Option<MemberName>,
    /// As typed: read by the input's declared type.
    pub inputs: BTreeMap<String, String>,
    pub reason: String,
    /// Guard → reason.
    pub overrides: BTreeMap<String, String>,
    /// An operator accepts, for this one run, that data may be lost: steps see it as `accepted_data_loss`.
    pub accepted_data_loss: bool,
    /// The proposer's stamp: decides whether a window is open.
    pub now: Moment,
}

/// The group's replicated state, as far as a plan depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    pub primary: MemberName,
    pub epoch: Epoch,
    pub revision: u64,
    pub facts: BTreeMap<String, Value>,
    /// Members that are not good standbys, with the word for why: `detached`, `lost`.
    pub standings: BTreeMap<MemberName, String>,
}

/// Reads the inputs by their types. All errors at once.
pub(crate) fn inputs(runbook: &Runbook, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, Value>, Fault> {
    let mut wrong = Vec::new();
    let mut values = BTreeMap::new();
    for (name, text) in given {
        match runbook.inputs.get(name) {
            None => {
                let known: Vec<&str> = runbook.inputs.keys().map(String::as_str).collect();
                let known = if known.is_empty() {
                    "it takes none".to_owned()
                } else {
                    format!("it takes {}", known.join(", "))
                };
                wrong.push(format!("there is no input {name:?} ({known})"));
            }
            Some(input) => match input.read(text) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(why) => wrong.push(format!("input {name}: {why}")),
            },
        }
    }
    for (name, input) in &runbook.inputs {
        if values.contains_key(name) || given.contains_key(name) {
            continue;
        }
        match &input.default {
            Some(default) => {
                values.insert(name.clone(), default.clone());
            }
            None if input.required => wrong.push(format!("input {name} is missing: {}", input.expected())),
            None => {
                values.insert(name.clone(), Value::Null);
            }
        }
    }
    if wrong.is_empty() {
        return Ok(values);
    }
    Err(Fault::new(
        "BTN-0130",
        format!("runbook {} cannot start: {}.", runbook.name, wrong.join("; ")),
        "Give inputs as -i name=value.",
    ))
}

/// An override that is misspelt, or has no reason, must not look as if it had been heard.
pub(crate) fn overrides(runbook: &Runbook, request: &Request) -> Result<(), Fault> {
    for (guard, reason) in &request.overrides {
        let known: Vec<&str> = GUARDS.into_iter().chain(runbook.guards()).collect();
        let wrong = if !known.contains(&guard.as_str()) {
            format!("there is no guard {guard:?} to override (there are {})", known.join(", "))
        } else if reason.trim().is_empty() {
            format!("overriding {guard} needs a reason")
        } else {
            continue;
        };
        return Err(Fault::new("BTN-0138", format!("{wrong}."), "Override with --override GUARD=REASON."));
    }
    Ok(())
}

/// A runbook with a window is refused outside it, with the next opening.
pub(crate) fn window(group: &Group, runbook: &Runbook, request: &Request) -> Result<(), Fault> {
    if request.overrides.contains_key("window") {
        return Ok(());
    }
    // A step's own window is the run's matter: the step waits for it.
    let Some(name) = &runbook.window else { return Ok(()) };
    let window = named_window(group, runbook, name)?;
    if window.is_open(request.now) {
        return Ok(());
    }
    let next = window
        .next_opening(request.now)
        .map_or("it never opens".to_owned(), |at| format!("it opens next at {}", window.told(at)));
    Err(Fault::new(
        "BTN-0105",
        format!("window {name} of group {} is closed; {next}.", group.name),
        "Wait for it, or override with --override window=REASON.",
    ))
}

/// The group's window of that name.
pub(crate) fn named_window<'a>(group: &'a Group, runbook: &Runbook, name: &str) -> Result<&'a Window, Fault> {
    group.windows.get(name).ok_or_else(|| {
        let known: Vec<&str> = group.windows.keys().map(String::as_str).collect();
        Fault::new(
            "BTN-0131",
            format!("runbook {} runs in window {name:?}, which group {} does not define.", runbook.name, group.name),
            format!(
                "Define it under \"windows\" (now there: {}).",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ),
        )
    })
}
