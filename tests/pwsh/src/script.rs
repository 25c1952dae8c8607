//! The one script that is understood: every line as expected, and one literal of data.
//!
//! A shell that took any script would prove nothing about the one that is sent. `expected.ps1` is a copy on purpose: who changes
//! the script must come here, and say what the change means.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value};

const EXPECTED: &str = include_str!("expected.ps1");

/// What the script calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub modules: Vec<String>,
    pub cmdlet: String,
    /// In the order given; values as a hashtable would hold them.
    pub parameters: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    modules: Vec<String>,
    cmdlet: String,
    parameters: Node,
}

#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
enum Node {
    Null,
    Text { v: String },
    Value { v: Value },
    List { v: Vec<Node> },
    Map { v: Vec<Pair> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    k: String,
    v: Node,
}

pub fn read(text: &str) -> Result<Call, String> {
    let (before, after) = EXPECTED.split_once("@DATA@").expect("the copy has a place for the data");
    let literal = text
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .ok_or_else(|| format!("this is not the script that is understood here:\n{text}"))?;
    if !literal.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)) {
        return Err("the data is more than one literal".to_owned());
    }
    let bytes = STANDARD.decode(literal).map_err(|error| format!("the data is not base64: {error}"))?;
    let data: Data = serde_json::from_slice(&bytes).map_err(|error| format!("the data is not understood: {error}"))?;
    let Value::Object(parameters) = data.parameters.value()? else { return Err("parameters are no map".to_owned()) };
    Ok(Call { modules: data.modules, cmdlet: data.cmdlet, parameters: parameters.into_iter().collect() })
}

impl Node {
    fn value(self) -> Result<Value, String> {
        Ok(match self {
            Node::Null => Value::Null,
            Node::Text { v } => Value::String(unmarked(&v)?),
            Node::Value { v } if v.is_boolean() || v.is_number() => v,
            Node::Value { v } => return Err(format!("{v} is no plain value")),
            Node::List { v } => Value::Array(v.into_iter().map(Node::value).collect::<Result<_, _>>()?),
            Node::Map { v } => {
                let mut map = Map::new();
                for pair in v {
                    map.insert(unmarked(&pair.k)?, pair.v.value()?);
                }
                Value::Object(map)
            }
        })
    }
}

fn unmarked(text: &str) -> Result<String, String> {
    text.strip_prefix('=').map(str::to_owned).ok_or_else(|| format!("{text:?} lacks its mark, and could become a date"))
}
