//! JSON Schemas of the files, made from the types they are decoded into: published for editors, and what [`crate::parse`] reads by.

use std::sync::LazyLock;

use schemars::schema_for;
use serde_json::{Map, Value, json};

use crate::{
    action::{self, sql::Connection},
    group::{Component, ComponentProbe, Group, Sample},
    runbook::{DetachedFile, RearmFile, RejoinedFile, RuleFile, RunbookFile, StepFile, TransferFile, Unreached},
};

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $type:ty;)*) => {
        $($(#[$doc])* pub(crate) fn $name() -> &'static Value {
            static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema_for!($type).to_value());
            &SCHEMA
        })*
    };
}

types! {
    group_types = Group;
    connection_types = Connection;
    sample_types = Sample;
    component_types = Component;
    probe_types = ComponentProbe;
    runbook_types = RunbookFile;
    step_types = StepFile;
    rule_types = RuleFile;
    transfer_types = TransferFile;
    rejoined_types = RejoinedFile;
    detached_types = DetachedFile;
    rearm_types = RearmFile;
    unreached_types = Unreached;
}

/// The action catalogue, made once: its schemas are costly.
pub(crate) fn actions() -> &'static [action::Entry] {
    static ACTIONS: LazyLock<Vec<action::Entry>> = LazyLock::new(action::catalogue);
    &ACTIONS
}

/// Strings in which something is replaced.
fn template() -> Value {
    json!({ "type": "string", "pattern": r"\$\{" })
}

/// The JSON Schema of a group file.
pub fn group_schema() -> Value {
    let mut schema = group_types().clone();
    let mut definitions = Map::new();
    let observing: Map<String, Value> = action::catalogue()
        .iter()
        .filter(|entry| entry.changes.starts_with("Changes nothing"))
        .map(|entry| (entry.name.to_owned(), published_action(entry, &mut definitions)))
        .collect();
    if let Some(action) = schema.pointer_mut("/$defs/Sample/properties/action") {
        *action = json!({
            "description": "One action that changes nothing, with its parameters.",
            "type": "object", "properties": observing, "additionalProperties": false, "minProperties": 1, "maxProperties": 1
        });
    }
    let probe = published(probe_types(), &mut definitions, "probe");
    // The query itself may not be a template, but the published form of a definition may.
    let query = definitions.get_mut("probe.Query");
    if let Some(connection) = query.and_then(|query| query.pointer_mut("/anyOf/0/properties/connection")) {
        *connection = by_name(connection);
    }
    if let Some(component) = schema.pointer_mut("/$defs/Component/properties") {
        component["probe"] = probe;
        let stops = ["service.stop", "process.stop", "exec.run"];
        let stops: Map<String, Value> = action::catalogue()
            .iter()
            .filter(|entry| stops.contains(&entry.name))
            .map(|entry| (entry.name.to_owned(), published_action(entry, &mut definitions)))
            .collect();
        component["stop"] = json!({
            "description": "What stops it, where that is not the probe's own service or process.",
            "type": "object", "properties": stops, "additionalProperties": false, "minProperties": 1, "maxProperties": 1
        });
    }
    let connection = published(connection_types(), &mut definitions, "connection");
    schema["properties"]["connections"]["additionalProperties"] = connection;
    if let Some(known) = schema["$defs"].as_object_mut() {
        known.extend(definitions);
    }
    schema["title"] = json!("Baton group");
    schema
}

/// The JSON Schema of a runbook file.
pub fn runbook_schema() -> Value {
    let mut schema = runbook_types().clone();
    let mut definitions = Map::new();
    let mut actions = Map::new();
    for entry in action::catalogue() {
        actions.insert(entry.name.to_owned(), published_action(&entry, &mut definitions));
    }
    let mut step = published(step_types(), &mut definitions, "step");
    let one_action =
        json!({ "type": "object", "properties": actions.clone(), "additionalProperties": false, "minProperties": 1 });
    let mut properties = json!({
        "name": { "type": "string", "description": "What the step is called; without it: the action and what it acts on." },
        "on": {
            "description": "The hosts: ROLE, old.ROLE, new.ROLE, others.ROLE, host:NAME, or a list of these.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        },
        "when": { "type": ["string", "boolean"], "description": "An expression: the step is skipped unless it is true." },
        "for": { "description": "The step is done for each item of this list.", "anyOf": [{ "type": "array", "minItems": 1 }, { "type": "string" }] },
        "refuse": {
            "type": "string",
            "description": "Of a precheck: the start is refused where this does not hold on every host; the text says what to do."
        },
        "undo": {
            "description": "What abort does about this step before the role has moved.",
            "anyOf": [one_action.clone(), { "type": "array", "items": one_action }]
        },
        "confirm": { "type": "string", "description": "Stops for a person." },
        "approval": { "type": "string", "description": "Stops for a second person." },
        "role.transfer": nullable(published(transfer_types(), &mut definitions, "role.transfer")),
        "role.rejoined": published(rejoined_types(), &mut definitions, "role.rejoined"),
        "role.detached": published(detached_types(), &mut definitions, "role.detached"),
        "automatic.rearm": nullable(published(rearm_types(), &mut definitions, "automatic.rearm")),
        "coordinators.unreachable": published(unreached_types(), &mut definitions, "coordinators.unreachable"),
    });
    let works = [
        "confirm",
        "approval",
        "role.transfer",
        "role.rejoined",
        "role.detached",
        "automatic.rearm",
        "coordinators.unreachable",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(actions.keys().cloned());
    step["oneOf"] = works.map(|work| json!({ "required": [work] })).collect();
    if let (Some(properties), Some(known)) = (properties.as_object_mut(), step["properties"].as_object_mut()) {
        known.append(properties);
        known.extend(actions);
    }
    definitions.insert("Step".to_owned(), step);
    let step = json!({ "$ref": "#/$defs/Step" });
    definitions.insert(
        "Block".to_owned(),
        json!({ "if": { "required": ["together"] }, "then": {
            "type": "object",
            "properties": { "together": { "type": "array", "items": step, "minItems": 1 } },
            "additionalProperties": false
        }, "else": step }),
    );
    let blocks = json!({ "type": "array", "items": { "$ref": "#/$defs/Block" } });
    schema["properties"]["prechecks"] =
        json!({ "description": "They come first and change nothing.", "anyOf": [blocks.clone(), { "type": "null" }] });
    schema["properties"]["steps"] = blocks;
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(json!("steps"));
    }
    if !schema["$defs"].is_object() {
        schema["$defs"] = json!({});
    }
    if let Some(known) = schema["$defs"].as_object_mut() {
        known.extend(definitions);
    }
    schema["title"] = json!("Baton runbook");
    schema
}

/// An action's parameters, with connections by name where there is one.
fn published_action(entry: &action::Entry, definitions: &mut Map<String, Value>) -> Value {
    let mut own = published(entry.schema.as_value(), definitions, entry.name);
    own["description"] = json!(entry.changes);
    for place in ["/properties/connection", "/properties/replicas/items", "/properties/replicas/anyOf/0/items"] {
        if let Some(connection) = own.pointer_mut(place) {
            *connection = by_name(connection);
        }
    }
    own
}

fn by_name(definition: &Value) -> Value {
    json!({
        "description": "the name of a connection of the group, or a connection",
        "anyOf": [{ "type": "string" }, definition]
    })
}

fn nullable(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// A type's schema with templates allowed in its values; its definitions move to `definitions` under names of their own, since two
/// actions may each have a type of the same name.
fn published(schema: &Value, definitions: &mut Map<String, Value>, owner: &str) -> Value {
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
        if let Some(Value::Object(own)) = fields.remove("$defs") {
            for (name, definition) in own {
                definitions.insert(format!("{owner}.{name}"), templated(definition, owner, true));
            }
        }
    }
    templated(schema, owner, false)
}

/// Every value that is not text already may also be a template.
fn templated(schema: Value, owner: &str, here: bool) -> Value {
    let Value::Object(mut fields) = schema else { return schema };
    if let Some(name) = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/")) {
        let name = format!("#/$defs/{owner}.{name}");
        fields.insert("$ref".to_owned(), Value::from(name));
    }
    for key in ["properties", "patternProperties"] {
        if let Some(Value::Object(inner)) = fields.get_mut(key) {
            for (_, inner) in inner.iter_mut() {
                *inner = templated(inner.take(), owner, true);
            }
        }
    }
    for key in ["additionalProperties", "items"] {
        if let Some(inner) = fields.get_mut(key).filter(|inner| inner.is_object()) {
            *inner = templated(inner.take(), owner, true);
        }
    }
    let mut several = false;
    for key in ["anyOf", "oneOf"] {
        if let Some(Value::Array(inner)) = fields.get_mut(key) {
            several = true;
            for inner in inner.iter_mut() {
                *inner = templated(inner.take(), owner, false);
            }
        }
    }
    let free_text = fields.get("type").and_then(Value::as_str) == Some("string")
        && !fields.contains_key("enum")
        && !fields.contains_key("pattern");
    let reads_all = fields.is_empty()
        || (!several && !fields.contains_key("type") && !fields.contains_key("const") && !fields.contains_key("enum"));
    if !here || free_text || reads_all {
        return Value::Object(fields);
    }
    let mut outer = Map::new();
    for key in ["description", "default"] {
        outer.extend(fields.remove_entry(key));
    }
    outer.insert("anyOf".to_owned(), json!([Value::Object(fields), template()]));
    Value::Object(outer)
}
