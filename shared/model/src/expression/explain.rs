//! Why an expression failed, in an operator's words: the path that is missing and what is there instead.

use std::collections::BTreeSet;

use cel::{ExecutionError, ParseErrors};
use serde_json::Value;

use super::{ExpressionError, Scope, shortened};

/// Words that CEL keeps for itself.
pub(crate) const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The first fault of the text, with where it is and what stands there.
pub(super) fn syntax(source: &str, errors: &ParseErrors) -> String {
    let Some(first) = errors.errors.iter().min_by_key(|error| error.pos) else { return "it cannot be read".to_owned() };
    let column = usize::try_from(first.pos.1).unwrap_or(0);
    // columns from CEL's parser count from 0 or 1 depending on the fault; both name the same place to a reader
    let rest: String = source.chars().skip(column.saturating_sub(1)).take(20).collect();
    if let Some(wrong) = source.split_whitespace().find(|word| matches!(*word, "and" | "or" | "not" | "=")) {
        let right = match wrong {
            "and" => "&&",
            "or" => "||",
            "not" => "!",
            _ => "==",
        };
        return format!("{wrong:?} is written {right:?} here");
    }
    let words = || source.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    if words().any(|word| word == "var") {
        return "a variable is written vars.name".to_owned();
    }
    if let Some(word) = words().find(|word| RESERVED.contains(word)) {
        return format!("{word:?} is a word of the language and cannot be a name");
    }
    if first.msg.contains("<EOF>") || rest.trim().is_empty() {
        return "it ends too early: something is missing at its end".to_owned();
    }
    format!("it cannot be read from {rest:?} on")
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

pub(super) fn missing_root(source: &str, name: &str, scope: &Scope) -> ExpressionError {
    let names: Vec<&str> = scope.keys().map(String::as_str).collect();
    ExpressionError::Missing {
        expression: shortened(source),
        missing: format!("variable {name}"),
        there: format!("there are {}", listed(&names)),
    }
}

/// Finds the path that breaks, if one does; else says what CEL said.
pub(super) fn evaluation(
    source: &str,
    paths: &BTreeSet<Vec<String>>,
    scope: &Scope,
    error: &ExecutionError,
) -> ExpressionError {
    if matches!(error, ExecutionError::NoSuchKey(_) | ExecutionError::NoSuchOverload(_))
        && let Some((missing, there)) = paths.iter().find_map(|path| broken(path, scope))
    {
        return ExpressionError::Missing { expression: shortened(source), missing, there };
    }
    let reason = match error {
        ExecutionError::NoSuchKey(key) => format!("there is no field {key}"),
        ExecutionError::UndeclaredReference(name) => format!("there is no {name}"),
        ExecutionError::NoSuchOverload(error) => {
            let types = error.argument_types().join(" and ");
            format!("{} does not work on {types}", operator(error.function()))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!("{} does not work on {} and {}", sign(operator), left.type_of(), right.type_of())
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} cannot be compared with {}", left.type_of(), right.type_of())
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "the list is shorter than that".to_owned(),
        ExecutionError::Overflow(..) => "the number is too large".to_owned(),
        other => shortened(&other.to_string()),
    };
    ExpressionError::Evaluation { expression: shortened(source), reason }
}

/// `_+_` is CEL's name of `+`.
fn operator(function: &str) -> String {
    match function {
        "_[_]" => "[ ]".to_owned(),
        "_?_:_" => "? :".to_owned(),
        name => name.trim_matches(['_', '@']).to_owned(),
    }
}

fn sign(operator: &str) -> &str {
    match operator {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        other => other,
    }
}

fn broken(path: &[String], scope: &Scope) -> Option<(String, String)> {
    let mut at = scope.get(&path[0])?;
    for (depth, field) in path.iter().enumerate().skip(1) {
        let so_far = path[..depth].join(".");
        match at {
            Value::Object(fields) => match fields.get(field) {
                Some(found) => at = found,
                None => {
                    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                    let there =
                        if names.is_empty() { "it is empty".to_owned() } else { format!("it has {}", listed(&names)) };
                    return Some((format!("field {field} in {so_far}"), there));
                }
            },
            other => return Some((format!("field {field} in {so_far}"), format!("{so_far} is {}", kind(other)))),
        }
    }
    None
}

/// At most twelve names.
pub(super) fn listed(names: &[&str]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        1..=12 => names.join(", "),
        more => format!("{} and {} more", names[..12].join(", "), more - 12),
    }
}
