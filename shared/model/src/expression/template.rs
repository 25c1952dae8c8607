//! `${…}` in strings. Literal text, expressions and secrets, told apart once; a value that an expression gave is never read again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Expression, ExpressionError, Scope, explain, shortened};

/// A string cut into literal text and expressions.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Expression(Expression),
    /// `${secret('name')}`.
    Secret(String),
}

impl Template {
    /// Cuts `source`. `$${` is a literal `${`. A secret must stand alone in its `${…}`.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                text.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let end = expression_end(after).ok_or_else(|| ExpressionError::Syntax {
                    expression: shortened(rest),
                    reason: "the closing } is missing (a literal ${ is written $${)".to_owned(),
                })?;
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(part(&after[..end])?);
                rest = &after[end + 1..];
            } else {
                text.push('$');
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { parts })
    }

    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) | Part::Secret(_) => None,
        })
    }

    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Secret(name) => Some(name.as_str()),
            Part::Text(_) | Part::Expression(_) => None,
        })
    }

    /// The root variables of all its expressions.
    pub fn references(&self) -> BTreeSet<String> {
        self.expressions().flat_map(Expression::references).collect()
    }

    /// Exactly one `${…}` and nothing else: its value keeps its type.
    pub fn whole(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => Some(expression),
            _ => None,
        }
    }

    fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        if let Some(expression) = self.whole() {
            let value = expression.evaluate(scope)?;
            refuse_reference(expression, &value)?;
            return Ok(value);
        }
        let mut pieces: Vec<Value> = Vec::new();
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Expression(expression) => text.push_str(&as_text(expression, expression.evaluate(scope)?)?),
                Part::Secret(name) => {
                    if !text.is_empty() {
                        pieces.push(json!({ "text": std::mem::take(&mut text) }));
                    }
                    pieces.push(json!({ "secret": name }));
                }
            }
        }
        if pieces.is_empty() {
            return Ok(Value::String(text));
        }
        if !text.is_empty() {
            pieces.push(json!({ "text": text }));
        }
        Ok(json!({ "pieces": pieces }))
    }
}

fn part(inner: &str) -> Result<Part, ExpressionError> {
    let expression = Expression::parse(inner)?;
    if let Some(name) = expression.secret() {
        return Ok(Part::Secret(name.to_owned()));
    }
    if expression.mentions_secret() {
        return Err(ExpressionError::Syntax {
            expression: shortened(inner),
            reason:
                "a secret is never part of an expression; write ${secret('name')} with nothing else between the braces"
                    .to_owned(),
        });
    }
    Ok(Part::Expression(expression))
}

/// Where the `}` is that ends an expression, minding nested braces and CEL's strings.
fn expression_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            quote @ (b'\'' | b'"') => {
                let raw = at > 0 && matches!(bytes[at - 1], b'r' | b'R');
                at = string_end(bytes, at, quote, raw)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where a string that begins at `at` has ended.
fn string_end(bytes: &[u8], at: usize, quote: u8, raw: bool) -> Option<usize> {
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let mut at = at + if triple { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if !raw => at += 2,
            byte if byte == quote && !triple => return Some(at + 1),
            byte if byte == quote && bytes[at..].starts_with(&[quote; 3]) => return Some(at + 3),
            _ => at += 1,
        }
    }
    None
}

/// What [`render`] gives back.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub value: Value,
    /// Some string was left as it is: render `value` once more when its roots are known.
    pub deferred: bool,
}

/// Replaces `${…}` in every string of a JSON tree.
///
/// A string that is exactly one `${…}` takes the value with its type. A string that reads a root in `deferred` stays whole as
/// it is; then everything already resolved is escaped, so that rendering the tree again when those roots are known gives it back
/// unread. `${secret('name')}` becomes a reference ([`crate::text::Text`]), and no value may pose as one.
pub fn render(value: &Value, scope: &Scope, deferred: &BTreeSet<String>) -> Result<Rendered, ExpressionError> {
    let waits = !deferred.is_empty() && any_deferred(value, deferred)?;
    Ok(Rendered { value: resolve(value, scope, deferred, waits)?, deferred: waits })
}

fn any_deferred(value: &Value, deferred: &BTreeSet<String>) -> Result<bool, ExpressionError> {
    Ok(match value {
        Value::String(text) => waits(&Template::parse(text)?, deferred),
        Value::Array(items) => {
            for item in items {
                if any_deferred(item, deferred)? {
                    return Ok(true);
                }
            }
            false
        }
        Value::Object(fields) => {
            for field in fields.values() {
                if any_deferred(field, deferred)? {
                    return Ok(true);
                }
            }
            false
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    })
}

fn waits(template: &Template, deferred: &BTreeSet<String>) -> bool {
    template.references().iter().any(|root| deferred.contains(root))
}

fn resolve(value: &Value, scope: &Scope, deferred: &BTreeSet<String>, again: bool) -> Result<Value, ExpressionError> {
    Ok(match value {
        Value::String(text) => {
            let template = Template::parse(text)?;
            if waits(&template, deferred) {
                return Ok(value.clone());
            }
            let resolved = template.evaluate(scope)?;
            if again { escape(&resolved) } else { resolved }
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| resolve(item, scope, deferred, again)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, field)| Ok((key.clone(), resolve(field, scope, deferred, again)?)))
                .collect::<Result<_, ExpressionError>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Every string of `value` written so that [`render`] gives it back unread.
pub fn escape(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Array(items) => Value::Array(items.iter().map(escape).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, field)| (key.clone(), escape(field))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn as_text(expression: &Expression, value: Value) -> Result<String, ExpressionError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        // As a list is written in an expression, and as a person reads it: ["a","b"].
        Value::Array(_) => Ok(value.to_string()),
        other => Err(ExpressionError::Evaluation {
            expression: shortened(expression.source()),
            reason: format!("is {}, which cannot stand inside text", explain::kind(&other)),
        }),
    }
}

/// A value, say of a host that was broken into, must not become a reference to a secret.
fn refuse_reference(expression: &Expression, value: &Value) -> Result<(), ExpressionError> {
    let poses = match value {
        Value::Object(fields) if fields.contains_key("pieces") => true,
        Value::Object(fields) => return fields.values().try_for_each(|field| refuse_reference(expression, field)),
        Value::Array(items) => return items.iter().try_for_each(|item| refuse_reference(expression, item)),
        _ => false,
    };
    if !poses {
        return Ok(());
    }
    Err(ExpressionError::Evaluation {
        expression: shortened(expression.source()),
        reason: "its value has a field named pieces, which is how a reference to a secret is written".to_owned(),
    })
}
