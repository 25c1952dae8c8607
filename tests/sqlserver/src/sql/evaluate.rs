//! Expressions over rows, and the types of what they give.
//!
//! Apart from queries, which only choose the rows. A type must be known without a row, and must be that of every value.

use super::function;
use super::reader::Reader;
use super::syntax::{Expression, Sign};
use super::value::{self, cast, compare, integer, type_of, wider, write};
use crate::answer::{Column, Type, Value};
use crate::world::SqlError;
use std::cmp::Ordering;

/// A column of a source, with the name under which it is known.
#[derive(Debug, Clone)]
pub struct Bound {
    pub table: String,
    pub column: Column,
}

/// The row that an expression sees, and those around it.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub columns: &'a [Bound],
    pub row: &'a [Value],
    /// All rows of the group, where there is one.
    pub group: Option<&'a [Vec<Value>]>,
    pub outer: Option<&'a Scope<'a>>,
}

impl Scope<'static> {
    pub const EMPTY: Scope<'static> = Scope { columns: &[], row: &[], group: None, outer: None };
}

impl<'a> Scope<'a> {
    /// Where a column stands: how many scopes out, and at which place.
    fn find(&self, table: Option<&str>, name: &str) -> Result<(&'a Column, Value), SqlError> {
        let mut found = None;
        for (at, bound) in self.columns.iter().enumerate() {
            let fits = bound.column.name.eq_ignore_ascii_case(name)
                && table.is_none_or(|table| bound.table.eq_ignore_ascii_case(table));
            if fits && found.replace(at).is_some() {
                return Err(SqlError::new(209, &[name]));
            }
        }
        match (found, self.outer, table) {
            (Some(at), _, _) => Ok((&self.columns[at].column, self.row.get(at).cloned().unwrap_or(Value::Null))),
            (None, Some(outer), _) => outer.find(table, name),
            (None, None, Some(table)) if !self.knows(table) => Err(SqlError::new(4104, &[&format!("{table}.{name}")])),
            (None, None, _) => Err(SqlError::new(207, &[name])),
        }
    }

    fn knows(&self, table: &str) -> bool {
        self.columns.iter().any(|bound| bound.table.eq_ignore_ascii_case(table))
    }
}

const AGGREGATES: &[&str] = &["count", "count_big", "max", "min", "sum", "avg", "string_agg"];

pub fn is_aggregate(name: &[String]) -> bool {
    matches!(name, [one] if AGGREGATES.contains(&one.to_lowercase().as_str()))
}

/// Whether an expression has an aggregate that belongs to its own query.
pub fn has_aggregate(expression: &Expression) -> bool {
    match expression {
        Expression::CountAll => true,
        Expression::Call { name, .. } if is_aggregate(name) => true,
        other => children(other).into_iter().any(has_aggregate),
    }
}

/// What an expression is made of, without subqueries.
pub fn children(expression: &Expression) -> Vec<&Expression> {
    match expression {
        Expression::Literal(..)
        | Expression::Column { .. }
        | Expression::Variable(_)
        | Expression::Global(_)
        | Expression::CountAll
        | Expression::RowNumber { .. }
        | Expression::Exists(_)
        | Expression::Scalar(_) => Vec::new(),
        Expression::Negate(value)
        | Expression::Not(value)
        | Expression::IsNull { value, .. }
        | Expression::InQuery { value, .. }
        | Expression::Cast { value, .. } => vec![value],
        Expression::Binary { left, right, .. } => vec![left, right],
        Expression::In { value, list, .. } => std::iter::once(&**value).chain(list).collect(),
        Expression::Between { value, low, high, .. } => vec![value, low, high],
        Expression::Like { value, pattern, .. } => vec![value, pattern],
        Expression::Case { operand, whens, otherwise } => operand
            .iter()
            .map(|one| &**one)
            .chain(whens.iter().flat_map(|(when, then)| [when, then]))
            .chain(otherwise.iter().map(|one| &**one))
            .collect(),
        Expression::Call { arguments, .. } => arguments.iter().collect(),
    }
}

impl Reader<'_> {
    pub fn value(&self, expression: &Expression, scope: &Scope<'_>) -> Result<Value, SqlError> {
        Ok(match expression {
            Expression::Literal(value, _) => value.clone(),
            Expression::Column { table, name } => scope.find(table.as_deref(), name)?.1,
            Expression::Variable(name) => self.variable(name)?.1.clone(),
            Expression::Global(name) => function::global(self, name)?,
            Expression::Negate(inner) => match self.value(inner, scope)? {
                Value::Null => Value::Null,
                Value::Float(number) => Value::Float(-number),
                other => {
                    let kind = wider(type_of(&other), Type::Int);
                    let number = integer(&cast(&other, kind)?).and_then(i128::checked_neg);
                    cast(&number.map_or(Value::Null, Value::Numeric), kind)?
                }
            },
            Expression::Not(inner) => match self.truth(inner, scope)? {
                Some(truth) => Value::Bit(!truth),
                None => Value::Null,
            },
            Expression::Binary { sign, left, right } => self.binary(*sign, left, right, scope)?,
            Expression::IsNull { value, negated } => Value::Bit((self.value(value, scope)? == Value::Null) != *negated),
            Expression::In { value, list, negated } => {
                let value = self.value(value, scope)?;
                let list = list.iter().map(|one| self.value(one, scope)).collect::<Result<Vec<_>, _>>()?;
                member(&value, &list, *negated)?
            }
            Expression::InQuery { value, query, negated } => {
                let value = self.value(value, scope)?;
                let rows = self.query(query, Some(scope))?;
                if rows.columns.len() != 1 {
                    return Err(SqlError::unsupported("IN over several columns"));
                }
                let list: Vec<Value> = rows.rows.into_iter().filter_map(|mut row| row.pop()).collect();
                member(&value, &list, *negated)?
            }
            Expression::Between { value, low, high, negated } => {
                let value = self.value(value, scope)?;
                let above = compare(&value, &self.value(low, scope)?)?.map(Ordering::is_ge);
                let below = compare(&value, &self.value(high, scope)?)?.map(Ordering::is_le);
                bit(and(above, below).map(|truth| truth != *negated))
            }
            Expression::Like { value, pattern, escape, negated } => {
                match (self.value(value, scope)?, self.value(pattern, scope)?) {
                    (Value::Null, _) | (_, Value::Null) => Value::Null,
                    (value, pattern) => Value::Bit(value::like(&write(&value), &write(&pattern), *escape) != *negated),
                }
            }
            Expression::Case { operand, whens, otherwise } => {
                let kind = self.kind(expression, scope)?;
                let operand = operand.as_ref().map(|one| self.value(one, scope)).transpose()?;
                for (when, then) in whens {
                    let holds = match &operand {
                        Some(operand) => compare(operand, &self.value(when, scope)?)? == Some(Ordering::Equal),
                        None => self.truth(when, scope)? == Some(true),
                    };
                    if holds {
                        return cast(&self.value(then, scope)?, kind);
                    }
                }
                match otherwise {
                    Some(otherwise) => cast(&self.value(otherwise, scope)?, kind)?,
                    None => Value::Null,
                }
            }
            Expression::Cast { value, kind, try_only, style } => {
                let value = self.value(value, scope)?;
                let style =
                    style.as_ref().map(|style| self.value(style, scope)).transpose()?.and_then(|one| integer(&one));
                match function::convert(&value, *kind, style) {
                    Err(_) if *try_only => Value::Null,
                    converted => converted?,
                }
            }
            Expression::CountAll => match scope.group {
                Some(rows) => Value::Int(i32::try_from(rows.len()).unwrap_or(i32::MAX)),
                None => return Err(SqlError::unsupported("COUNT(*) outside of a select list")),
            },
            Expression::Call { name, arguments, distinct } if is_aggregate(name) => {
                self.aggregate(&name[0].to_lowercase(), arguments, *distinct, scope)?
            }
            Expression::Call { name, arguments, .. } => function::call(self, name, arguments, scope)?,
            Expression::RowNumber { .. } => return Err(SqlError::unsupported("ROW_NUMBER() inside an expression")),
            Expression::Exists(query) => Value::Bit(!self.query(query, Some(scope))?.rows.is_empty()),
            Expression::Scalar(query) => {
                let mut rows = self.query(query, Some(scope))?;
                if rows.columns.len() != 1 {
                    return Err(SqlError::unsupported("a subquery of several columns as a value"));
                }
                if rows.rows.len() > 1 {
                    return Err(SqlError::new(512, &[]));
                }
                rows.rows.pop().and_then(|mut row| row.pop()).unwrap_or(Value::Null)
            }
        })
    }

    /// Three-valued.
    pub fn truth(&self, expression: &Expression, scope: &Scope<'_>) -> Result<Option<bool>, SqlError> {
        match self.value(expression, scope)? {
            Value::Bit(truth) => Ok(Some(truth)),
            Value::Null => Ok(None),
            _ => Err(SqlError::unsupported("an expression of non-boolean type where a condition is expected")),
        }
    }

    fn binary(&self, sign: Sign, left: &Expression, right: &Expression, scope: &Scope<'_>) -> Result<Value, SqlError> {
        if sign == Sign::And {
            let left = self.truth(left, scope)?;
            return Ok(if left == Some(false) { Value::Bit(false) } else { bit(and(left, self.truth(right, scope)?)) });
        }
        if sign == Sign::Or {
            let left = self.truth(left, scope)?;
            if left == Some(true) {
                return Ok(Value::Bit(true));
            }
            let right = self.truth(right, scope)?;
            return Ok(bit(match (left, right) {
                (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }));
        }
        let (left, right) = (self.value(left, scope)?, self.value(right, scope)?);
        let compared = |holds: fn(Ordering) -> bool| Ok(bit(compare(&left, &right)?.map(holds)));
        match sign {
            Sign::Equal => compared(Ordering::is_eq),
            Sign::Unequal => compared(Ordering::is_ne),
            Sign::Less => compared(Ordering::is_lt),
            Sign::LessOrEqual => compared(Ordering::is_le),
            Sign::Greater => compared(Ordering::is_gt),
            Sign::GreaterOrEqual => compared(Ordering::is_ge),
            _ => arithmetic(sign, &left, &right),
        }
    }

    fn aggregate(
        &self,
        name: &str,
        arguments: &[Expression],
        distinct: bool,
        scope: &Scope<'_>,
    ) -> Result<Value, SqlError> {
        let Some(rows) = scope.group else {
            return Err(SqlError::unsupported("an aggregate outside of a select list"));
        };
        let Some(argument) = arguments.first() else { return Err(SqlError::new(174, &[name, "1"])) };
        let mut values = Vec::new();
        for row in rows {
            let value = self.value(argument, &Scope { row, group: None, ..*scope })?;
            if value != Value::Null {
                values.push(value);
            }
        }
        if distinct {
            values.sort_by(value::order);
            values.dedup_by(|one, other| value::order(one, other) == Ordering::Equal);
        }
        let kind = self.kind(argument, scope)?;
        Ok(match name {
            "count" => Value::Int(i32::try_from(values.len()).unwrap_or(i32::MAX)),
            "count_big" => Value::BigInt(i64::try_from(values.len()).unwrap_or(i64::MAX)),
            "max" => values.into_iter().max_by(value::order).unwrap_or(Value::Null),
            "min" => values.into_iter().min_by(value::order).unwrap_or(Value::Null),
            "string_agg" => {
                let Some(between) = arguments.get(1) else { return Err(SqlError::new(174, &[name, "2"])) };
                let between = write(&self.value(between, scope)?);
                if values.is_empty() {
                    return Ok(Value::Null);
                }
                Value::Text(values.iter().map(write).collect::<Vec<_>>().join(&between))
            }
            _ if values.is_empty() => Value::Null,
            _ if kind == Type::Float => {
                let sum: f64 = values.iter().map(value::number).sum::<Result<f64, _>>()?;
                Value::Float(if name == "avg" { sum / values.len() as f64 } else { sum })
            }
            _ => {
                let numbers =
                    values.iter().map(|one| integer(one).ok_or_else(|| SqlError::unsupported("a sum of this type")));
                let sum: i128 = numbers.sum::<Result<i128, _>>()?;
                let result = if name == "avg" { sum / values.len() as i128 } else { sum };
                cast(&Value::Numeric(result), wider(kind, Type::Int))?
            }
        })
    }

    /// The type of an expression over these columns.
    pub fn kind(&self, expression: &Expression, scope: &Scope<'_>) -> Result<Type, SqlError> {
        Ok(match expression {
            Expression::Literal(_, kind) | Expression::Cast { kind, .. } => *kind,
            Expression::Column { table, name } => scope.find(table.as_deref(), name)?.0.kind,
            Expression::Variable(name) => self.variable(name)?.0,
            Expression::Global(name) => type_of(&function::global(self, name)?),
            Expression::Negate(inner) => wider(self.kind(inner, scope)?, Type::TinyInt),
            Expression::Not(_)
            | Expression::IsNull { .. }
            | Expression::In { .. }
            | Expression::InQuery { .. }
            | Expression::Between { .. }
            | Expression::Like { .. }
            | Expression::Exists(_) => Type::Bit,
            Expression::Binary { sign, left, right } => match sign {
                Sign::Add
                | Sign::Subtract
                | Sign::Multiply
                | Sign::Divide
                | Sign::Modulo
                | Sign::BitAnd
                | Sign::BitOr => {
                    let (left, right) = (self.kind(left, scope)?, self.kind(right, scope)?);
                    match (value::length(left), value::length(right)) {
                        (Some(a), Some(b)) if *sign == Sign::Add => {
                            let sum = if a == 0 || b == 0 { 0 } else { a.saturating_add(b) };
                            match wider(left, right) {
                                Type::NVarChar { .. } => value::nvarchar(if sum > 4000 { 0 } else { sum }),
                                Type::VarBinary { .. } => Type::VarBinary { length: if sum > 8000 { 0 } else { sum } },
                                _ => Type::VarChar { length: if sum > 8000 { 0 } else { sum } },
                            }
                        }
                        _ => match wider(left, right) {
                            Type::Numeric { .. } => Type::Numeric { precision: 38 },
                            Type::Bit => Type::Int,
                            kind => kind,
                        },
                    }
                }
                _ => Type::Bit,
            },
            Expression::Case { whens, otherwise, .. } => {
                let mut kind = None;
                for then in whens.iter().map(|(_, then)| then).chain(otherwise.iter().map(|one| &**one)) {
                    if matches!(then, Expression::Literal(Value::Null, _)) {
                        continue;
                    }
                    let one = self.kind(then, scope)?;
                    kind = Some(kind.map_or(one, |kind| wider(kind, one)));
                }
                kind.unwrap_or(Type::Int)
            }
            Expression::CountAll => Type::Int,
            Expression::RowNumber { .. } => Type::BigInt,
            Expression::Call { name, arguments, .. } if is_aggregate(name) => {
                let argument = arguments.first().map(|one| self.kind(one, scope)).transpose()?.unwrap_or(Type::Int);
                match name[0].to_lowercase().as_str() {
                    "count" => Type::Int,
                    "count_big" => Type::BigInt,
                    "max" | "min" => argument,
                    "string_agg" => value::nvarchar(4000),
                    _ => wider(argument, Type::Int),
                }
            }
            Expression::Call { name, arguments, .. } => function::kind(self, name, arguments, scope)?,
            Expression::Scalar(query) => {
                self.query(query, Some(scope))?.columns.first().map_or(Type::Int, |column| column.kind)
            }
        })
    }
}

fn bit(truth: Option<bool>) -> Value {
    truth.map_or(Value::Null, Value::Bit)
}

fn and(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn member(value: &Value, list: &[Value], negated: bool) -> Result<Value, SqlError> {
    let mut unknown = false;
    for one in list {
        match compare(value, one)? {
            Some(Ordering::Equal) => return Ok(Value::Bit(!negated)),
            None => unknown = true,
            Some(_) => {}
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bit(negated) })
}

fn arithmetic(sign: Sign, left: &Value, right: &Value) -> Result<Value, SqlError> {
    if *left == Value::Null || *right == Value::Null {
        return Ok(Value::Null);
    }
    if sign == Sign::Add
        && let (Value::Text(left), Value::Text(right)) = (left, right)
    {
        return Ok(Value::Text(format!("{left}{right}")));
    }
    if sign == Sign::Add
        && let (Value::Binary(left), Value::Binary(right)) = (left, right)
    {
        return Ok(Value::Binary([left.as_slice(), right].concat()));
    }
    let kind = wider(type_of(left), type_of(right));
    if kind == Type::Float {
        let (left, right) = (value::number(left)?, value::number(right)?);
        return Ok(Value::Float(match sign {
            Sign::Add => left + right,
            Sign::Subtract => left - right,
            Sign::Multiply => left * right,
            Sign::Divide if right == 0.0 => return Err(SqlError::new(8134, &[])),
            Sign::Divide => left / right,
            _ => return Err(SqlError::unsupported("this arithmetic with float")),
        }));
    }
    if matches!(kind, Type::DateTime | Type::UniqueIdentifier) || value::length(kind).is_some() {
        return Err(SqlError::unsupported(format_args!("arithmetic with {}", value::type_words(kind))));
    }
    let kind = if kind == Type::Bit { Type::Int } else { kind };
    let whole = |value: &Value| Ok(integer(&cast(value, kind)?).unwrap_or(0));
    let (left, right): (i128, i128) = (whole(left)?, whole(right)?);
    let result = match sign {
        Sign::Add => left.checked_add(right),
        Sign::Subtract => left.checked_sub(right),
        Sign::Multiply => left.checked_mul(right),
        Sign::Divide | Sign::Modulo if right == 0 => return Err(SqlError::new(8134, &[])),
        Sign::Divide => left.checked_div(right),
        Sign::Modulo => left.checked_rem(right),
        Sign::BitAnd => Some(left & right),
        _ => Some(left | right),
    };
    let result = result.ok_or_else(|| SqlError::new(8115, &["expression", value::type_words(kind)]))?;
    let kind = if matches!(kind, Type::Numeric { .. }) { Type::Numeric { precision: 38 } } else { kind };
    cast(&Value::Numeric(result), kind)
}
