//! The rules of a runbook's head, `target` and `require`: expressions with a sentence each.
//!
//! Apart from the steps because they are evaluated by the planner, before there is a run: nothing is registered yet, no host is meant.

use std::collections::BTreeSet;

use super::{
    Faults,
    names::{Names, Strings, Uses, unreadable},
    shape::Shape,
};
use crate::{
    diagnostic::code,
    expression::{Expression, Template},
    ids::ComponentName,
    runbook::{GUARDS, Rule, RuleFile},
    schema,
    yaml::{Content, Entry, Node, Position},
};

/// Reads `target` or `require`. A rule that is too wrong is left out; then faults say so.
pub(super) fn read(
    entry: Option<&Entry>,
    inputs: &BTreeSet<String>,
    uses: &mut Uses,
    faults: &mut Faults<'_>,
) -> Vec<Rule> {
    let Some(entry) = entry else { return Vec::new() };
    let of_target = entry.key == "target";
    let Content::List(items) = &entry.node.content else {
        let message = format!("{:?} must be a list of rules", entry.key);
        faults.add(entry.at, code::WRONG_VALUE, message, "write - { expect: EXPRESSION, because: TEXT } for each");
        return Vec::new();
    };
    let mut known: BTreeSet<String> = ["input", "facts", "hosts", "members"].map(str::to_owned).into();
    if of_target {
        known.insert("candidate".to_owned());
    }
    let names = Names { known, inputs: inputs.clone(), ..Names::default() };
    items.iter().filter_map(|item| rule(item, of_target, &names, uses, faults)).collect()
}

fn rule(node: &Node, of_target: bool, names: &Names, uses: &mut Uses, faults: &mut Faults<'_>) -> Option<Rule> {
    let schema = schema::rule_types();
    let strings = Strings::Templates { names, uses };
    let read = Shape { root: schema, strings, faults }.read(node, schema, "a rule", node.at);
    let file: RuleFile = serde_json::from_value(read).ok()?;
    let at = |key: &str| node.get(key).map_or(node.at, |value| value.at);
    let expect = expectation(&file.expect, at("expect"), names, uses, faults)?;
    if of_target {
        let because = Template::parse(&file.because).ok();
        let of_text = because.iter().flat_map(Template::expressions).flat_map(Expression::references);
        let places = expect.references().into_iter().map(|root| (root, at("expect")));
        for (_, at) in places.chain(of_text.map(|root| (root, at("because")))).filter(|(root, _)| root == "new") {
            let remedy = "write candidate: the member that is looked at";
            faults.add(at, code::UNKNOWN_NAME, "new is read here, and there is no target yet", remedy);
        }
    }
    if file.because.trim().is_empty() {
        faults.add(at("because"), code::WRONG_VALUE, "\"because\" says nothing", "say what an operator should know");
    }
    if let Some(guard) = &file.guard {
        check_guard(guard, at("guard"), faults);
    }
    Some(Rule { expect: expect.source().to_owned(), because: file.because, guard: file.guard, line: node.at.line })
}

/// An expression, also when somebody put it into `${}`.
fn expectation(
    text: &str,
    at: Position,
    names: &Names,
    uses: &mut Uses,
    faults: &mut Faults<'_>,
) -> Option<Expression> {
    let whole = Template::parse(text.trim()).ok().and_then(|template| template.whole().cloned());
    // What stands in `${}` was checked as a template already.
    if let Some(expression) = whole {
        return Some(expression);
    }
    match Expression::parse(text) {
        Ok(expression) => {
            names.check(&expression, at, uses, faults);
            Some(expression)
        }
        Err(error) => {
            unreadable(&error, at, faults);
            None
        }
    }
}

/// A guard's name is typed on a command line, before an equals sign.
pub(super) fn check_guard(guard: &str, at: Position, faults: &mut Faults<'_>) {
    if GUARDS.contains(&guard) {
        let message = format!("{guard:?} is a guard that every runbook has");
        faults.add(at, code::CONTRADICTION, message, "choose a name of its own");
    } else if ComponentName::new(guard).is_err() {
        let message = format!("{guard:?} cannot be the name of a guard");
        faults.add(at, code::WRONG_VALUE, message, "choose letters, digits and -, as in guard: other-site");
    }
}
