//! A table of values with named, typed columns: what views, tables and queries give.

use crate::answer::{Column, Type, Value};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    /// A table of so many columns, without a row yet.
    pub fn of(columns: &[(&str, Type)]) -> Rows {
        let columns = columns
            .iter()
            .map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind, nullable: true })
            .collect();
        Rows { columns, rows: Vec::new() }
    }

    pub fn push(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row of {:?}", self.columns.first());
        self.rows.push(row);
    }
}

/// How rows are written: numbers and text become values, `None` NULL.
pub fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

pub fn maybe<T>(value: Option<T>, make: impl Fn(T) -> Value) -> Value {
    value.map_or(Value::Null, make)
}

/// A moment; 0 stands for "never".
pub fn moment(ms: i64) -> Value {
    if ms == 0 { Value::Null } else { Value::DateTime(ms) }
}
