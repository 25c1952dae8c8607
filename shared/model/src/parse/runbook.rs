//! A runbook's head, and the rules that hold over all its steps.

use serde_json::Value;

use super::{
    Faults,
    names::{Names, Strings, Uses, check_identifier},
    rules,
    shape::Shape,
    step::{self, Place},
};
use crate::{
    action::loses_data,
    diagnostic::code,
    digest::Digest,
    plan::Kind,
    runbook::{Block, Input, InputType, Runbook, RunbookFile, StepDefinition, WorkDefinition},
    schema,
    yaml::{Content, Entry, Node},
};

pub(super) fn read(root: &Node, text: &str, uses: &mut Uses, faults: &mut Faults<'_>) -> Option<Runbook> {
    let Content::Map(entries) = &root.content else {
        faults.add(root.at, code::NO_KIND, "this is no runbook", "a runbook begins with runbook: NAME");
        return None;
    };
    let is_read_apart = |entry: &&Entry| matches!(entry.key.as_str(), "prechecks" | "steps" | "target" | "require");
    let head: Vec<Entry> = entries.iter().filter(|entry| !is_read_apart(entry)).cloned().collect();
    let head = Node { at: root.at, content: Content::Map(head) };
    let schema = schema::runbook_types();
    let decoded = Shape { root: schema, strings: Strings::Literal, faults }.read(&head, schema, "the runbook", root.at);

    for key in ["inputs", "vars"] {
        for entry in root.get(key).map_or(&[][..], Node::entries) {
            check_identifier(&entry.key, if key == "inputs" { "an input" } else { "a variable" }, entry.at, faults);
        }
    }
    if let Some((window, at)) = root.get("window").and_then(|node| Some((node.text()?, node.at))) {
        uses.windows.push((window.to_owned(), at));
    }
    let inputs = root.get("inputs").map_or(&[][..], Node::entries);
    for entry in inputs {
        check_input(entry, &decoded["inputs"][&entry.key], faults);
    }

    let mut names = Names { inputs: inputs.iter().map(|entry| entry.key.clone()).collect(), ..Names::default() };
    names.known = ["host", "input", "facts", "accepted_data_loss"].map(str::to_owned).into();
    for key in ["prechecks", "steps"] {
        names.later.extend(registered(root.get(key)));
    }
    let target = rules::read(root.entry("target"), &names.inputs, uses, faults);
    let require = rules::read(root.entry("require"), &names.inputs, uses, faults);
    let prechecks = read_blocks(root.entry("prechecks"), true, &mut names, uses, faults);
    let steps = read_blocks(root.entry("steps"), false, &mut names, uses, faults);
    let misspelt = |entry: &Entry| crate::diagnostic::nearest(&entry.key, ["steps"]).is_some();
    if root.entry("steps").is_none() && !entries.iter().any(misspelt) {
        let remedy = "add steps: and one entry for each, after a dash";
        faults.add(root.at, code::MISSING_KEY, "the runbook has no steps", remedy);
    }
    let kind = check_kind(root, &steps, faults);
    if root.get("kind").and_then(Node::text) != Some("forced") {
        refuse_loss(root.get("steps"), faults);
    }

    let file = match serde_json::from_value::<RunbookFile>(decoded) {
        Ok(file) => file,
        Err(error) => {
            if faults.list.is_empty() {
                faults.add(root.at, code::WRONG_VALUE, format!("the runbook cannot be read: {error}"), "");
            }
            return None;
        }
    };
    Some(Runbook {
        name: file.runbook,
        description: file.description,
        kind: file.kind.unwrap_or(kind),
        inputs: file.inputs,
        vars: file.vars,
        window: file.window,
        target,
        require,
        prechecks,
        steps,
        digest: Digest::of_bytes(text.as_bytes()),
    })
}

fn check_input(entry: &Entry, decoded: &Value, faults: &mut Faults<'_>) {
    // its own faults are already told
    let Ok(input) = serde_json::from_value::<Input>(decoded.clone()) else { return };
    let choice = input.kind == InputType::Choice;
    if choice && input.choices.is_empty() {
        let message = format!("input {:?} is a choice of nothing", entry.key);
        faults.add(entry.at, code::MISSING_KEY, message, "add choices: [first, second]");
    } else if !choice && !input.choices.is_empty() {
        let at = entry.node.entry("choices").map_or(entry.at, |choices| choices.at);
        faults.add(
            at,
            code::CONTRADICTION,
            format!("input {:?} has choices but is no choice", entry.key),
            "write type: choice",
        );
    }
    let Some(default) = entry.node.entry("default").filter(|default| !default.node.is_null()) else { return };
    if input.required {
        let message = format!("input {:?} is required and has a default", entry.key);
        faults.add(default.at, code::CONTRADICTION, message, "take out required or default");
    }
    if let Some(value) = &input.default
        && let Err(wrong) = input.check(value)
    {
        faults.add(default.node.at, code::WRONG_VALUE, format!("the default of input {:?}: {wrong}", entry.key), "");
    }
}

/// What the steps below `list` register, and in which line.
fn registered(list: Option<&Node>) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for step in list.map_or(&[][..], Node::items) {
        found.extend(registered(step.get("together")));
        if let Some(name) = step.get("register").and_then(Node::text) {
            found.push((name.to_owned(), step.at.line));
        }
    }
    found
}

fn read_blocks(
    list: Option<&Entry>,
    precheck: bool,
    names: &mut Names,
    uses: &mut Uses,
    faults: &mut Faults<'_>,
) -> Vec<Block> {
    let Some(entry) = list else { return Vec::new() };
    let Content::List(items) = &entry.node.content else {
        if !(precheck && entry.node.is_null()) {
            let message = format!("{:?} must be a list", entry.key);
            let remedy = "write one entry for each step, after a dash";
            let remedy = if precheck { format!("{remedy}, or take it out") } else { remedy.to_owned() };
            faults.add(entry.at, code::WRONG_VALUE, message, remedy);
        }
        return Vec::new();
    };
    let mut blocks = Vec::new();
    for item in items {
        let Some(together) = item.entry("together") else {
            let steps: Vec<StepDefinition> =
                step::read(item, Place { precheck, together: false }, names, uses, faults).into_iter().collect();
            learn(item, names);
            blocks.extend(steps.into_iter().map(Block::One));
            continue;
        };
        for other in item.entries().iter().filter(|other| other.key != "together") {
            let message = format!("{:?} stands beside together", other.key);
            faults.add(other.at, code::CONTRADICTION, message, "write it into each of the steps below together");
        }
        if together.node.items().is_empty() {
            faults.add(
                together.at,
                code::WRONG_VALUE,
                "\"together\" must be a list of steps",
                "write one entry for each, after a dash",
            );
        }
        let steps = together.node.items().iter();
        let steps =
            steps.filter_map(|one| step::read(one, Place { precheck, together: true }, names, uses, faults)).collect();
        together.node.items().iter().for_each(|one| learn(one, names));
        blocks.push(Block::Together(steps));
    }
    blocks
}

/// From here on the step's result is known.
fn learn(step: &Node, names: &mut Names) {
    if let Some(name) = step.get("register").and_then(Node::text) {
        names.later.remove(name);
        names.known.insert(name.to_owned());
    }
}

/// Nothing planned can lose data, in a step or in what undoes one. (Prechecks change nothing at all.)
fn refuse_loss(steps: Option<&Node>, faults: &mut Faults<'_>) {
    for step in steps.map_or(&[][..], Node::items) {
        refuse_loss(step.get("together"), faults);
        let undo = step.get("undo");
        let undone = undo.into_iter().chain(undo.map_or(&[][..], Node::items)).flat_map(Node::entries);
        for entry in step.entries().iter().chain(undone).filter(|entry| loses_data(&entry.key)) {
            let message = format!("{} can lose data, and the runbook is not forced", entry.key);
            let remedy = "write kind: forced, in a runbook of its own; a planned way is mssql.ag.failover";
            faults.add(entry.at, code::CONTRADICTION, message, remedy);
        }
    }
}

/// The kind where none is written; what is written must fit the steps.
fn check_kind(root: &Node, steps: &[Block], faults: &mut Faults<'_>) -> Kind {
    let transfers: Vec<&StepDefinition> = steps
        .iter()
        .flat_map(Block::steps)
        .filter(|step| matches!(step.work, WorkDefinition::Transfer { .. }))
        .collect();
    let items = root.get("steps").map_or(&[][..], Node::items);
    let nodes = items.iter().filter_map(|item| item.entry("role.transfer"));
    for second in nodes.skip(1) {
        let first = transfers.first().map_or(0, |step| step.line);
        let message = format!("role.transfer stands here for the second time (first in the step of line {first})");
        faults.add(second.at, code::CONTRADICTION, message, "a run moves the role once; keep one");
    }
    let forced = root.get("kind").and_then(Node::text) == Some("forced");
    for step in items.iter().filter_map(|item| item.get("role.transfer")) {
        if let Some(because) = step.entry("because").filter(|_| !forced && step.entry("detach_old").is_none()) {
            let message = "because says why the old primary is detached, and in a planned runbook it is not";
            faults.add(because.at, code::CONTRADICTION, message, "add detach_old: true, or take because out");
        }
    }
    let implied = if transfers.is_empty() { Kind::Maintenance } else { Kind::Planned };
    if let Some(kind) = root.get("kind")
        && let Some(written) = kind.text()
    {
        let wrong = match (written, transfers.is_empty()) {
            ("maintenance", false) => Some((
                "maintenance leaves the role where it is, but a step is role.transfer",
                "write kind: planned or kind: forced",
            )),
            ("planned", true) => Some((
                "planned moves the role, but no step is role.transfer",
                "write kind: maintenance, or add - role.transfer: {}",
            )),
            _ => None,
        };
        if let Some((message, remedy)) = wrong {
            faults.add(kind.at, code::CONTRADICTION, message, remedy);
        }
    }
    implied
}
