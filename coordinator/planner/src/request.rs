//! What an operator asks for, and the guards that need nothing but the request: inputs and the maintenance window.

use std::collections::{BTreeMap, BTreeSet};

use baton_model::{
    group::Group,
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
    // A step's own window too: what would be refused half way is refused at the beginning.
    let named = runbook.window.iter().chain(runbook.all_steps().filter_map(|step| step.window.as_ref()));
    let mut seen = BTreeSet::new();
    named.filter(|name| seen.insert(*name)).try_for_each(|name| in_window(group, runbook, name, request))
}

fn in_window(group: &Group, runbook: &Runbook, name: &str, request: &Request) -> Result<(), Fault> {
    let Some(window) = group.windows.get(name) else {
        let known: Vec<&str> = group.windows.keys().map(String::as_str).collect();
        return Err(Fault::new(
            "BTN-0131",
            format!("runbook {} runs in window {name:?}, which group {} does not define.", runbook.name, group.name),
            format!(
                "Define it under \"windows\" (now there: {}).",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ),
        ));
    };
    if window.is_open(request.now) {
        return Ok(());
    }
    let next = window
        .next_opening(request.now)
        .map_or("it never opens".to_owned(), |at| format!("it opens next at {}", stamp(at)));
    Err(Fault::new(
        "BTN-0105",
        format!("window {name} of group {} is closed; {next}.", group.name),
        "Wait for it, or override with --override window=REASON.",
    ))
}

fn stamp(at: Moment) -> String {
    // Seconds are enough for a person; the offset is written out.
    let seconds = at.0 / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// Days since 1970-01-01 to a date of the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
