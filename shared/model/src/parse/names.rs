//! How strings are read, what their expressions may refer to, and what they were seen to refer to.

use std::collections::{BTreeMap, BTreeSet};

use super::Faults;
use crate::{
    diagnostic::code,
    expression::{Expression, ExpressionError, RESERVED, Template},
    runbook::Selector,
    yaml::{Node, Position},
};

/// The roots that are always there.
pub(crate) const ROOTS: &[&str] =
    &["group", "old", "new", "host", "input", "vars", "facts", "item", "accepted_data_loss"];

/// What one file refers to in another, and where.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    pub(crate) vars: Vec<(String, Position)>,
    pub(crate) connections: Vec<(String, Position)>,
    pub(crate) windows: Vec<(String, Position)>,
    pub(crate) selectors: Vec<(Selector, Position)>,
    /// A group's runbooks: local name, path, and where the path stands.
    pub(crate) runbooks: Vec<(String, String, Position)>,
}

/// What an expression may refer to at some place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Roots beside `group`, `old`, `new`, `vars`: `host`, `input`, `facts`, and what earlier steps registered.
    pub(crate) known: BTreeSet<String>,
    /// The declared inputs.
    pub(crate) inputs: BTreeSet<String>,
    /// What steps register that come later, with their lines.
    pub(crate) later: BTreeMap<String, u32>,
    /// Inside a step with `for`.
    pub(crate) item: bool,
}

/// How the strings of a tree are read.
pub(crate) enum Strings<'n> {
    /// As they stand. `${` is a fault, since nobody would replace it; `$${` is a literal `${`.
    Literal,
    Templates {
        names: &'n Names,
        uses: &'n mut Uses,
    },
}

impl Strings<'_> {
    pub(crate) fn is_templates(&self) -> bool {
        matches!(self, Strings::Templates { .. })
    }

    /// It is a string to be read as a template.
    pub(crate) fn take_template(&self, text: &str) -> bool {
        self.is_templates() && text.contains("${")
    }

    /// Checks a template; whether it is exactly one `${…}`. `None` after a fault.
    pub(crate) fn template(
        &mut self,
        text: &str,
        at: Position,
        label: &str,
        secrets: bool,
        faults: &mut Faults<'_>,
    ) -> Option<bool> {
        let Strings::Templates { names, uses } = self else { return Some(false) };
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => {
                unreadable(&error, at, faults);
                return None;
            }
        };
        for expression in template.expressions() {
            names.check(expression, at, uses, faults);
        }
        if !secrets && let Some(secret) = template.secrets().next() {
            let message = format!("secret('{secret}') stands in {label}, which is shown in plans and logs");
            let remedy = "secrets go where they are filled in on the host: password, environment, stdin, content, set";
            faults.add(at, code::SECRET, message, remedy);
            return None;
        }
        Some(template.whole().is_some())
    }

    /// A string that is no template.
    pub(crate) fn literal(&self, text: &str, at: Position, label: &str, faults: &mut Faults<'_>) -> String {
        if self.is_templates() || !text.contains('$') {
            return text.to_owned();
        }
        if text.replace("$${", "").contains("${") {
            let message = format!("${{…}} stands in {label}, where nothing replaces it");
            faults.add(
                at,
                code::EXPRESSION,
                message,
                "write the value out, or use ${…} in the step; a literal ${ is written $${",
            );
        }
        text.replace("$${", "${")
    }

    pub(crate) fn use_connection(&mut self, node: &Node) {
        if let (Strings::Templates { uses, .. }, Some(name)) = (self, node.text()) {
            uses.connections.push((name.to_owned(), node.at));
        }
    }
}

impl Names {
    /// Checks what an expression refers to, and notes it.
    pub(crate) fn check(&self, expression: &Expression, at: Position, uses: &mut Uses, faults: &mut Faults<'_>) {
        if expression.mentions_secret() {
            let remedy = "a secret is filled in on the host; it can only stand alone in ${secret('name')}";
            faults.add(
                at,
                code::SECRET,
                format!("secret() stands in the expression {:?}", expression.source()),
                remedy,
            );
        }
        for root in expression.references() {
            self.check_root(&root, expression, at, faults);
        }
        for path in expression.required_paths() {
            match (path[0].as_str(), path.get(1)) {
                ("input", Some(name)) if !self.inputs.contains(name) && self.known.contains("input") => {
                    let message = format!("{}, which is not declared", reads(expression, &format!("input.{name}")));
                    let nothing = format!("add under inputs: {name}: {{ type: string, required: true }}");
                    faults.unknown_name(at, message, name, self.inputs.iter().map(String::as_str), &nothing);
                }
                ("vars", Some(name)) => uses.vars.push((name.clone(), at)),
                _ => {}
            }
        }
    }

    fn check_root(&self, root: &str, expression: &Expression, at: Position, faults: &mut Faults<'_>) {
        let known = matches!(root, "group" | "old" | "new" | "vars")
            || self.known.contains(root)
            || (root == "item" && self.item);
        if known {
            return;
        }
        if root == "item" {
            let message = format!("{}, but the step has no for", reads(expression, "item"));
            faults.add(at, code::UNKNOWN_NAME, message, "add for: [first, second] to the step");
        } else if let Some(line) = self.later.get(root) {
            let message = format!("{}, which is registered only in line {line}", reads(expression, root));
            faults.add(
                at,
                code::UNKNOWN_NAME,
                message,
                "move that step before this one (and out of the same together)",
            );
        } else if ROOTS.contains(&root) {
            let message = format!("{}, which is not known here", reads(expression, root));
            faults.add(at, code::UNKNOWN_NAME, message, "use group, old, new or vars");
        } else {
            let message = format!("{}, which is nowhere defined", reads(expression, root));
            let candidates = ["group", "old", "new", "vars"].into_iter().chain(self.known.iter().map(String::as_str));
            faults.unknown_name(at, message, root, candidates, "");
            if let Some(last) = faults.list.last_mut()
                && last.remedy.starts_with("there are")
            {
                last.remedy =
                    format!("a variable is written vars.{root}, an input input.{root}, a text '{root}' in quotes");
            }
        }
    }
}

/// `"vars.a == 1" reads vars`, or `vars is read here` where that is all.
fn reads(expression: &Expression, what: &str) -> String {
    if expression.source() == what {
        format!("{what} is read here")
    } else {
        format!("{:?} reads {what}", expression.source())
    }
}

/// The expression or template cannot be read.
pub(crate) fn unreadable(error: &ExpressionError, at: Position, faults: &mut Faults<'_>) {
    let (message, remedy) = match error {
        ExpressionError::Syntax { expression, reason } => match reason.split_once(" (a literal") {
            Some((fact, _)) => (format!("{expression:?}: {fact}"), "close it; a literal ${ is written $${".to_owned()),
            None => (
                format!("{expression:?} is not an expression: {reason}"),
                "write it as in vars.port > 0 && input.mode == 'full'".to_owned(),
            ),
        },
        other => (other.to_string(), String::new()),
    };
    let secret = message.contains("secret is never part");
    let remedy = if secret { String::new() } else { remedy };
    faults.add(at, if secret { code::SECRET } else { code::EXPRESSION }, message, remedy);
}

/// `name` can stand in an expression as it is: checks what variables, inputs and registered results are called.
pub(crate) fn check_identifier(name: &str, what: &str, at: Position, faults: &mut Faults<'_>) {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !name.starts_with("__");
    let plain = begins && name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let reserved = RESERVED.contains(&name) || matches!(name, "true" | "false" | "null" | "in");
    if plain && !reserved {
        return;
    }
    let fixed: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let remedy = if fixed != name && fixed.starts_with(|c: char| c.is_ascii_alphabetic()) {
        format!("write {fixed:?}: letters, digits and _, as expressions need it")
    } else {
        "choose letters, digits and _, beginning with a letter, and no word of the language".to_owned()
    };
    faults.add(at, code::WRONG_VALUE, format!("{name:?} cannot be the name of {what}"), remedy);
}
