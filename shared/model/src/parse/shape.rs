//! Holds a tree against a JSON Schema made by schemars from our own types, and says what is wrong in an operator's words.
//!
//! It knows exactly the part of JSON Schema that those types use; it is no validator for foreign schemas.

use serde_json::{Map, Value};

use super::{Faults, listed, names::Strings};
use crate::{
    diagnostic::{code, nearest},
    group::{TimeOfDay, TimeZoneName},
    time::Span,
    yaml::{Content, Entry, Node, Position, Scalar},
};

/// A schema with its definitions, and how strings are to be read.
pub(super) struct Shape<'a, 'n, 'f> {
    /// The document that `$ref` points into.
    pub(super) root: &'a Value,
    pub(super) strings: Strings<'n>,
    pub(super) faults: &'a mut Faults<'f>,
}

/// What a schema is, once `$ref` and `null` are out of the way.
struct Resolved<'a> {
    /// The type's name, as in `HostName`, where it has one.
    name: &'a str,
    schema: &'a Value,
    nullable: bool,
}

impl<'a> Shape<'a, '_, '_> {
    /// Reads `node` as `schema` says. `label` names it in messages; `at` is where its key stands. What comes back can be
    /// decoded if no fault was added.
    pub(super) fn read(&mut self, node: &Node, schema: &'a Value, label: &str, at: Position) -> Value {
        let resolved = self.resolve(schema);
        if resolved.nullable && node.is_null() {
            return Value::Null;
        }
        if let Some(text) = node.text()
            && self.strings.take_template(text)
        {
            return self.template(node, text, &resolved, label);
        }
        if resolved.name == "Connection" && node.text().is_some() && self.strings.is_templates() {
            self.strings.use_connection(node);
            return node.to_json();
        }
        match resolved.schema {
            Value::Object(fields) => {
                let alternatives = self.alternatives(resolved.schema);
                if !alternatives.is_empty() {
                    return self.read_alternatives(node, &alternatives, label, at);
                }
                match fields.get("type").and_then(first_type) {
                    Some("object") => self.read_object(node, fields, label, at),
                    Some("array") => self.read_list(node, fields, label, at),
                    Some(_) => self.read_scalar(node, &resolved, fields, label, at),
                    None => self.read_any(node),
                }
            }
            _ => self.read_any(node),
        }
    }

    fn resolve(&self, schema: &'a Value) -> Resolved<'a> {
        let mut resolved = Resolved { name: "", schema, nullable: false };
        // a chain of references is as long as the types are nested; the bound is for a schema that is wrong
        for _ in 0..16 {
            let fields = resolved.schema;
            if fields["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "null")) {
                resolved.nullable = true;
            }
            if let Some(reference) = fields["$ref"].as_str() {
                resolved.name = reference.rsplit('/').next().unwrap_or("");
                resolved.schema = &self.root["$defs"][resolved.name];
                continue;
            }
            if let Some(any) = fields["anyOf"].as_array() {
                let rest: Vec<&Value> = any.iter().filter(|one| one["type"] != "null").collect();
                if rest.len() < any.len() {
                    resolved.nullable = true;
                }
                if let [one] = rest.as_slice() {
                    resolved.schema = one;
                    continue;
                }
            }
            break;
        }
        resolved
    }

    /// The ways a value may be written, if there are several.
    fn alternatives(&self, schema: &'a Value) -> Vec<Resolved<'a>> {
        let several = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
        several.into_iter().flatten().filter(|one| one["type"] != "null").map(|one| self.resolve(one)).collect()
    }

    fn template(&mut self, node: &Node, text: &str, resolved: &Resolved<'a>, label: &str) -> Value {
        let takes_text = self.takes_text(resolved);
        let whole = self.strings.template(text, node.at, label, resolved.name == "Text", self.faults);
        if whole == Some(false) && !takes_text {
            let expected = self.expected(resolved);
            let remedy = "write one ${…} with nothing around it";
            self.faults.add(
                node.at,
                code::WRONG_VALUE,
                format!("{label} must be {expected}, but text stands around ${{…}}"),
                remedy,
            );
        }
        node.to_json()
    }

    fn takes_text(&self, resolved: &Resolved<'a>) -> bool {
        let own = match resolved.schema["type"].as_str().or_else(|| first_type(&resolved.schema["type"])) {
            Some(kind) => kind == "string",
            None => !resolved.schema["anyOf"].is_array() && !resolved.schema["oneOf"].is_array(),
        };
        own || self.alternatives(resolved.schema).iter().any(|one| self.takes_text(one))
    }

    fn read_alternatives(&mut self, node: &Node, alternatives: &[Resolved<'a>], label: &str, at: Position) -> Value {
        let of_type =
            |kind: &'static str| alternatives.iter().filter(move |one| first_type(&one.schema["type"]) == Some(kind));
        match &node.content {
            Content::Map(entries) => {
                let objects: Vec<&Value> = of_type("object").map(|one| one.schema).collect();
                match objects.as_slice() {
                    [] => self.wrong(node, label, &self.expected_of(alternatives), ""),
                    [one] => return self.read(node, one, label, at),
                    several => return self.read_tagged(entries, several, label, at),
                }
            }
            Content::List(_) => match of_type("array").next() {
                Some(list) => return self.read(node, list.schema, label, at),
                None => self.wrong(node, label, &self.expected_of(alternatives), ""),
            },
            Content::Scalar(_) => {
                let choices: Vec<&str> = alternatives.iter().flat_map(|one| choices(one.schema)).collect();
                if let Some(text) = node.text().filter(|text| choices.contains(text)) {
                    return Value::from(text);
                }
                let scalar = alternatives.iter().find(|one| {
                    choices.is_empty() && !matches!(first_type(&one.schema["type"]), Some("object" | "array"))
                });
                match scalar {
                    Some(one) if one.name.is_empty() => return self.read(node, one.schema, label, at),
                    Some(one) => {
                        let fields = one.schema.as_object().cloned().unwrap_or_default();
                        return self.read_scalar(node, one, &fields, label, at);
                    }
                    None => {
                        let meant = node.text().and_then(|text| nearest(text, choices.iter().copied()));
                        let remedy = meant.map(|name| format!("did you mean {name:?}?")).unwrap_or_default();
                        self.wrong(node, label, &self.expected_of(alternatives), &remedy);
                    }
                }
            }
        }
        Value::Null
    }

    /// `{ tcp: … }` or `{ http: … }`: exactly one key says which.
    fn read_tagged(&mut self, entries: &[Entry], several: &[&'a Value], label: &str, at: Position) -> Value {
        let tags: Vec<&str> =
            several.iter().filter_map(|one| one["properties"].as_object()?.keys().next()).map(String::as_str).collect();
        let mut read = Map::new();
        for entry in entries {
            match several.iter().find(|one| one["properties"].get(&entry.key).is_some()) {
                Some(one) => {
                    let value = self.read(&entry.node, &one["properties"][&entry.key], &quoted(&entry.key), entry.at);
                    read.insert(entry.key.clone(), value);
                }
                None => self.unknown_key(entry, label, &tags),
            }
        }
        if read.len() > 1 || entries.is_empty() {
            let message = format!("{label} must have exactly one key");
            self.faults.add(at, code::WRONG_VALUE, message, format!("it takes one of {}", listed(&tags)));
        }
        Value::Object(read)
    }

    fn read_object(&mut self, node: &Node, fields: &'a Map<String, Value>, label: &str, at: Position) -> Value {
        let empty: &[Entry] = &[];
        let entries = match &node.content {
            Content::Map(entries) => entries.as_slice(),
            Content::Scalar(_) if node.is_null() => empty,
            Content::Scalar(_) | Content::List(_) => {
                let keys: Vec<&str> = properties(fields).map(|(key, _)| key).collect();
                let remedy = if keys.is_empty() { String::new() } else { format!("it takes {}", listed(&keys)) };
                self.wrong(node, label, "a mapping (key: value)", &remedy);
                return Value::Null;
            }
        };
        let known: Vec<&str> = properties(fields).map(|(key, _)| key).collect();
        let pattern =
            fields.get("patternProperties").and_then(Value::as_object).and_then(|patterns| patterns.values().next());
        let others = fields.get("additionalProperties").filter(|schema| **schema != Value::Bool(false));
        let mut read = Map::new();
        for entry in entries {
            let schema = match (fields.get("properties").and_then(|known| known.get(&entry.key)), pattern, others) {
                (Some(schema), _, _) => schema,
                (None, Some(schema), _) => {
                    self.check_name(&entry.key, entry.at, "a name");
                    schema
                }
                (None, None, Some(schema)) => schema,
                (None, None, None) => {
                    self.unknown_key(entry, label, &known);
                    continue;
                }
            };
            read.insert(entry.key.clone(), self.read(&entry.node, schema, &quoted(&entry.key), entry.at));
        }
        for key in fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !entries.iter().any(|entry| entry.key == key) {
                let schema = &fields["properties"][key];
                let what = schema["description"].as_str().and_then(|text| text.split(['.', '\n']).next()).unwrap_or("");
                let expected = self.expected(&self.resolve(schema));
                let what = if what.is_empty() || what.contains('`') {
                    expected
                } else {
                    format!("{expected} ({})", lowered(what))
                };
                self.faults.add(at, code::MISSING_KEY, format!("{label} lacks {key:?}"), format!("add {key}: {what}"));
            }
        }
        Value::Object(read)
    }

    fn read_list(&mut self, node: &Node, fields: &'a Map<String, Value>, label: &str, at: Position) -> Value {
        let Content::List(items) = &node.content else {
            let remedy = match &node.content {
                Content::Scalar(scalar) if !scalar.raw.is_empty() => format!("write [{}]", scalar.raw),
                _ => "write [first, second], or one entry a line, each after a dash".to_owned(),
            };
            self.wrong(node, label, "a list", &remedy);
            return Value::Null;
        };
        let label = format!("an entry of {label}");
        match fields.get("items") {
            Some(schema) => {
                Value::Array(items.iter().map(|item| self.read(item, schema, &label, at.max(item.at))).collect())
            }
            None => Value::Array(items.iter().map(|item| self.read_any(item)).collect()),
        }
    }

    fn read_scalar(
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

    fn read_boolean(&mut self, node: &Node, scalar: &Scalar, label: &str) -> Value {
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

    fn read_integer(&mut self, node: &Node, scalar: &Scalar, fields: &Map<String, Value>, label: &str) -> Value {
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

    fn read_text(&mut self, node: &Node, scalar: &Scalar, kind: &Resolved<'a>, label: &str) -> Value {
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
            "TimeOfDay" => {
                if text.parse::<TimeOfDay>().is_err() {
                    let message = format!("{label} must be a time of day, not {text:?}");
                    self.faults.add(
                        node.at,
                        code::WRONG_VALUE,
                        message,
                        "write it with four digits, from 00:00 to 23:59: \"09:30\"",
                    );
                }
            }
            "TimeZoneName" => {
                if TimeZoneName::new(text).is_err() {
                    let remedy = match zone_near(text) {
                        Some(name) => format!("did you mean {name:?}?"),
                        None => "write a name of the IANA database, such as Europe/Berlin, America/New_York or UTC"
                            .to_owned(),
                    };
                    self.faults.add(node.at, code::WRONG_VALUE, format!("there is no time zone {text:?}"), remedy);
                }
            }
            name if name.ends_with("Name") || name == "HostRole" => {
                self.check_name(text, node.at, &self.expected(kind))
            }
            _ => {}
        }
        Value::from(self.strings.literal(text, node.at, label, self.faults))
    }

    fn read_span(&mut self, node: &Node, scalar: &Scalar, label: &str) -> Value {
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

    /// A value of no particular type: a variable, a bound parameter.
    pub(super) fn read_any(&mut self, node: &Node) -> Value {
        match &node.content {
            Content::Scalar(scalar) if scalar.is_ambiguous() => {
                let meant = matches!(scalar.raw.to_ascii_lowercase().as_str(), "yes" | "on" | "y");
                let message = format!("{:?} can be text or mean {meant}", scalar.raw);
                self.faults.add(
                    node.at,
                    code::WRONG_VALUE,
                    message,
                    format!("write {meant}, or {:?} in quotes for the text", scalar.raw),
                );
                Value::Null
            }
            Content::Scalar(scalar) => match scalar.value.as_str() {
                Some(text) if self.strings.take_template(text) => {
                    self.strings.template(text, node.at, "the value", false, self.faults);
                    scalar.value.clone()
                }
                Some(text) => Value::from(self.strings.literal(text, node.at, "the value", self.faults)),
                None => scalar.value.clone(),
            },
            Content::List(items) => Value::Array(items.iter().map(|item| self.read_any(item)).collect()),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), self.read_any(&entry.node))).collect())
            }
        }
    }

    fn check_name(&mut self, text: &str, at: Position, what: &str) {
        if crate::ids::HostName::new(text).is_err() {
            let remedy = "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit";
            self.faults.add(at, code::WRONG_VALUE, format!("{text:?} cannot be {what}"), remedy);
        }
    }

    fn unknown_key(&mut self, entry: &Entry, label: &str, known: &[&str]) {
        let remedy = match nearest(&entry.key, known.iter().copied()) {
            Some(name) => format!("did you mean {name:?}?"),
            None if known.is_empty() => "it takes no keys".to_owned(),
            None => format!("it takes {}", listed(known)),
        };
        self.faults.add(entry.at, code::UNKNOWN_KEY, format!("unknown key {:?} in {label}", entry.key), remedy);
    }

    fn wrong(&mut self, node: &Node, label: &str, expected: &str, remedy: &str) {
        let found = match &node.content {
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
            Content::Scalar(scalar) => match &scalar.value {
                Value::Null => "nothing".to_owned(),
                Value::Bool(value) => value.to_string(),
                Value::Number(_) => format!("the number {}", scalar.raw),
                _ => format!("the text {:?}", scalar.raw.chars().take(60).collect::<String>()),
            },
        };
        self.faults.add(node.at, code::WRONG_VALUE, format!("{label} must be {expected}, not {found}"), remedy);
    }

    fn expected_of(&self, alternatives: &[Resolved<'a>]) -> String {
        let mut all: Vec<String> = Vec::new();
        for one in alternatives {
            let tag = one.schema["properties"].as_object().and_then(|known| known.keys().next());
            all.push(match tag {
                Some(tag) if first_type(&one.schema["type"]) == Some("object") => format!("{{ {tag}: … }}"),
                _ => self.expected(one),
            });
        }
        all.join(" or ")
    }

    fn expected(&self, kind: &Resolved<'a>) -> String {
        match kind.name {
            "Span" => return "a length of time such as 30s or 5m".to_owned(),
            "TimeOfDay" => return "a time of day such as 22:00".to_owned(),
            "TimeZoneName" => return "a time zone such as Europe/Berlin".to_owned(),
            "HostRole" => return "the name of a host role".to_owned(),
            "Connection" if self.strings.is_templates() => return "the name of a connection of the group".to_owned(),
            name => {
                if let Some(of) = name.strip_suffix("Name") {
                    return format!("the name of a {}", of.to_lowercase());
                }
            }
        }
        let alternatives = self.alternatives(kind.schema);
        if !alternatives.is_empty() {
            return self.expected_of(&alternatives);
        }
        let choices = choices(kind.schema);
        if !choices.is_empty() {
            return choices.join(" or ");
        }
        match first_type(&kind.schema["type"]) {
            Some("string") => "text",
            Some("integer") => "a whole number",
            Some("number") => "a number",
            Some("boolean") => "true or false",
            Some("array") => "a list",
            Some("object") => "a mapping (key: value)",
            _ => "a value",
        }
        .to_owned()
    }
}

/// The type that is not `null`.
fn first_type(kind: &Value) -> Option<&str> {
    match kind {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

fn properties(fields: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    fields
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, schema)| (key.as_str(), schema))
}

/// What an enum of plain words may be: `enum`, `const`, or alternatives of them.
fn choices(schema: &Value) -> Vec<&str> {
    let own = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    own.filter_map(Value::as_str).collect()
}

fn quoted(key: &str) -> String {
    format!("{key:?}")
}

/// A doc comment's first words inside a sentence.
fn lowered(text: &str) -> String {
    let mut chars = text.trim().chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.trim().to_owned(),
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
