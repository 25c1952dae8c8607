//! Binding parameters as PowerShell does: by name without regard to case, unknown ones refused in its words, values converted or
//! refused.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{cmdlet::Error, script::Call};

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Switch,
    /// A boolean that may be given as a switch: Confirm, WhatIf.
    Text,
    /// One of these, without regard to case.
    Of(&'static [&'static str]),
    /// A list of texts; null clears; a map with Add, Remove or Replace changes.
    ListModifier,
    Hashtable,
}

pub struct Bound<'a> {
    values: BTreeMap<&'static str, &'a Value>,
}

/// Parameters that every cmdlet has; those that change something have Confirm and WhatIf too.
const COMMON: &[(&str, Kind)] = &[("Verbose", Kind::Switch), ("Debug", Kind::Switch), ("WarningAction", Kind::Text)];

impl<'a> Bound<'a> {
    pub fn of(call: &'a Call, known: &[(&'static str, Kind)]) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for (given, value) in &call.parameters {
            let found = known.iter().chain(COMMON).find(|(name, _)| name.eq_ignore_ascii_case(given));
            let Some((name, kind)) = found else {
                let message = format!("A parameter cannot be found that matches parameter name '{given}'.");
                return Err((message, format!("NamedParameterNotFound,{}", call.cmdlet)));
            };
            check(name, *kind, value).map_err(|why| {
                let message = format!("Cannot bind parameter '{name}'. {why}");
                (message, format!("CannotConvertArgumentNoMessage,{}", call.cmdlet))
            })?;
            values.insert(*name, value);
        }
        Ok(Self { values })
    }

    /// None where it was not given, and where null was given.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).and_then(|value| value.as_str())
    }
    pub fn given(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).copied()
    }
    pub fn switch(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| **value == Value::Bool(true))
    }
    /// A mandatory parameter that is missing would be asked for, and there is nobody to answer.
    pub fn required(&self, name: &str, call: &Call) -> Result<&'a str, Error> {
        self.text(name).ok_or_else(|| {
            let message =
                format!("Cannot process command because of one or more missing mandatory parameters: {name}.");
            (message, format!("MissingMandatoryParameter,{}", call.cmdlet))
        })
    }
}

fn check(name: &str, kind: Kind, value: &Value) -> Result<(), String> {
    let good = match (kind, value) {
        (Kind::Switch, Value::Bool(_)) | (Kind::Text, Value::String(_)) | (Kind::Hashtable, Value::Object(_)) => true,
        (Kind::Of(names), Value::String(text)) => {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(text)) {
                return Err(format!(
                    "Cannot convert value \"{text}\" to the type of {name}. Specify one of the following enumerator names and try \
                     again: {}",
                    names.join(", ")
                ));
            }
            true
        }
        (Kind::ListModifier, Value::Null | Value::String(_)) => true,
        (Kind::ListModifier, Value::Array(items)) => items.iter().all(Value::is_string),
        (Kind::ListModifier, Value::Object(map)) => {
            map.keys().all(|key| ["add", "remove", "replace"].contains(&key.to_ascii_lowercase().as_str()))
        }
        _ => false,
    };
    if good { Ok(()) } else { Err(format!("Cannot convert {value} to the type required by the parameter.")) }
}
