//! User tables: INSERT, UPDATE, DELETE and their definitions, as changes for the log.
//!
//! Apart from the log, which takes any change: here is where keys and NULLs are minded.

use super::evaluate::{Bound, Scope};
use super::reader::Reader;
use super::syntax::{Expression, Insert, InsertSource};
use super::value::{cast, compare, integer, write};
use crate::answer::{Column, Type, Value};
use crate::world::SqlError;
use crate::world::log::{Change, Table, TableColumn, Tables};

/// Stands in a default for "the moment of the insertion".
const NOW: Value = Value::DateTime(i64::MIN);

/// What a statement does to one database.
pub struct Changed {
    pub changes: Vec<Change>,
    pub rows: u64,
    pub identity: Option<i64>,
}

/// The database and the table that a name means.
pub fn target(reader: &Reader<'_>, name: &[String]) -> Result<(String, String), SqlError> {
    let current = || reader.session().database.clone();
    match name {
        [table] => Ok((current(), table.clone())),
        [schema, table] if schema.eq_ignore_ascii_case("dbo") => Ok((current(), table.clone())),
        [database, schema, table] if schema.is_empty() || schema.eq_ignore_ascii_case("dbo") => {
            Ok((database.clone(), table.clone()))
        }
        _ => Err(SqlError::new(208, &[&name.join(".")])),
    }
}

fn find<'a>(tables: &'a Tables, name: &str) -> Result<&'a Table, SqlError> {
    tables.get(&name.to_lowercase()).ok_or_else(|| SqlError::new(208, &[name]))
}

pub fn insert(reader: &Reader<'_>, database: &str, table: &str, insert: &Insert) -> Result<Changed, SqlError> {
    let tables = reader.tables(database)?;
    let table = find(&tables, table)?;
    let free: Vec<&TableColumn> = table.columns.iter().filter(|column| !column.identity).collect();
    let targets: Vec<&TableColumn> = if insert.columns.is_empty() {
        free
    } else {
        let named = insert.columns.iter().map(|name| {
            table
                .columns
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(name))
                .ok_or_else(|| SqlError::new(207, &[name]))
        });
        named.collect::<Result<_, _>>()?
    };
    let rows = match &insert.source {
        InsertSource::Defaults => vec![Vec::new()],
        InsertSource::Rows(rows) => rows
            .iter()
            .map(|row| row.iter().map(|value| reader.value(value, &Scope::EMPTY)).collect())
            .collect::<Result<_, SqlError>>()?,
        InsertSource::Query(query) => reader.query(query, None)?.rows,
    };
    let mut next_identity = table
        .columns
        .iter()
        .position(|column| column.identity)
        .map(|at| table.rows.values().filter_map(|row| integer(&row[at])).max().unwrap_or(0) + 1);
    let mut grown = table.clone();
    let mut changed = Changed { changes: Vec::new(), rows: 0, identity: None };
    for given in rows {
        if !matches!(insert.source, InsertSource::Defaults) && given.len() != targets.len() {
            let number = match (insert.columns.is_empty(), given.len() < targets.len()) {
                (true, _) => 213,
                (false, true) => 120,
                (false, false) => 121,
            };
            return Err(SqlError::new(number, &[]));
        }
        let mut values = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let at = targets.iter().position(|target| target.name == column.name).filter(|_| !given.is_empty());
            let value = match (at, &column.default) {
                (Some(at), _) => given[at].clone(),
                (None, _) if column.identity => {
                    let number = next_identity.unwrap_or(1);
                    next_identity = Some(number + 1);
                    changed.identity = i64::try_from(number).ok();
                    cast(&Value::Numeric(number), column.kind)?
                }
                (None, Some(default)) if *default == NOW => Value::DateTime(reader.world.clock),
                (None, default) => default.clone().unwrap_or(Value::Null),
            };
            values.push(stored(value, column, &table.name)?);
        }
        let row = reader.world.next_row + changed.rows;
        unique(&grown, row, &values)?;
        grown.rows.insert(row, values.clone());
        changed.changes.push(Change::Insert { table: table.name.clone(), row, values });
        changed.rows += 1;
    }
    Ok(changed)
}

fn stored(value: Value, column: &TableColumn, table: &str) -> Result<Value, SqlError> {
    if value == Value::Null && !column.nullable {
        return Err(SqlError::new(515, &[&column.name, table]).then(SqlError::new(3621, &[])));
    }
    if let (Value::Text(text), Type::NVarChar { length } | Type::VarChar { length } | Type::Char { length }) =
        (&value, column.kind)
        && length > 0
        && text.encode_utf16().count() > usize::from(length)
    {
        return Err(SqlError::new(8152, &[]).then(SqlError::new(3621, &[])));
    }
    cast(&value, column.kind)
}

/// No other row has the same key.
fn unique(table: &Table, row: u64, values: &[Value]) -> Result<(), SqlError> {
    for (at, column) in table.columns.iter().enumerate().filter(|(_, column)| column.unique) {
        for (other, held) in &table.rows {
            if *other != row && compare(&held[at], &values[at])?.is_some_and(std::cmp::Ordering::is_eq) {
                let constraint = format!("PK_{}_{}", table.name, column.name);
                let object = format!("dbo.{}", table.name);
                let error = SqlError::new(2627, &["PRIMARY KEY", &constraint, &object, &write(&values[at])]);
                return Err(error.then(SqlError::new(3621, &[])));
            }
        }
    }
    Ok(())
}

/// Two transactions may have taken the same key; the later commit fails.
pub fn still_unique(tables: &Tables, changes: &[Change]) -> Result<(), SqlError> {
    let mut grown = tables.clone();
    for change in changes {
        crate::world::log::apply(&mut grown, change);
        if let Change::Insert { table, row, values } | Change::Update { table, row, values } = change
            && let Some(table) = grown.get(&table.to_lowercase())
        {
            unique(table, *row, values)?;
        }
    }
    Ok(())
}

fn columns_of(table: &Table) -> Vec<Bound> {
    table
        .columns
        .iter()
        .map(|column| Bound {
            table: table.name.clone(),
            column: Column { name: column.name.clone(), kind: column.kind, nullable: column.nullable },
        })
        .collect()
}

fn chosen(
    reader: &Reader<'_>,
    table: &Table,
    columns: &[Bound],
    filter: Option<&Expression>,
) -> Result<Vec<u64>, SqlError> {
    let mut rows = Vec::new();
    for (id, row) in &table.rows {
        let scope = Scope { columns, row, group: None, outer: None };
        if filter.map_or(Ok(Some(true)), |filter| reader.truth(filter, &scope))? == Some(true) {
            rows.push(*id);
        }
    }
    Ok(rows)
}

pub fn update(
    reader: &Reader<'_>,
    database: &str,
    table: &str,
    assignments: &[(String, Expression)],
    filter: Option<&Expression>,
) -> Result<Changed, SqlError> {
    let tables = reader.tables(database)?;
    let table = find(&tables, table)?;
    let columns = columns_of(table);
    let mut targets = Vec::new();
    for (name, value) in assignments {
        let at = table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        targets.push((at.ok_or_else(|| SqlError::new(207, &[name]))?, value));
    }
    let mut grown = table.clone();
    let mut changes = Vec::new();
    for id in chosen(reader, table, &columns, filter)? {
        let row = &table.rows[&id];
        let scope = Scope { columns: &columns, row, group: None, outer: None };
        let mut values = row.clone();
        for (at, value) in &targets {
            values[*at] = stored(reader.value(value, &scope)?, &table.columns[*at], &table.name)?;
        }
        unique(&grown, id, &values)?;
        grown.rows.insert(id, values.clone());
        changes.push(Change::Update { table: table.name.clone(), row: id, values });
    }
    Ok(Changed { rows: changes.len() as u64, changes, identity: None })
}

pub fn delete(
    reader: &Reader<'_>,
    database: &str,
    table: &str,
    filter: Option<&Expression>,
) -> Result<Changed, SqlError> {
    let tables = reader.tables(database)?;
    let table = find(&tables, table)?;
    let changes: Vec<Change> = chosen(reader, table, &columns_of(table), filter)?
        .into_iter()
        .map(|row| Change::Delete { table: table.name.clone(), row })
        .collect();
    Ok(Changed { rows: changes.len() as u64, changes, identity: None })
}

pub fn create(reader: &Reader<'_>, database: &str, table: &str, columns: &[TableColumn]) -> Result<Changed, SqlError> {
    if table.starts_with('#') {
        return Err(SqlError::unsupported("temporary tables"));
    }
    if reader.tables(database)?.contains_key(&table.to_lowercase()) {
        return Err(SqlError::new(2714, &[table]));
    }
    let changes = vec![Change::Create { table: table.to_owned(), columns: columns.to_vec() }];
    Ok(Changed { changes, rows: 0, identity: None })
}

pub fn drop(reader: &Reader<'_>, database: &str, table: &str, if_exists: bool) -> Result<Changed, SqlError> {
    let known = reader.tables(database)?.contains_key(&table.to_lowercase());
    match (known, if_exists) {
        (true, _) => {
            let changes = vec![Change::Drop { table: table.to_owned() }];
            Ok(Changed { changes, rows: 0, identity: None })
        }
        (false, true) => Ok(Changed { changes: Vec::new(), rows: 0, identity: None }),
        (false, false) => Err(SqlError::new(3701, &["drop", "table", table])),
    }
}
