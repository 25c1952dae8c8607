//! One entry of Slony's log: as SQL that makes the change again, and as a line of CSV. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

pub(super) const CSV_HEADER: &str = "sequence,transaction,schema,table,change,key,values\n";

/// As Slony 2.2 logs it: `I` pairs of column and value; `U` the new pairs, then the key's; `D` the key's pairs; `T` nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub sequence: i64,
    pub transaction: i64,
    pub schema: String,
    pub table: String,
    pub kind: String,
    /// Of a `U`: how many pairs are new values.
    pub updated: i32,
    pub arguments: Vec<Option<String>>,
}

/// How much of what was lost, by table.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub tables: BTreeMap<String, Counts>,
    /// DDL that went through Slony.
    pub scripts: u64,
}

#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub(super) struct Counts {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub truncated: u64,
}

impl Tally {
    pub fn add(&mut self, change: &Change) {
        let counts = self.tables.entry(format!("{}.{}", change.schema, change.table)).or_default();
        match change.kind.as_str() {
            "I" => counts.inserted += 1,
            "U" => counts.updated += 1,
            "D" => counts.deleted += 1,
            _ => counts.truncated += 1,
        }
    }
    pub fn total(&self) -> u64 {
        self.tables.values().map(|one| one.inserted + one.updated + one.deleted + one.truncated).sum()
    }
}

type Pair<'a> = (&'a str, Option<&'a str>);

impl Change {
    fn pairs(&self) -> Result<Vec<Pair<'_>>, String> {
        if !self.arguments.len().is_multiple_of(2) {
            return Err(format!("{} arguments are no pairs", self.arguments.len()));
        }
        self.arguments
            .chunks_exact(2)
            .map(|two| {
                two[0]
                    .as_deref()
                    .map(|name| (name, two[1].as_deref()))
                    .ok_or_else(|| "a column without a name".to_owned())
            })
            .collect()
    }

    /// New values and key.
    fn parts(&self) -> Result<(Vec<Pair<'_>>, Vec<Pair<'_>>), String> {
        let mut pairs = self.pairs()?;
        Ok(match self.kind.as_str() {
            "I" => (pairs, Vec::new()),
            "D" => (Vec::new(), pairs),
            "U" => {
                let count = usize::try_from(self.updated).ok().filter(|count| *count <= pairs.len());
                let key = pairs.split_off(
                    count
                        .ok_or_else(|| format!("{} new values of {} pairs", self.updated, self.arguments.len() / 2))?,
                );
                (pairs, key)
            }
            "T" => (Vec::new(), Vec::new()),
            other => return Err(format!("a change of kind {other:?}")),
        })
    }

    /// One statement and a line end.
    pub fn sql(&self) -> Result<String, String> {
        let table = format!("{}.{}", name(&self.schema), name(&self.table));
        let (new, key) = self.parts()?;
        let list = |items: Vec<String>| items.join(", ");
        let set =
            || list(new.iter().map(|(column, value)| format!("{} = {}", name(column), literal(*value))).collect());
        let matches = || {
            let one = |(column, value): &Pair<'_>| match value {
                Some(_) => format!("{} = {}", name(column), literal(*value)),
                None => format!("{} IS NULL", name(column)),
            };
            key.iter().map(one).collect::<Vec<_>>().join(" AND ")
        };
        if matches!(self.kind.as_str(), "U" | "D") && key.is_empty() {
            return Err("a change without a key".to_owned());
        }
        Ok(match self.kind.as_str() {
            "I" if new.is_empty() => format!("INSERT INTO {table} DEFAULT VALUES;\n"),
            "I" => format!(
                "INSERT INTO {table} ({}) VALUES ({});\n",
                list(new.iter().map(|(column, _)| name(column)).collect()),
                list(new.iter().map(|(_, value)| literal(*value)).collect())
            ),
            // An UPDATE that changed nothing is logged too.
            "U" if new.is_empty() => format!("-- UPDATE ONLY {table} without a new value\n"),
            "U" => format!("UPDATE ONLY {table} SET {} WHERE {};\n", set(), matches()),
            "D" => format!("DELETE FROM ONLY {table} WHERE {};\n", matches()),
            _ => format!("-- TRUNCATE ONLY {table};\n"),
        })
    }

    /// One line and its end; key and values as JSON.
    pub fn csv(&self) -> String {
        let json = |pairs: Vec<Pair<'_>>| {
            let object: Map<String, Value> =
                pairs.into_iter().map(|(column, value)| (column.to_owned(), value.into())).collect();
            if object.is_empty() { String::new() } else { Value::Object(object).to_string() }
        };
        let (new, key) = self.parts().unwrap_or_default();
        let change = match self.kind.as_str() {
            "I" => "insert",
            "U" => "update",
            "D" => "delete",
            _ => "truncate",
        };
        let (key, new) = (json(key), json(new));
        let (sequence, transaction) = (self.sequence.to_string(), self.transaction.to_string());
        let fields = [&sequence, &transaction, &self.schema, &self.table, change, &key, &new];
        fields.map(field).join(",") + "\n"
    }
}

fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// For `standard_conforming_strings = on`, which the file sets.
fn literal(value: Option<&str>) -> String {
    value.map_or("NULL".to_owned(), |value| format!("'{}'", value.replace('\'', "''")))
}

fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str, updated: i32, arguments: &[Option<&str>]) -> Change {
        let arguments = arguments.iter().map(|one| one.map(str::to_owned)).collect();
        Change {
            sequence: 7,
            transaction: 900,
            schema: "public".into(),
            table: "Odd".into(),
            kind: kind.into(),
            updated,
            arguments,
        }
    }

    #[test]
    fn each_kind_becomes_the_statement_that_makes_it_again() {
        let cases = [
            (
                change("I", 0, &[Some("id"), Some("1"), Some("note"), Some("O'Hara\\x"), Some("gone"), None]),
                "INSERT INTO \"public\".\"Odd\" (\"id\", \"note\", \"gone\") VALUES ('1', 'O''Hara\\x', NULL);\n",
            ),
            (
                change("U", 1, &[Some("note"), None, Some("id"), Some("1"), Some("part"), Some("2")]),
                "UPDATE ONLY \"public\".\"Odd\" SET \"note\" = NULL WHERE \"id\" = '1' AND \"part\" = '2';\n",
            ),
            (
                change("D", 0, &[Some("i\"d"), Some("1")]),
                "DELETE FROM ONLY \"public\".\"Odd\" WHERE \"i\"\"d\" = '1';\n",
            ),
            (change("T", 0, &[]), "-- TRUNCATE ONLY \"public\".\"Odd\";\n"),
        ];
        for (change, expected) in cases {
            assert_eq!(change.sql().as_deref(), Ok(expected));
        }
    }

    #[test]
    fn an_entry_that_is_not_understood_is_never_guessed() {
        assert!(change("I", 0, &[Some("id")]).sql().is_err());
        assert!(change("D", 0, &[]).sql().is_err(), "it would delete everything");
        assert!(change("U", 3, &[Some("id"), Some("1")]).sql().is_err());
        assert!(change("X", 0, &[]).sql().is_err());
    }

    #[test]
    fn csv_keeps_commas_quotes_and_line_ends_within_a_field() {
        let line = change("U", 1, &[Some("note"), Some("a,\"b\"\nc"), Some("id"), Some("1")]).csv();
        assert_eq!(
            line,
            "7,900,public,Odd,update,\"{\"\"id\"\":\"\"1\"\"}\",\"{\"\"note\"\":\"\"a,\\\"\"b\\\"\"\\nc\"\"}\"\n"
        );
    }
}
