//! Scalar functions and `@@` globals. One that is not here is error 195, never NULL.

mod property;

use super::evaluate::Scope;
use super::reader::Reader;
use super::syntax::Expression;
use super::value::{self, cast, integer, nvarchar, type_of, wider, write};
use crate::answer::{Type, Value};
use crate::world::SqlError;
use crate::world::group::Role;
use property::{database_property, permission, server_property, server_role};

/// Functions whose first argument is a bare word such as `second`.
pub fn takes_date_part(name: &str) -> bool {
    ["datediff", "datediff_big", "dateadd", "datepart", "datename"].contains(&name.to_lowercase().as_str())
}

pub fn global(reader: &Reader<'_>, name: &str) -> Result<Value, SqlError> {
    let session = reader.session();
    Ok(match name.to_lowercase().as_str() {
        "@@servername" => Value::Text(reader.instance.to_owned()),
        "@@version" => {
            let server = reader.server();
            Value::Text(format!(
                "Microsoft SQL Server {} - {} (X64) (simulated by Baton)\n\t{} on Linux",
                server.year(),
                server.product_version(),
                server.edition
            ))
        }
        "@@spid" => Value::SmallInt(i16::try_from(reader.spid).unwrap_or(i16::MAX)),
        "@@trancount" => {
            Value::Int(session.transaction.as_ref().map_or(0, |one| i32::try_from(one.count).unwrap_or(i32::MAX)))
        }
        "@@rowcount" => Value::Int(i32::try_from(session.row_count).unwrap_or(i32::MAX)),
        "@@error" => Value::Int(session.last_error),
        "@@identity" => session.last_identity.map_or(Value::Null, |one| Value::Numeric(i128::from(one))),
        "@@servicename" => {
            let instance = reader.instance.split_once('\\').map_or("MSSQLSERVER", |(_, name)| name);
            Value::Text(instance.to_owned())
        }
        "@@microsoftversion" => Value::Int(i32::from(reader.server().version) << 24),
        "@@language" => Value::Text("us_english".into()),
        "@@lock_timeout" => Value::Int(-1),
        "@@max_precision" => Value::TinyInt(38),
        "@@datefirst" => Value::TinyInt(7),
        "@@textsize" => Value::Int(i32::MAX),
        "@@options" => Value::Int(5496),
        _ => return Err(SqlError::new(137, &[name])),
    })
}

/// CAST and CONVERT.
pub fn convert(value: &Value, kind: Type, style: Option<i128>) -> Result<Value, SqlError> {
    if let (Value::DateTime(ms), true) = (value, value::is_text(kind)) {
        let text = match style {
            None | Some(0 | 21 | 121 | 25) => value::write_time(*ms, ' '),
            Some(126 | 127) => value::write_time(*ms, 'T'),
            Some(20 | 120) => value::write_time(*ms, ' ')[..19].to_owned(),
            Some(112) => value::write_stamp(*ms)[..8].to_owned(),
            Some(23) => value::write_time(*ms, ' ')[..10].to_owned(),
            Some(108) => value::write_time(*ms, ' ')[11..19].to_owned(),
            Some(other) => return Err(SqlError::unsupported(format_args!("CONVERT with style {other}"))),
        };
        return cast(&Value::Text(text), kind);
    }
    if let (Value::Binary(bytes), true, Some(2)) = (value, value::is_text(kind), style) {
        let text: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        return cast(&Value::Text(text), kind);
    }
    cast(value, kind)
}

fn date_part(expression: Option<&Expression>) -> Result<String, SqlError> {
    let Some(Expression::Column { table: None, name }) = expression else {
        return Err(SqlError::unsupported("this date part"));
    };
    Ok(match name.to_lowercase().as_str() {
        "year" | "yy" | "yyyy" => "year",
        "month" | "mm" | "m" => "month",
        "day" | "dd" | "d" | "dayofyear" => "day",
        "hour" | "hh" => "hour",
        "minute" | "mi" | "n" => "minute",
        "second" | "ss" | "s" => "second",
        "millisecond" | "ms" => "millisecond",
        other => return Err(SqlError::unsupported(format_args!("the date part {other}"))),
    }
    .to_owned())
}

fn part_ms(part: &str) -> Option<i64> {
    Some(match part {
        "day" => 86_400_000,
        "hour" => 3_600_000,
        "minute" => 60_000,
        "second" => 1000,
        "millisecond" => 1,
        _ => return None,
    })
}

/// Boundaries between two moments, as DATEDIFF counts them.
fn difference(part: &str, from: i64, to: i64) -> i64 {
    if let Some(unit) = part_ms(part) {
        return to.div_euclid(unit) - from.div_euclid(unit);
    }
    let ((from_year, from_month, _), (to_year, to_month, _)) = (value::civil(from), value::civil(to));
    if part == "year" { to_year - from_year } else { (to_year - from_year) * 12 + to_month - from_month }
}

fn milliseconds(value: &Value) -> Result<Option<i64>, SqlError> {
    match cast(value, Type::DateTime)? {
        Value::DateTime(ms) => Ok(Some(ms)),
        _ => Ok(None),
    }
}

pub fn call(
    reader: &Reader<'_>,
    name: &[String],
    arguments: &[Expression],
    scope: &Scope<'_>,
) -> Result<Value, SqlError> {
    let whole = name.join(".").to_lowercase();
    let short = whole.trim_start_matches("sys.").trim_start_matches("master.sys.");
    if takes_date_part(short) {
        return dated(reader, short, arguments, scope);
    }
    // Those that must not evaluate all of their arguments.
    match short {
        "coalesce" => {
            let kind = kind(reader, name, arguments, scope)?;
            for one in arguments {
                let value = reader.value(one, scope)?;
                if value != Value::Null {
                    return cast(&value, kind);
                }
            }
            return Ok(Value::Null);
        }
        "isnull" if arguments.len() == 2 => {
            let value = reader.value(&arguments[0], scope)?;
            let value = if value == Value::Null { reader.value(&arguments[1], scope)? } else { value };
            return cast(&value, kind(reader, name, arguments, scope)?);
        }
        "iif" if arguments.len() == 3 => {
            let chosen = if reader.truth(&arguments[0], scope)? == Some(true) { &arguments[1] } else { &arguments[2] };
            return cast(&reader.value(chosen, scope)?, kind(reader, name, arguments, scope)?);
        }
        _ => {}
    }
    let values = arguments.iter().map(|one| reader.value(one, scope)).collect::<Result<Vec<_>, _>>()?;
    let count = |counts: std::ops::RangeInclusive<usize>| {
        if counts.contains(&values.len()) {
            Ok(())
        } else {
            Err(SqlError::new(174, &[short, &counts.start().to_string()]))
        }
    };
    let text = |at: usize| values.get(at).filter(|value| **value != Value::Null).map(write);
    let whole_at = |at: usize| values.get(at).and_then(integer);
    let or_null = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    Ok(match short {
        "getdate" | "getutcdate" | "sysdatetime" | "sysutcdatetime" => {
            count(0..=0)?;
            Value::DateTime(reader.world.clock)
        }
        "db_id" => match text(0) {
            None if values.is_empty() => database_id(reader, &reader.session().database),
            None => Value::Null,
            Some(name) => database_id(reader, &name),
        },
        "db_name" => match whole_at(0) {
            None if values.is_empty() => Value::Text(reader.session().database.clone()),
            None => Value::Null,
            Some(id) => or_null(
                reader.server().databases.values().find(|one| i128::from(one.id) == id).map(|one| one.name.clone()),
            ),
        },
        "suser_sname" | "suser_name" | "original_login" => Value::Text(reader.session().user.clone()),
        "user_name" | "current_user" | "schema_name" => Value::Text("dbo".into()),
        "host_name" => Value::Text(reader.session().client_host.clone()),
        "app_name" | "program_name" => Value::Text(reader.session().application.clone()),
        "is_srvrolemember" => {
            count(1..=2)?;
            server_role(reader, &text(0).unwrap_or_default())
        }
        "has_perms_by_name" => {
            count(3..=5)?;
            permission(reader, text(1).as_deref(), &text(2).unwrap_or_default())
        }
        "serverproperty" => {
            count(1..=1)?;
            server_property(reader, &text(0).unwrap_or_default())
        }
        "databasepropertyex" => {
            count(2..=2)?;
            database_property(reader, &text(0).unwrap_or_default(), &text(1).unwrap_or_default())
        }
        "connectionproperty" => match text(0).unwrap_or_default().to_lowercase().as_str() {
            "net_transport" | "physical_net_transport" => Value::Text("TCP".into()),
            "auth_scheme" => Value::Text("SQL".into()),
            "local_tcp_port" => {
                let port = reader.server().address.rsplit(':').next().and_then(|port| port.parse().ok());
                port.map_or(Value::Null, Value::Int)
            }
            _ => Value::Null,
        },
        "fn_hadr_is_primary_replica" => {
            count(1..=1)?;
            let database = text(0).and_then(|name| reader.world.database(reader.instance, &name));
            let group = database.and_then(|one| one.hadr.as_ref()).map(|hadr| hadr.group.as_str());
            match group.and_then(|group| reader.world.replica(reader.instance, group)) {
                Some(replica) => Value::Bit(replica.role == Role::Primary),
                None => Value::Null,
            }
        }
        "object_id" => {
            let name = text(0).unwrap_or_default().replace(['[', ']'], "").to_lowercase();
            let parts: Vec<&str> = name.split('.').collect();
            let (database, table) = match parts[..] {
                [database, _, table] => (database.to_owned(), table),
                [_, table] | [table] => (reader.session().database.clone(), table),
                _ => return Ok(Value::Null),
            };
            if super::view::exists(&name) {
                return Ok(Value::Int(-103_085_222));
            }
            let tables = reader.tables(&database)?;
            tables.keys().position(|one| one == table).map_or(Value::Null, |at| Value::Int(1_000_000 + at as i32))
        }
        "object_name" => return Err(SqlError::new(195, &[short])),
        "session_context" => {
            let key = text(0).unwrap_or_default();
            reader.session().context.get(&key.to_lowercase()).cloned().unwrap_or(Value::Null)
        }
        "scope_identity" => reader.session().last_identity.map_or(Value::Null, |one| Value::Numeric(i128::from(one))),
        "xact_state" => Value::SmallInt(i16::from(reader.session().in_transaction())),
        "error_number" => reader.caught.map_or(Value::Null, |error| Value::Int(error.number)),
        "error_message" => reader.caught.map_or(Value::Null, |error| Value::Text(error.text.clone())),
        "error_severity" => reader.caught.map_or(Value::Null, |error| Value::Int(i32::from(error.class))),
        "error_state" => reader.caught.map_or(Value::Null, |error| Value::Int(i32::from(error.state))),
        "newid" => {
            // Chance without a source of chance: the place in the world's seed and the session.
            let mut world_seed = reader.world.seed ^ (u64::from(reader.spid) << 48);
            world_seed =
                world_seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ reader.world.clock.unsigned_abs();
            let mut guid = [0; 16];
            guid[..8].copy_from_slice(&world_seed.to_be_bytes());
            guid[8..].copy_from_slice(&world_seed.rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
            Value::Guid(guid)
        }
        "nullif" => {
            count(2..=2)?;
            if value::compare(&values[0], &values[1])?.is_some_and(std::cmp::Ordering::is_eq) {
                Value::Null
            } else {
                values[0].clone()
            }
        }
        "concat" => Value::Text(values.iter().map(write).collect()),
        "len" => {
            count(1..=1)?;
            text(0).map_or(Value::Null, |text| Value::Int(text.trim_end_matches(' ').chars().count() as i32))
        }
        "datalength" => match &values[..] {
            [Value::Text(text)] => Value::Int(text.encode_utf16().count() as i32 * 2),
            [Value::Binary(bytes)] => Value::Int(bytes.len() as i32),
            _ => return Err(SqlError::unsupported("DATALENGTH of this")),
        },
        "upper" => or_null(text(0).map(|text| text.to_uppercase())),
        "lower" => or_null(text(0).map(|text| text.to_lowercase())),
        "ltrim" => or_null(text(0).map(|text| text.trim_start_matches(' ').to_owned())),
        "rtrim" => or_null(text(0).map(|text| text.trim_end_matches(' ').to_owned())),
        "trim" => or_null(text(0).map(|text| text.trim_matches(' ').to_owned())),
        "left" | "right" => {
            count(2..=2)?;
            let (Some(text), Some(length)) = (text(0), whole_at(1)) else { return Ok(Value::Null) };
            let letters: Vec<char> = text.chars().collect();
            let length = usize::try_from(length).unwrap_or(0).min(letters.len());
            let kept = if short == "left" { &letters[..length] } else { &letters[letters.len() - length..] };
            Value::Text(kept.iter().collect())
        }
        "substring" => {
            count(3..=3)?;
            let (Some(text), Some(start), Some(length)) = (text(0), whole_at(1), whole_at(2)) else {
                return Ok(Value::Null);
            };
            let end = start.saturating_add(length).max(1) - 1;
            let start = start.max(1) - 1;
            Value::Text(
                text.chars()
                    .enumerate()
                    .filter(|(at, _)| (start..end).contains(&(*at as i128)))
                    .map(|(_, letter)| letter)
                    .collect(),
            )
        }
        "charindex" => {
            let (Some(part), Some(text)) = (text(0), text(1)) else { return Ok(Value::Null) };
            let (part, text) = (part.to_lowercase(), text.to_lowercase());
            Value::Int(text.find(&part).map_or(0, |at| text[..at].chars().count() as i32 + 1))
        }
        "replace" => {
            count(3..=3)?;
            let (Some(text), Some(from), Some(to)) = (text(0), text(1), text(2)) else { return Ok(Value::Null) };
            if from.is_empty() { Value::Text(text) } else { Value::Text(text.replace(&from, &to)) }
        }
        "reverse" => or_null(text(0).map(|text| text.chars().rev().collect())),
        "replicate" => {
            let (Some(text), Some(times)) = (text(0), whole_at(1)) else { return Ok(Value::Null) };
            Value::Text(text.repeat(usize::try_from(times).unwrap_or(0).min(8000)))
        }
        "char" | "nchar" => {
            let letter = whole_at(0).and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
            or_null(letter.map(|letter| letter.to_string()))
        }
        "quotename" => {
            let sign = text(1).unwrap_or_else(|| "[".into());
            or_null(text(0).map(|text| match sign.as_str() {
                "'" => format!("'{}'", text.replace('\'', "''")),
                "\"" => format!("\"{}\"", text.replace('"', "\"\"")),
                _ => format!("[{}]", text.replace(']', "]]")),
            }))
        }
        "abs" => match &values[..] {
            [Value::Null] => Value::Null,
            [Value::Float(number)] => Value::Float(number.abs()),
            [one] => {
                let number = integer(one).ok_or_else(|| SqlError::new(8114, &["value", "numeric"]))?;
                cast(&Value::Numeric(number.abs()), wider(type_of(one), Type::Int))?
            }
            _ => return Err(SqlError::new(174, &[short, "1"])),
        },
        _ => return Err(SqlError::new(195, &[name.last().map_or("", String::as_str)])),
    })
}

fn dated(reader: &Reader<'_>, short: &str, arguments: &[Expression], scope: &Scope<'_>) -> Result<Value, SqlError> {
    let part = date_part(arguments.first())?;
    let values = arguments[1..].iter().map(|one| reader.value(one, scope)).collect::<Result<Vec<_>, _>>()?;
    match (short, &values[..]) {
        ("datediff" | "datediff_big", [from, to]) => {
            let (Some(from), Some(to)) = (milliseconds(from)?, milliseconds(to)?) else { return Ok(Value::Null) };
            let count = difference(&part, from, to);
            if short == "datediff_big" {
                return Ok(Value::BigInt(count));
            }
            let count = i32::try_from(count)
                .map_err(|_| SqlError::unsupported("a DATEDIFF that overflows; error 535 in the real one"))?;
            Ok(Value::Int(count))
        }
        ("dateadd", [count, from]) => {
            let (Some(count), Some(from)) = (integer(count), milliseconds(from)?) else { return Ok(Value::Null) };
            let Some(unit) = part_ms(&part) else {
                return Err(SqlError::unsupported(format_args!("DATEADD of a {part}")));
            };
            Ok(Value::DateTime(from.saturating_add(i64::try_from(count).unwrap_or(0).saturating_mul(unit))))
        }
        ("datepart", [at]) => {
            let Some(at) = milliseconds(at)? else { return Ok(Value::Null) };
            let (year, month, day) = value::civil(at);
            let within = at.rem_euclid(86_400_000);
            let number = match part.as_str() {
                "year" => year,
                "month" => month,
                "day" => day,
                "hour" => within / 3_600_000,
                "minute" => within / 60_000 % 60,
                "second" => within / 1000 % 60,
                _ => within % 1000,
            };
            Ok(Value::Int(i32::try_from(number).unwrap_or(0)))
        }
        ("datename", _) => Err(SqlError::new(195, &[short])),
        _ => Err(SqlError::new(174, &[short, "2"])),
    }
}

/// The type of a call, without a row.
pub fn kind(
    reader: &Reader<'_>,
    name: &[String],
    arguments: &[Expression],
    scope: &Scope<'_>,
) -> Result<Type, SqlError> {
    let whole = name.join(".").to_lowercase();
    let short = whole.trim_start_matches("sys.").trim_start_matches("master.sys.");
    let of = |at: usize| -> Result<Type, SqlError> {
        arguments.get(at).map_or(Ok(Type::Int), |one| reader.kind(one, scope))
    };
    let typed = |expression: &Expression| !matches!(expression, Expression::Literal(Value::Null, _));
    Ok(match short {
        "getdate" | "getutcdate" | "sysdatetime" | "sysutcdatetime" | "dateadd" => Type::DateTime,
        "db_id" => Type::SmallInt,
        "db_name" | "suser_sname" | "suser_name" | "original_login" | "user_name" | "current_user" | "schema_name"
        | "host_name" | "app_name" | "program_name" => nvarchar(128),
        "is_srvrolemember" | "has_perms_by_name" | "datediff" | "datepart" | "len" | "datalength" | "charindex"
        | "object_id" | "error_number" | "error_severity" | "error_state" => Type::Int,
        "datediff_big" => Type::BigInt,
        "fn_hadr_is_primary_replica" => Type::Bit,
        "newid" => Type::UniqueIdentifier,
        "scope_identity" => Type::Numeric { precision: 38 },
        "xact_state" => Type::SmallInt,
        "coalesce" | "iif" => {
            let skipped = usize::from(short == "iif");
            let mut kind = None;
            for one in arguments.iter().skip(skipped).filter(|one| typed(one)) {
                let one = reader.kind(one, scope)?;
                kind = Some(kind.map_or(one, |kind| wider(kind, one)));
            }
            kind.unwrap_or(Type::Int)
        }
        "isnull" => match (arguments.first().is_some_and(typed), of(0)?) {
            (true, kind) => kind,
            (false, _) => of(1)?,
        },
        "nullif" | "abs" => of(0)?,
        "error_message" => nvarchar(4000),
        "concat" | "upper" | "lower" | "ltrim" | "rtrim" | "trim" | "left" | "right" | "substring" | "replace"
        | "reverse" | "replicate" | "quotename" => nvarchar(4000),
        "char" | "nchar" => nvarchar(1),
        // sql_variant: what the value is.
        "serverproperty" | "databasepropertyex" | "connectionproperty" | "session_context" => {
            match type_of(&call(reader, name, arguments, scope)?) {
                Type::NVarChar { .. } => nvarchar(4000),
                kind => kind,
            }
        }
        _ => return Err(SqlError::new(195, &[name.last().map_or("", String::as_str)])),
    })
}

fn database_id(reader: &Reader<'_>, name: &str) -> Value {
    reader
        .world
        .database(reader.instance, name)
        .map_or(Value::Null, |database| Value::SmallInt(i16::try_from(database.id).unwrap_or(i16::MAX)))
}
