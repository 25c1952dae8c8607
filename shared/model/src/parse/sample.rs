//! A group's samples: each is one action that changes nothing, asked of the hosts of one role.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Faults,
    names::{Names, Strings, Uses},
    shape::Shape,
    step::changes_nothing,
};
use crate::{
    diagnostic::{code, nearest},
    expression::Template,
    group::SAMPLED_MAX,
    ids::SampleName,
    schema,
    time::Span,
    yaml::{Content, Entry, Node},
};

const EVERY_MIN: Span = Span::from_secs(1);
const EVERY_MAX: Span = Span::from_secs(3600);

/// `roles`: what each role's hosts are, the shared roles' and the members'.
pub(super) fn read(samples: &Node, root: &Node, uses: &mut Uses, faults: &mut Faults<'_>) -> Value {
    let mut read = Map::new();
    if !matches!(samples.content, Content::Map(_)) && !samples.is_null() {
        let remedy = "write NAME: { on: ROLE, action: { mssql.ag.sample: { … } } } below it";
        faults.add(samples.at, code::WRONG_VALUE, "\"samples\" must be a mapping (key: value)", remedy);
    }
    let mut asked = 0;
    for entry in samples.entries() {
        if SampleName::new(entry.key.as_str()).is_err() {
            let remedy = "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit";
            faults.add(entry.at, code::WRONG_VALUE, format!("{:?} cannot be the name of a sample", entry.key), remedy);
        }
        asked += hosts(entry, root, faults);
        read.insert(entry.key.clone(), one(entry, root, uses, faults));
    }
    if asked > SAMPLED_MAX {
        let message = format!("the samples ask {asked} hosts; at most {SAMPLED_MAX} are kept");
        faults.add(samples.at, code::WRONG_VALUE, message, "ask fewer roles, or make two groups of it");
    }
    Value::Object(read)
}

fn one(entry: &Entry, root: &Node, uses: &mut Uses, faults: &mut Faults<'_>) -> Value {
    let schema = schema::sample_types();
    let label = format!("sample {:?}", entry.key);
    let head: Vec<Entry> = entry.node.entries().iter().filter(|inner| inner.key != "action").cloned().collect();
    // The action is read by its own rules; that it is missing is told with the rest.
    let mut plain = Node { at: entry.node.at, content: Content::Map(head) };
    if !matches!(entry.node.content, Content::Map(_)) {
        plain = entry.node.clone();
    }
    let before = faults.list.len();
    let mut decoded = Shape { root: schema, strings: Strings::Literal, faults }.read(&plain, schema, &label, entry.at);
    let action = entry.node.entry("action");
    if action.is_some() {
        let own = faults.list.split_off(before);
        faults.list.extend(
            own.into_iter()
                .filter(|fault| !(fault.code == code::MISSING_KEY && fault.message.ends_with("lacks \"action\""))),
        );
    }
    if let Some(every) = entry.node.get("every")
        && let Some(span) = every.text().and_then(|text| text.parse::<Span>().ok())
        && !(EVERY_MIN..=EVERY_MAX).contains(&span)
    {
        faults.add(every.at, code::WRONG_VALUE, format!("a sample every {span} is not possible"), "write 1s to 1h");
    }
    if let (Some(action), Value::Object(fields)) = (action, &mut decoded) {
        let permitted = |name: &str| match changes_nothing(name) {
            true => Ok(()),
            false => Err((
                format!("{name} changes something, and a sample must not"),
                "ask with mssql.ag.sample, sql.query or the like",
            )),
        };
        fields.insert("action".to_owned(), one_action(action, &label, &permitted, root, uses, faults));
    }
    decoded
}

/// Whether an action may stand there; else why not, and what instead.
type Permitted<'a> = &'a dyn Fn(&str) -> Result<(), (String, &'static str)>;

/// Exactly one action of those that are permitted, which says whoever is primary the same.
pub(super) fn one_action(
    entry: &Entry,
    label: &str,
    permitted: Permitted<'_>,
    root: &Node,
    uses: &mut Uses,
    faults: &mut Faults<'_>,
) -> Value {
    let catalogue = schema::actions();
    let [only] = entry.node.entries() else {
        let remedy = match entry.key.as_str() {
            "action" => "write it as action: { mssql.ag.sample: { … } }".to_owned(),
            key => format!("write it as {key}: {{ service.stop: {{ name: … }} }}"),
        };
        faults.add(entry.at, code::WRONG_VALUE, format!("{label} must have one action"), remedy);
        return json!({});
    };
    let Some(action) = catalogue.iter().find(|action| action.name == only.key) else {
        let known = catalogue.iter().map(|action| action.name);
        let remedy = nearest(&only.key, known).map_or(String::new(), |name| format!("did you mean {name:?}?"));
        faults.add(only.at, code::UNKNOWN_KEY, format!("there is no action {:?}", only.key), remedy);
        return json!({});
    };
    if let Err((message, remedy)) = permitted(&only.key) {
        faults.add(only.at, code::CONTRADICTION, message, remedy);
    }
    let names = Names { known: BTreeSet::from(["host".to_owned()]), ..Names::default() };
    let mut own = Uses::default();
    let strings = Strings::Templates { names: &names, uses: &mut own };
    let schema = action.schema.as_value();
    let params = Shape { root: schema, strings, faults }.read(&only.node, schema, &only.key, only.at);
    refuse_members(&only.node, faults);
    check_connections(&own, root, faults);
    uses.vars.append(&mut own.vars);
    json!({ only.key.clone(): params })
}

/// Connections are the group's own.
pub(super) fn check_connections(uses: &Uses, root: &Node, faults: &mut Faults<'_>) {
    let connections: Vec<&str> =
        root.get("connections").map_or(&[][..], Node::entries).iter().map(|one| one.key.as_str()).collect();
    for (name, at) in uses.connections.iter().filter(|(name, _)| !name.contains("${")) {
        if !connections.contains(&name.as_str()) {
            let message = format!("the group has no connection {name:?}");
            let nothing = format!("add under connections: {name}: {{ host: …, database: …, user: … }}");
            faults.unknown_name(*at, message, name, connections.iter().copied(), &nothing);
        }
    }
}

/// Hosts are asked whoever is primary: there is no old and no new.
pub(super) fn refuse_members(node: &Node, faults: &mut Faults<'_>) {
    node.items().iter().for_each(|item| refuse_members(item, faults));
    node.entries().iter().for_each(|entry| refuse_members(&entry.node, faults));
    let Some(template) = node.text().and_then(|text| Template::parse(text).ok()) else { return };
    for expression in template.expressions() {
        for root in expression.references().into_iter().filter(|root| root == "old" || root == "new") {
            let message = format!("{:?} reads {root}, and hosts are asked whoever is primary", expression.source());
            faults.add(node.at, code::UNKNOWN_NAME, message, "use group, host or vars");
        }
    }
}

/// How many hosts a sample asks; its role must be somebody's.
fn hosts(entry: &Entry, root: &Node, faults: &mut Faults<'_>) -> usize {
    let members = root.get("members").map_or(&[][..], Node::entries);
    let of_members = members.iter().filter_map(|member| member.node.get("hosts")).flat_map(Node::entries);
    let roles: Vec<&Entry> = root.get("roles").map_or(&[][..], Node::entries).iter().chain(of_members).collect();
    let Some((on, at)) = entry.node.get("on").and_then(|node| Some((node.text()?, node.at))) else { return 0 };
    let named: Vec<&&Entry> = roles.iter().filter(|role| role.key == on).collect();
    if named.is_empty() {
        let message = format!("sample {:?} asks role {on:?}, which no member and no shared role has", entry.key);
        let known: BTreeSet<&str> = roles.iter().map(|role| role.key.as_str()).collect();
        faults.unknown_name(at, message, on, known, "");
    }
    let of = |node: &Node| usize::from(node.text().is_some()).max(node.items().len());
    named.iter().map(|role| of(&role.node)).sum()
}
