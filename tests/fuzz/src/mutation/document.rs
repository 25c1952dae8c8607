//! JSON that stays JSON: a node taken away, doubled, moved, or in another type's clothes.
//!
//! Apart from bytes: what no longer parses says nothing of whoever reads the values.

use serde_json::{Map, Number, Value};

use super::token;
use crate::chance::Chance;

/// A document changed in a few places, with whatever stands before it; none where there is none.
pub(super) fn changed(bytes: &[u8], words: &[Vec<u8>], chance: &mut Chance) -> Option<Vec<u8>> {
    let begins = bytes.iter().position(|byte| matches!(byte, b'{' | b'['))?;
    let mut document: Value = serde_json::from_slice(&bytes[begins..]).ok()?;
    for _ in 0..=chance.below(4) {
        let copied = somewhere(&mut document, chance).clone();
        let place = somewhere(&mut document, chance);
        change(place, copied, words, chance);
    }
    let mut whole = bytes[..begins].to_vec();
    whole.extend(document.to_string().into_bytes());
    Some(whole)
}

/// A node, whose depth is a matter of chance.
fn somewhere<'v>(value: &'v mut Value, chance: &mut Chance) -> &'v mut Value {
    let count = match &*value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if count == 0 || chance.once_in(4) {
        return value;
    }
    let which = chance.below(count);
    let inner = match value {
        Value::Array(items) => items.get_mut(which),
        Value::Object(fields) => fields.values_mut().nth(which),
        _ => None,
    };
    somewhere(inner.expect("it was counted"), chance)
}

fn change(place: &mut Value, copied: Value, words: &[Vec<u8>], chance: &mut Chance) {
    let text = |chance: &mut Chance| String::from_utf8_lossy(&token(words, chance)).into_owned();
    match (chance.below(6), place) {
        (0, place) => *place = scalar(words, chance),
        (1, place) => *place = copied,
        (2, Value::Array(items)) => drop(items.pop()),
        (3, Value::Array(items)) => items.push(copied),
        (2, Value::Object(fields)) => {
            let gone = fields.keys().nth(chance.below(fields.len())).cloned();
            gone.map(|key| fields.remove(&key));
        }
        (3, Value::Object(fields)) => drop(fields.insert(text(chance), copied)),
        (_, Value::String(written)) => *written = text(chance),
        (_, Value::Number(number)) => *number = near(number, chance),
        (_, place) => *place = scalar(words, chance),
    }
}

fn near(number: &Number, chance: &mut Chance) -> Number {
    match (number.as_i64(), chance.below(3)) {
        (Some(value), 0) => value.wrapping_add(1).into(),
        (Some(value), 1) => value.wrapping_neg().into(),
        _ => chance.draw().into(),
    }
}

fn scalar(words: &[Vec<u8>], chance: &mut Chance) -> Value {
    match chance.below(9) {
        0 => Value::Null,
        1 => Value::Bool(chance.once_in(2)),
        2 => 0.into(),
        3 => i64::MIN.into(),
        4 => u64::MAX.into(),
        5 => serde_json::json!(1e300),
        6 => Value::Array(Vec::new()),
        7 => Value::Object(Map::new()),
        _ => String::from_utf8_lossy(&token(words, chance)).into(),
    }
}
