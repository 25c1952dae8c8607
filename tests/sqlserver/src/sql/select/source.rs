//! What stands after FROM: tables, views, subqueries, and how they join.

use super::super::evaluate::{Bound, Scope};
use super::super::reader::Reader;
use super::super::rows::Rows;
use super::super::syntax::{Expression, Join, Source};
use super::super::value::wider;
use super::super::view;
use super::{bound, renamed};
use crate::answer::{Column, Value};
use crate::world::SqlError;

/// Rows of a source, each column with its table's name.
pub(super) struct Joined {
    pub columns: Vec<Bound>,
    pub rows: Vec<Vec<Value>>,
}

/// Rows that a query may produce on its way; more is a mistake of a test.
const ROWS_MAX: usize = 1_000_000;

impl Reader<'_> {
    pub(super) fn source(&self, source: &Source, outer: Option<&Scope<'_>>) -> Result<Joined, SqlError> {
        match source {
            Source::Object { name, arguments, alias } => {
                let rows = self.object(name, arguments.as_deref(), outer)?;
                let known = alias.as_deref().or(name.last().map(String::as_str)).unwrap_or("");
                Ok(Joined { columns: bound(known, &rows.columns), rows: rows.rows })
            }
            Source::Derived { query, alias, columns } => {
                let rows = renamed(self.query(query, outer)?, columns)?;
                Ok(Joined { columns: bound(alias, &rows.columns), rows: rows.rows })
            }
            Source::Values { rows, alias, columns } => {
                let mut made = Rows::default();
                for row in rows {
                    let empty = Scope::EMPTY;
                    let scope = outer.unwrap_or(&empty);
                    let kinds = row.iter().map(|one| self.kind(one, scope)).collect::<Result<Vec<_>, _>>()?;
                    if made.columns.is_empty() {
                        let column = |kind| Column { name: String::new(), kind, nullable: true };
                        made.columns = kinds.iter().copied().map(column).collect();
                    }
                    if kinds.len() != made.columns.len() {
                        return Err(SqlError::new(213, &[]));
                    }
                    for (column, kind) in made.columns.iter_mut().zip(kinds) {
                        column.kind = wider(column.kind, kind);
                    }
                    made.rows.push(row.iter().map(|one| self.value(one, scope)).collect::<Result<Vec<_>, _>>()?);
                }
                let made = renamed(made, columns)?;
                Ok(Joined { columns: bound(alias, &made.columns), rows: made.rows })
            }
            Source::Join { kind, left, right, on } => self.join(*kind, left, right, on.as_ref(), outer),
        }
    }

    fn object(
        &self,
        name: &[String],
        arguments: Option<&[Expression]>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows, SqlError> {
        if let ([one], None) = (name, arguments)
            && let Some(rows) = self.with.get(&one.to_lowercase())
        {
            return Ok(rows.clone());
        }
        let values = match arguments {
            Some(arguments) => {
                let empty = Scope::EMPTY;
                let scope = outer.unwrap_or(&empty);
                Some(arguments.iter().map(|one| self.value(one, scope)).collect::<Result<Vec<_>, _>>()?)
            }
            None => None,
        };
        view::rows(self, name, values.as_deref())
    }

    fn join(
        &self,
        kind: Join,
        left: &Source,
        right: &Source,
        on: Option<&Expression>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Joined, SqlError> {
        let left = self.source(left, outer)?;
        if matches!(kind, Join::CrossApply | Join::OuterApply) {
            return self.apply(kind, left, right, outer);
        }
        let right = self.source(right, outer)?;
        let columns: Vec<Bound> = left.columns.iter().chain(&right.columns).cloned().collect();
        if let Some(on) = on {
            self.check(on, &Scope { columns: &columns, row: &[], group: None, outer })?;
        }
        let mut rows = Vec::new();
        let mut met = vec![false; right.rows.len()];
        for one in &left.rows {
            let mut matched = false;
            for (at, other) in right.rows.iter().enumerate() {
                let row: Vec<Value> = one.iter().chain(other).cloned().collect();
                let fits = match on {
                    Some(on) => {
                        self.truth(on, &Scope { columns: &columns, row: &row, group: None, outer })? == Some(true)
                    }
                    None => true,
                };
                if fits {
                    matched = true;
                    met[at] = true;
                    rows.push(row);
                }
                if rows.len() > ROWS_MAX {
                    return Err(SqlError::unsupported("a join of a million rows"));
                }
            }
            if !matched && matches!(kind, Join::Left | Join::Full) {
                rows.push(one.iter().cloned().chain(vec![Value::Null; right.columns.len()]).collect());
            }
        }
        if matches!(kind, Join::Right | Join::Full) {
            for (other, _) in right.rows.iter().zip(&met).filter(|(_, met)| !**met) {
                rows.push(vec![Value::Null; left.columns.len()].into_iter().chain(other.iter().cloned()).collect());
            }
        }
        Ok(Joined { columns, rows })
    }

    fn apply(&self, kind: Join, left: Joined, right: &Source, outer: Option<&Scope<'_>>) -> Result<Joined, SqlError> {
        let mut columns = left.columns.clone();
        let mut rows = Vec::new();
        let blank = vec![Value::Null; left.columns.len()];
        let scope = Scope { columns: &left.columns, row: &blank, group: None, outer };
        let shape = self.source(right, Some(&scope))?.columns;
        let width = shape.len();
        columns.extend(shape);
        for one in &left.rows {
            let scope = Scope { columns: &left.columns, row: one, group: None, outer };
            let found = self.source(right, Some(&scope))?;
            if found.rows.is_empty() && kind == Join::OuterApply {
                rows.push(one.iter().cloned().chain(vec![Value::Null; width]).collect());
            }
            rows.extend(found.rows.into_iter().map(|other| one.iter().cloned().chain(other).collect()));
        }
        Ok(Joined { columns, rows })
    }
}
