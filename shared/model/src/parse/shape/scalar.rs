//! Values that are neither lists nor mappings: their type, and what a slip of the pen probably meant.

use serde_json::{Map, Value};

use super::{Resolved, Shape, choices, first_type};
use crate::{
    diagnostic::{code, nearest},
    group::{TimeOfDay, TimeZoneName},
    parse::listed,
    time::Span,
    yaml::{Node, Position, Scalar},
};

impl<'a> Shape<'a, '_, '_> {
    pub(super) fn read_scalar(
        &mut self,
        node: &Node,
        kind: &Resolved<'a>,
        fields: &Map<String, Value>,
        label: &str,
        _: Position,
    ) -> Value {
        let Some(scalar) = node.scalar() else {
            self.wrong(node, label, &self.expected(kind), "");
            return Value::Null;
        };
        if scalar.value.is_null() {
            let message = format!("{label} is empty");
            self.faults.add(
                node.at,
                code::WRONG_VALUE,
                message,
                format!("write {}, or take the line out", self.expected(kind)),
            );
            return Value::Null;
        }
        match fields.get("type").and_then(first_type) {
            Some("boolean") => self.read_boolean(node, scalar, label),
            Some("integer") => self.read_integer(node, scalar, fields, label),
            Some("number") if scalar.value.is_number() => scalar.value.clone(),
            Some("string") => self.read_text(node, scalar, kind, label),
            _ => {
                self.wrong(node, label, &self.expected(kind), "");
                Value::Null
            }
        }
    }

    pub(super) fn read_boolean(&mut self, node: &Node, scalar: &Scalar, label: &str) -> Value {
        if scalar.value.is_boolean() {
            return scalar.value.clone();
        }
        let remedy = match scalar.raw.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "1" | "true" => "write true",
            "no" | "off" | "n" | "0" | "false" => "write false",
            _ => "",
        };
        self.wrong(node, label, "true or false", remedy);
        Value::Null
    }

    pub(super) fn read_integer(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        fields: &Map<String, Value>,
        label: &str,
    ) -> Value {
        let Some(number) = scalar.value.as_i64().map(i128::from).or_else(|| scalar.value.as_u64().map(i128::from))
        else {
            let bare = scalar.raw.trim();
            let remedy = if bare.parse::<i64>().is_ok() {
                format!("write {bare} without quotes or leading zeros")
            } else {
                String::new()
            };
            self.wrong(node, label, "a whole number", &remedy);
            return Value::Null;
        };
        let bound = |key: &str| fields.get(key).and_then(Value::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        #[expect(
            clippy::cast_precision_loss,
            reason = "bounds are small; a number near 2^53 is out of them either way"
        )]
        let value = number as f64;
        if low.is_some_and(|low| value < low) || high.is_some_and(|high| value > high) {
            let range = match (low, high) {
                (Some(low), Some(high)) => format!("it goes from {low} to {high}"),
                (Some(low), None) => format!("it is at least {low}"),
                _ => "it is smaller".to_owned(),
            };
            self.faults.add(node.at, code::WRONG_VALUE, format!("{label} cannot be {number}"), range);
        }
        scalar.value.clone()
    }

    pub(super) fn read_text(&mut self, node: &Node, scalar: &Scalar, kind: &Resolved<'a>, label: &str) -> Value {
        if kind.name == "Span" {
            return self.read_span(node, scalar, label);
        }
        let Some(text) = scalar.value.as_str() else {
            self.wrong(node, label, "text", &format!("write {:?}, in quotes", scalar.raw));
            return Value::Null;
        };
        let choices = choices(kind.schema);
        if !choices.is_empty() && !choices.contains(&text) {
            let remedy = match nearest(text, choices.iter().copied()) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("it takes {}", listed(&choices)),
            };
            self.faults.add(node.at, code::WRONG_VALUE, format!("{label} cannot be {text:?}"), remedy);
        }
        match kind.name {
            "TimeOfDay" if text.parse::<TimeOfDay>().is_err() => {
                let message = format!("{label} must be a time of day, not {text:?}");
                self.faults.add(
                    node.at,
                    code::WRONG_VALUE,
                    message,
                    "write it with four digits, from 00:00 to 23:59: \"09:30\"",
                );
            }
            "TimeZoneName" if TimeZoneName::new(text).is_err() => {
                let remedy = match zone_near(text) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => {
                        "write a name of the IANA database, such as Europe/Berlin, America/New_York or UTC".to_owned()
                    }
                };
                self.faults.add(node.at, code::WRONG_VALUE, format!("there is no time zone {text:?}"), remedy);
            }
            "TimeZoneName" => {}
            name if name.ends_with("Name") || name == "HostRole" => {
                self.check_name(text, node.at, &self.expected(kind))
            }
            _ => {}
        }
        Value::from(self.strings.literal(text, node.at, label, self.faults))
    }

    pub(super) fn read_span(&mut self, node: &Node, scalar: &Scalar, label: &str) -> Value {
        match scalar.value.as_str().unwrap_or("").parse::<Span>() {
            Ok(span) if span == Span::default() => {
                let remedy = "write how long it may take, as in 30s or 5m";
                self.faults.add(node.at, code::WRONG_VALUE, format!("{label} cannot be no time at all"), remedy);
            }
            Ok(_) => return scalar.value.clone(),
            Err(_) => {
                let raw = scalar.raw.trim();
                let remedy = match raw.parse::<u64>() {
                    Ok(number) => format!("write {number}s for seconds or {number}m for minutes"),
                    Err(_) => span_near(raw),
                };
                let message = format!("{label} must be a length of time, not {:?}", scalar.raw);
                self.faults.add(node.at, code::WRONG_VALUE, message, remedy);
            }
        }
        Value::Null
    }
}

/// `5 min`, `2hours`, `30sec`, `1d`: what was probably meant.
fn span_near(raw: &str) -> String {
    let digits: String = raw.chars().take_while(char::is_ascii_digit).collect();
    let unit = raw[digits.len()..].trim().to_ascii_lowercase();
    let short = match unit.as_str() {
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "msec" | "millis" | "milliseconds" => "ms",
        "s" | "m" | "h" | "ms" => &unit,
        "d" | "day" | "days" => {
            return digits
                .parse::<u64>()
                .ok()
                .and_then(|days| days.checked_mul(24))
                .map_or_else(String::new, |hours| format!("write {hours}h"));
        }
        _ => "",
    };
    if digits.is_empty() || short.is_empty() {
        return "write a whole number and ms, s, m or h: 500ms, 30s, 5m or 1h30m".to_owned();
    }
    format!("write {digits}{short}")
}

/// `Berlin` for `Europe/Berlin`, or a slip of the pen.
fn zone_near(text: &str) -> Option<&'static str> {
    let last = |name: &'static str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
    TimeZoneName::available().find(|name| last(name)).or_else(|| nearest(text, TimeZoneName::available()))
}
