//! What a document says that was not understood.
//!
//! Apart because serde leaves it out without a word, and `deny_unknown_fields` would have to stand on every type that a plan, a
//! report or a state is made of, those of other crates included. It must never take an absent field's default for something that was said.

use serde_json::Value;

/// The first key of `said`, as a path, that `understood` does not have.
pub(super) fn unknown(said: &Value, understood: &Value) -> Option<String> {
    match (said, understood) {
        (Value::Object(said), Value::Object(understood)) => said.iter().find_map(|(key, value)| {
            let below = match understood.get(key) {
                Some(known) => unknown(value, known)?,
                None if is_nothing(value) => return None,
                None => String::new(),
            };
            Some(if below.is_empty() { key.clone() } else { format!("{key}.{below}") })
        }),
        (Value::Array(said), Value::Array(understood)) => {
            said.iter().zip(understood).enumerate().find_map(|(index, (said, understood))| {
                unknown(said, understood).map(|below| format!("{index}.{below}"))
            })
        }
        _ => None,
    }
}

/// What a field that is left out means as well: it was written by a version that did not leave it out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_named_and_what_says_nothing_is_not() {
        let understood = json!({ "a": 1, "b": { "c": [ { "d": 2 }, 3 ] } });
        for (said, expected) in [
            (json!({ "a": 1, "b": { "c": [ { "d": 2 }, 3 ] } }), None),
            (json!({ "a": 1, "b": { "c": [ { "d": 2, "e": 1 }, 3 ] } }), Some("b.c.0.e")),
            (json!({ "a": 1, "b": {}, "new": "word" }), Some("new")),
            (json!({ "a": 1, "new": { "deep": [true] } }), Some("new")),
            (json!({ "a": 1, "old": null, "older": [], "oldest": { "paused": false, "times": 0 } }), None),
        ] {
            assert_eq!(unknown(&said, &understood).as_deref(), expected, "{said}");
        }
    }
}
