//! Holds a tree against a JSON Schema made by schemars from our own types, and says what is wrong in an operator's words.
//!
//! It knows exactly the part of JSON Schema that those types use; it is no validator for foreign schemas.

use serde_json::{Map, Value};

mod scalar;
mod wording;

use super::{Faults, listed, names::Strings};
use crate::{
    diagnostic::{code, nearest},
    yaml::{Content, Entry, Node, Position},
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
                let glued = node.text().and_then(|text| text.split_once(':')).filter(|(key, _)| keys.contains(key));
                let remedy = if let Some((key, value)) = glued {
                    format!("write a space after the colon: {key}: {value}")
                } else if keys.is_empty() {
                    String::new()
                } else {
                    format!("it takes {}", listed(&keys))
                };
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
        let unknown = || entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
        for key in fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            let there = entries.iter().any(|entry| entry.key == key);
            // a misspelt key is told once
            let misspelt = || unknown().any(|entry| nearest(&entry.key, known.iter().copied()) == Some(key));
            if !there && !misspelt() {
                let remedy = format!("add {key}: {}", self.wanted(key, &fields["properties"][key]));
                self.faults.add(at, code::MISSING_KEY, format!("{label} lacks {key:?}"), remedy);
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
        // Hosts are named in certificates, which hold lower case alone.
        let is_host = what.ends_with("a host");
        let refused =
            if is_host { crate::ids::HostName::new(text).is_err() } else { crate::ids::GroupName::new(text).is_err() };
        if refused {
            let letters = if is_host { "lower-case letters" } else { "letters" };
            let remedy = format!("1 to 63 {letters}, digits, '-', '_' or '.', beginning with a letter or digit");
            self.faults.add(at, code::WRONG_VALUE, format!("{text:?} cannot be {what}"), remedy);
        }
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
