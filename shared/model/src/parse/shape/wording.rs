//! What a schema wants, in words, and how a fault of the shape is told.

use serde_json::Value;

use super::{Resolved, Shape, choices, first_type};
use crate::{
    diagnostic::{code, nearest},
    parse::listed,
    yaml::{Content, Entry, Node},
};

impl<'a> Shape<'a, '_, '_> {
    /// What to write for a key that is missing.
    pub(super) fn wanted(&self, key: &str, schema: &'a Value) -> String {
        match key {
            "members" => return "{ NAME: { hosts: { ROLE: HOST } } }".to_owned(),
            "hosts" if schema.to_string().contains("Hosts") => return "{ ROLE: HOST }".to_owned(),
            "hosts" => return "{ NAME: { address: … } }".to_owned(),
            "argv" => return "[/path/to/program, argument]".to_owned(),
            "statements" => return "[{ sql: … }]".to_owned(),
            "probe" => return "{ service: { name: … } }, or one of tcp, http, command".to_owned(),
            _ => {}
        }
        let resolved = self.resolve(schema);
        let expected = self.expected(&resolved);
        let what = schema["description"].as_str().and_then(|text| text.split(['.', '\n', ':']).next()).unwrap_or("");
        let telling = !what.is_empty()
            && !what.contains('`')
            && matches!(first_type(&resolved.schema["type"]), Some("string" | "integer"));
        if telling && expected.len() < 20 { format!("{expected} ({})", lowered(what)) } else { expected }
    }

    pub(super) fn unknown_key(&mut self, entry: &Entry, label: &str, known: &[&str]) {
        let remedy = match nearest(&entry.key, known.iter().copied()) {
            Some(name) => format!("did you mean {name:?}?"),
            None if known.is_empty() => "it takes no keys".to_owned(),
            None => format!("it takes {}", listed(known)),
        };
        self.faults.add(entry.at, code::UNKNOWN_KEY, format!("unknown key {:?} in {label}", entry.key), remedy);
    }

    pub(super) fn wrong(&mut self, node: &Node, label: &str, expected: &str, remedy: &str) {
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

    pub(super) fn expected_of(&self, alternatives: &[Resolved<'a>]) -> String {
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

    pub(super) fn expected(&self, kind: &Resolved<'a>) -> String {
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
