//! Queries: sources joined, rows filtered, grouped, chosen, ordered.
//!
//! Plain nested loops: tables here are small, and a wrong plan would be worse than a slow one.

mod source;

use super::evaluate::{Bound, Scope, children, has_aggregate, is_aggregate};
use super::reader::Reader;
use super::rows::Rows;
use super::syntax::{Body, Expression, Item, Query, Select};
use super::value::{self, cast, integer, wider};
use crate::answer::{Column, Value};
use crate::world::SqlError;
use source::Joined;
use std::collections::BTreeMap;
use std::rc::Rc;

impl Reader<'_> {
    pub fn query(&self, query: &Query, outer: Option<&Scope<'_>>) -> Result<Rows, SqlError> {
        if query.with.is_empty() {
            return self.plain_query(query, outer);
        }
        let mut inner = self.clone();
        for (name, columns, query) in &query.with {
            let rows = renamed(inner.query(query, outer)?, columns)?;
            let mut with: BTreeMap<String, Rows> = (*inner.with).clone();
            with.insert(name.to_lowercase(), rows);
            inner.with = Rc::new(with);
        }
        inner.plain_query(query, outer)
    }

    fn plain_query(&self, query: &Query, outer: Option<&Scope<'_>>) -> Result<Rows, SqlError> {
        let mut rows = match &query.body {
            Body::Select(select) => self.select(select, &query.order, outer)?,
            body => {
                let mut rows = self.body(body, outer)?;
                self.order_output(&mut rows, &query.order)?;
                rows
            }
        };
        if let Some(offset) = &query.offset {
            let skipped = self.count(offset)?;
            rows.rows.drain(..skipped.min(rows.rows.len()));
        }
        if let Some(fetch) = &query.fetch {
            rows.rows.truncate(self.count(fetch)?);
        }
        Ok(rows)
    }

    fn count(&self, expression: &Expression) -> Result<usize, SqlError> {
        let value = self.value(expression, &Scope::EMPTY)?;
        integer(&value).and_then(|count| usize::try_from(count).ok()).ok_or_else(|| SqlError::syntax("TOP"))
    }

    fn body(&self, body: &Body, outer: Option<&Scope<'_>>) -> Result<Rows, SqlError> {
        match body {
            Body::Select(select) => self.select(select, &[], outer),
            Body::Nested(query) => self.query(query, outer),
            Body::Union { left, right, all } => {
                let mut left = self.body(left, outer)?;
                let right = self.body(right, outer)?;
                if left.columns.len() != right.columns.len() {
                    return Err(SqlError::new(205, &[]));
                }
                for (one, other) in left.columns.iter_mut().zip(&right.columns) {
                    one.kind = wider(one.kind, other.kind);
                }
                left.rows.extend(right.rows);
                for row in &mut left.rows {
                    for (value, column) in row.iter_mut().zip(&left.columns) {
                        *value = cast(value, column.kind)?;
                    }
                }
                if !all {
                    distinct(&mut left.rows);
                }
                Ok(left)
            }
        }
    }

    /// ORDER BY over what a UNION gave: names and numbers of columns only.
    fn order_output(&self, rows: &mut Rows, order: &[(Expression, bool)]) -> Result<(), SqlError> {
        let columns = bound("", &rows.columns);
        let mut keyed = Vec::new();
        for row in std::mem::take(&mut rows.rows) {
            let scope = Scope { columns: &columns, row: &row, group: None, outer: None };
            let keys = order.iter().map(|(key, _)| match position(key, row.len()) {
                Some(at) => Ok(row[at].clone()),
                None => self.value(key, &scope),
            });
            let keys = keys.collect::<Result<Vec<_>, SqlError>>()?;
            keyed.push((keys, row));
        }
        rows.rows = sorted(keyed, order);
        Ok(())
    }

    fn select(
        &self,
        select: &Select,
        order: &[(Expression, bool)],
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows, SqlError> {
        let mut joined = match &select.from {
            Some(source) => self.source(source, outer)?,
            None => Joined { columns: Vec::new(), rows: vec![Vec::new()] },
        };
        // A column that does not exist is an error also where there is no row.
        let nothing = Scope { columns: &joined.columns, row: &[], group: Some(&[]), outer };
        let all = select.items.iter().filter_map(|item| match item {
            Item::Expression { value, .. } | Item::Assign { value, .. } => Some(value),
            Item::All(_) => None,
        });
        for expression in all.chain(&select.filter).chain(&select.group).chain(&select.having) {
            self.check(expression, &nothing)?;
        }
        if let Some(filter) = &select.filter {
            let mut kept = Vec::new();
            for row in joined.rows {
                let scope = Scope { columns: &joined.columns, row: &row, group: None, outer };
                if self.truth(filter, &scope)? == Some(true) {
                    kept.push(row);
                }
            }
            joined.rows = kept;
        }
        let items = expand(&select.items, &joined.columns)?;
        let grouped = !select.group.is_empty()
            || select.having.is_some()
            || items.iter().any(|item| has_aggregate(&item.value))
            || order.iter().any(|(key, _)| has_aggregate(key));
        if grouped {
            for item in &items {
                ungrouped(&item.value, &select.group)?;
            }
        }
        let mut columns = Vec::new();
        for item in &items {
            let kind = self.kind(&item.value, &nothing)?;
            let nullable = !matches!(item.value, Expression::CountAll);
            columns.push(Column { name: item.name.clone(), kind, nullable });
        }
        let numbers = self.row_numbers(&items, &joined, outer)?;
        let groups: Vec<Vec<Vec<Value>>> = if grouped { self.groups(select, &joined, outer)? } else { Vec::new() };
        let empty: Vec<Value> = vec![Value::Null; joined.columns.len()];
        let mut keyed = Vec::new();
        let count = if grouped { groups.len() } else { joined.rows.len() };
        for at in 0..count {
            let (row, group) = if grouped {
                (groups[at].first().unwrap_or(&empty), Some(groups[at].as_slice()))
            } else {
                (&joined.rows[at], None)
            };
            let scope = Scope { columns: &joined.columns, row, group, outer };
            if let Some(having) = &select.having
                && self.truth(having, &scope)? != Some(true)
            {
                continue;
            }
            let mut made = Vec::with_capacity(items.len());
            for (index, (item, column)) in items.iter().zip(&columns).enumerate() {
                let value = match numbers.get(&index) {
                    Some(numbers) => Value::BigInt(numbers[at]),
                    None => cast(&self.value(&item.value, &scope)?, column.kind)?,
                };
                made.push(value);
            }
            let keys = order.iter().map(|(key, _)| self.order_key(key, &items, &made, &scope));
            keyed.push((keys.collect::<Result<Vec<_>, _>>()?, made));
        }
        if select.distinct {
            let mut seen: Vec<Vec<Value>> = Vec::new();
            keyed.retain(|(_, row)| {
                let fresh = !seen.iter().any(|other| same(other, row));
                if fresh {
                    seen.push(row.clone());
                }
                fresh
            });
        }
        let mut rows = sorted(keyed, order);
        if let Some(top) = &select.top {
            rows.truncate(self.count(top)?);
        }
        Ok(Rows { columns, rows })
    }

    /// An alias or a number of the select list before a column of the sources.
    fn order_key(
        &self,
        key: &Expression,
        items: &[Chosen],
        made: &[Value],
        scope: &Scope<'_>,
    ) -> Result<Value, SqlError> {
        if let Some(at) = position(key, made.len()) {
            return Ok(made[at].clone());
        }
        if let Expression::Column { table: None, name } = key
            && let Some(at) = items.iter().position(|item| item.name.eq_ignore_ascii_case(name))
        {
            return Ok(made[at].clone());
        }
        self.value(key, scope)
    }

    /// Evaluates types only, so that names are checked.
    fn check(&self, expression: &Expression, scope: &Scope<'_>) -> Result<(), SqlError> {
        if let Expression::Column { .. } | Expression::Variable(_) = expression {
            self.kind(expression, scope)?;
        }
        let dated = matches!(expression, Expression::Call { name, .. }
            if name.last().is_some_and(|name| super::function::takes_date_part(name)));
        for child in children(expression).into_iter().skip(usize::from(dated)) {
            self.check(child, scope)?;
        }
        Ok(())
    }

    fn groups(
        &self,
        select: &Select,
        joined: &Joined,
        outer: Option<&Scope<'_>>,
    ) -> Result<Vec<Vec<Vec<Value>>>, SqlError> {
        if select.group.is_empty() {
            return Ok(vec![joined.rows.clone()]);
        }
        let mut groups: Vec<(Vec<Value>, Vec<Vec<Value>>)> = Vec::new();
        for row in &joined.rows {
            let scope = Scope { columns: &joined.columns, row, group: None, outer };
            let keys = select.group.iter().map(|key| self.value(key, &scope)).collect::<Result<Vec<_>, _>>()?;
            match groups.iter_mut().find(|(other, _)| same(other, &keys)) {
                Some((_, rows)) => rows.push(row.clone()),
                None => groups.push((keys, vec![row.clone()])),
            }
        }
        Ok(groups.into_iter().map(|(_, rows)| rows).collect())
    }

    /// For every item that is ROW_NUMBER(): the number of every row.
    fn row_numbers(
        &self,
        items: &[Chosen],
        joined: &Joined,
        outer: Option<&Scope<'_>>,
    ) -> Result<BTreeMap<usize, Vec<i64>>, SqlError> {
        let mut numbers = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let Expression::RowNumber { partition, order } = &item.value else { continue };
            let mut keyed = Vec::new();
            for (at, row) in joined.rows.iter().enumerate() {
                let scope = Scope { columns: &joined.columns, row, group: None, outer };
                let part = partition.iter().map(|key| self.value(key, &scope)).collect::<Result<Vec<_>, _>>()?;
                let keys = order.iter().map(|(key, _)| self.value(key, &scope)).collect::<Result<Vec<_>, _>>()?;
                keyed.push((keys, vec![(at, part)]));
            }
            let mut counts: Vec<(Vec<Value>, i64)> = Vec::new();
            let mut of_row = vec![0; joined.rows.len()];
            for (at, part) in sorted(keyed, order).into_iter().flatten() {
                let count = match counts.iter_mut().find(|(other, _)| same(other, &part)) {
                    Some((_, count)) => count,
                    None => {
                        counts.push((part, 0));
                        &mut counts.last_mut().expect("one was just pushed").1
                    }
                };
                *count += 1;
                of_row[at] = *count;
            }
            numbers.insert(index, of_row);
        }
        Ok(numbers)
    }
}

/// An item of a select list after `*` is written out.
struct Chosen {
    name: String,
    value: Expression,
}

fn expand(items: &[Item], columns: &[Bound]) -> Result<Vec<Chosen>, SqlError> {
    let mut all = Vec::new();
    for item in items {
        match item {
            Item::All(table) => {
                let before = all.len();
                for bound in columns {
                    if table.as_ref().is_none_or(|table| bound.table.eq_ignore_ascii_case(table)) {
                        let name = bound.column.name.clone();
                        let value = Expression::Column { table: Some(bound.table.clone()), name: name.clone() };
                        all.push(Chosen { name, value });
                    }
                }
                if let Some(table) = table
                    && all.len() == before
                {
                    return Err(SqlError::new(4104, &[&format!("{table}.*")]));
                }
            }
            Item::Expression { value, alias } => {
                let name = match (alias, value) {
                    (Some(alias), _) => alias.clone(),
                    (None, Expression::Column { name, .. }) => name.clone(),
                    (None, _) => String::new(),
                };
                all.push(Chosen { name, value: value.clone() });
            }
            Item::Assign { variable, value } => all.push(Chosen { name: variable.clone(), value: value.clone() }),
        }
    }
    Ok(all)
}

/// 8120: a column that is neither grouped nor inside an aggregate.
fn ungrouped(expression: &Expression, group: &[Expression]) -> Result<(), SqlError> {
    let same_column = |one: &Expression, other: &Expression| match (one, other) {
        (Expression::Column { table: a, name: x }, Expression::Column { table: b, name: y }) => {
            x.eq_ignore_ascii_case(y)
                && (a.is_none()
                    || b.is_none()
                    || a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b)))
        }
        _ => one == other,
    };
    if group.iter().any(|key| same_column(key, expression)) {
        return Ok(());
    }
    match expression {
        Expression::Call { name, .. } if is_aggregate(name) => Ok(()),
        Expression::Column { table, name } => {
            let whole = table.as_ref().map_or_else(|| name.clone(), |table| format!("{table}.{name}"));
            Err(SqlError::new(8120, &[&whole]))
        }
        other => children(other).into_iter().try_for_each(|child| ungrouped(child, group)),
    }
}

fn bound(table: &str, columns: &[Column]) -> Vec<Bound> {
    columns.iter().map(|column| Bound { table: table.to_owned(), column: column.clone() }).collect()
}

fn renamed(mut rows: Rows, names: &[String]) -> Result<Rows, SqlError> {
    if names.is_empty() {
        return Ok(rows);
    }
    if names.len() != rows.columns.len() {
        return Err(SqlError::new(213, &[]));
    }
    for (column, name) in rows.columns.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
    Ok(rows)
}

/// `ORDER BY 2`.
fn position(key: &Expression, width: usize) -> Option<usize> {
    match key {
        Expression::Literal(Value::Int(number), _) => {
            usize::try_from(*number).ok()?.checked_sub(1).filter(|at| *at < width)
        }
        _ => None,
    }
}

fn sorted<T>(mut keyed: Vec<(Vec<Value>, T)>, order: &[(Expression, bool)]) -> Vec<T> {
    keyed.sort_by(|(one, _), (other, _)| {
        one.iter()
            .zip(other)
            .zip(order)
            .map(|((one, other), (_, descending))| {
                let ordering = value::order(one, other);
                if *descending { ordering.reverse() } else { ordering }
            })
            .find(|ordering| ordering.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    keyed.into_iter().map(|(_, row)| row).collect()
}

fn same(one: &[Value], other: &[Value]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| value::order(one, other).is_eq())
}

fn distinct(rows: &mut Vec<Vec<Value>>) {
    let mut seen: Vec<Vec<Value>> = Vec::new();
    rows.retain(|row| {
        let fresh = !seen.iter().any(|other| same(other, row));
        if fresh {
            seen.push(row.clone());
        }
        fresh
    });
}
