//! JSON values as statement parameters. The prepared statement's own types decide: each value goes over as text, and the server
//! reads it as it reads a literal, so that every type it knows can be given. Never a way to put text into a statement.

use bytes::BytesMut;
use serde_json::Value;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

/// A value on its way to the server.
#[derive(Debug)]
pub struct Parameter<'a>(pub &'a Value);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let json = [Type::JSON, Type::JSONB].contains(kind);
        let text = match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            value if json => value.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            Value::String(value) => value.clone(),
            Value::Array(values) if matches!(kind.kind(), Kind::Array(_)) => array_literal(values)?,
            other => return Err(format!("{other} does not fit a parameter of type {kind}").into()),
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(kind, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

fn array_literal(values: &[Value]) -> Result<String, String> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let items = values.iter().map(|value| match value {
        Value::Null => Ok("NULL".to_owned()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(value) => Ok(value.to_string()),
        Value::String(value) => Ok(quoted(value)),
        Value::Array(values) => array_literal(values),
        Value::Object(_) => Ok(quoted(&value.to_string())),
    });
    Ok(format!("{{{}}}", items.collect::<Result<Vec<_>, String>>()?.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sent(value: Value, kind: &Type) -> Option<String> {
        let mut out = BytesMut::new();
        match Parameter(&value).to_sql(kind, &mut out).ok()? {
            IsNull::Yes => Some("NULL".to_owned()),
            IsNull::No => Some(String::from_utf8(out.to_vec()).expect("text")),
        }
    }

    #[test]
    fn values_go_as_the_server_reads_them() {
        let cases = [
            (json!(null), Type::INT4, "NULL"),
            (json!(true), Type::BOOL, "true"),
            (json!(12), Type::INT8, "12"),
            (json!(1.5), Type::NUMERIC, "1.5"),
            (json!("O'Hara"), Type::TEXT, "O'Hara"),
            (json!("text"), Type::JSONB, "\"text\""),
            (json!({"a": [1]}), Type::JSON, "{\"a\":[1]}"),
            (json!(["a\"b", null, "c\\"]), Type::TEXT_ARRAY, r#"{"a\"b",NULL,"c\\"}"#),
            (json!([1, 2]), Type::INT4_ARRAY, "{1,2}"),
        ];
        for (value, kind, expected) in cases {
            assert_eq!(sent(value.clone(), &kind).as_deref(), Some(expected), "{value} as {kind}");
        }
        assert_eq!(sent(json!({"a": 1}), &Type::TEXT), None, "an object is no text");
        assert_eq!(sent(json!([1]), &Type::INT4), None, "a list is no number");
    }
}
