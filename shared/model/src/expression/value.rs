//! JSON to CEL and back. Integers stay integers; what JSON cannot say is refused, never rounded.

use std::{collections::HashMap, sync::Arc};

use cel::objects::{Key, Map};
use serde_json::Value;

/// JSON as CEL sees it: whole numbers are `int` (`uint` above its range), others `double`.
pub(super) fn from_json(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, Some(uint)) => cel::Value::UInt(uint),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(from_json).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, cel::Value> =
                fields.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), from_json(value))).collect();
            cel::Value::Map(Map { map: Arc::new(map) })
        }
    }
}

/// CEL's result as JSON, taking its size from `room`.
pub(super) fn to_json(value: &cel::Value, room: &mut usize) -> Result<Value, String> {
    take(room, 8)?;
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => Value::Bool(*value),
        cel::Value::Int(value) => Value::from(*value),
        cel::Value::UInt(value) => Value::from(*value),
        cel::Value::Float(value) => serde_json::Number::from_f64(*value)
            .map(Value::Number)
            .ok_or_else(|| format!("{value} is no number that can be written"))?,
        cel::Value::String(text) => {
            take(room, text.len())?;
            Value::String(text.as_str().to_owned())
        }
        cel::Value::List(items) => {
            Value::Array(items.iter().map(|item| to_json(item, room)).collect::<Result<_, _>>()?)
        }
        cel::Value::Map(map) => {
            let mut object = serde_json::Map::new();
            for (key, value) in map.map.iter() {
                let key = key.to_string();
                take(room, key.len())?;
                object.insert(key, to_json(value, room)?);
            }
            Value::Object(object)
        }
        other => {
            return Err(format!(
                "its value is a {}; it must be text, a number, true, false, a list or a map",
                other.type_of()
            ));
        }
    })
}

fn take(room: &mut usize, size: usize) -> Result<(), String> {
    *room = room
        .checked_sub(size)
        .ok_or_else(|| format!("its value is larger than {} KiB", super::RESULT_BYTES_MAX / 1024))?;
    Ok(())
}

/// A map's keys in their order; anything else as it is. CEL walks maps in no particular order, and replicas must agree.
pub(super) fn ordered(range: cel::Value) -> cel::Value {
    match range {
        cel::Value::Map(map) => {
            let mut keys: Vec<Key> = map.map.keys().cloned().collect();
            keys.sort();
            cel::Value::List(Arc::new(keys.into_iter().map(cel::Value::from).collect()))
        }
        other => other,
    }
}
