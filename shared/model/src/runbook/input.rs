//! What a runbook asks of the operator who starts it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One input; `input.NAME` in expressions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default, rename = "type")]
    pub kind: InputType,
    /// The run is refused without it.
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default)]
    pub description: String,
    /// What `type: choice` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    #[default]
    String,
    Integer,
    Boolean,
    /// A list of strings; on the command line separated by commas.
    List,
    /// One of `choices`.
    Choice,
}

impl Input {
    /// Checks a value of the right JSON type; says what is wrong with another.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let right = match self.kind {
            InputType::String => value.is_string(),
            InputType::Integer => value.is_i64() || value.is_u64(),
            InputType::Boolean => value.is_boolean(),
            InputType::List => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            InputType::Choice => value.as_str().is_some_and(|choice| self.choices.iter().any(|known| known == choice)),
        };
        if right { Ok(()) } else { Err(format!("{value} is not {}", self.expected())) }
    }

    /// Reads what an operator typed (`--set NAME=VALUE`).
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let wrong = || format!("{text:?} is not {}", self.expected());
        let value = match self.kind {
            InputType::String | InputType::Choice => Value::from(text),
            InputType::Integer => Value::from(text.trim().parse::<i64>().map_err(|_| wrong())?),
            InputType::Boolean => Value::from(text.trim().parse::<bool>().map_err(|_| wrong())?),
            InputType::List => {
                Value::from_iter(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned))
            }
        };
        self.check(&value).map_err(|_| wrong())?;
        Ok(value)
    }

    /// `one of full, data`.
    pub fn expected(&self) -> String {
        match self.kind {
            InputType::String => "text".to_owned(),
            InputType::Integer => "a whole number".to_owned(),
            InputType::Boolean => "true or false".to_owned(),
            InputType::List => "a list of texts".to_owned(),
            InputType::Choice => format!("one of {}", self.choices.join(", ")),
        }
    }
}
