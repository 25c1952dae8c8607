//! A cell of a result as JSON. Types that JSON has no word for become the text that PostgreSQL itself would show where it is
//! certain, and an error that says "cast it to text" where it is not. Numbers that a JSON number would bend stay text.

use serde_json::{Value, json};
use tokio_postgres::{
    Row,
    types::{FromSql, Kind, Type},
};

/// A result's row as a JSON object, in the order of its columns.
pub fn object(row: &Row) -> Result<Value, String> {
    let mut object = serde_json::Map::new();
    for (at, column) in row.columns().iter().enumerate() {
        let cell: Cell = row.try_get(at).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("column {:?} of type {}: {cause}; cast it to text in the query", column.name(), column.type_())
        })?;
        object.insert(column.name().to_owned(), cell.0);
    }
    Ok(Value::Object(object))
}

struct Cell(Value);

type Failure = Box<dyn std::error::Error + Sync + Send>;

impl<'a> FromSql<'a> for Cell {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        decode(kind, raw).map(Cell)
    }
    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Cell(Value::Null))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

fn decode(kind: &Type, raw: &[u8]) -> Result<Value, Failure> {
    if let Kind::Array(_) = kind.kind() {
        let cells = <Vec<Cell> as FromSql>::from_sql(kind, raw)?;
        return Ok(Value::Array(cells.into_iter().map(|cell| cell.0).collect()));
    }
    if let Kind::Domain(base) = kind.kind() {
        return decode(base, raw);
    }
    Ok(match *kind {
        Type::BOOL => json!(bool::from_sql(kind, raw)?),
        Type::INT2 => json!(i16::from_sql(kind, raw)?),
        Type::INT4 => json!(i32::from_sql(kind, raw)?),
        Type::INT8 => json!(i64::from_sql(kind, raw)?),
        Type::OID | Type::XID | Type::REGCLASS => json!(u32::from_be_bytes(raw.try_into()?)),
        Type::FLOAT4 => json!(f32::from_sql(kind, raw)?),
        Type::FLOAT8 => json!(f64::from_sql(kind, raw)?),
        Type::NUMERIC => json!(numeric(raw)?),
        Type::JSON => serde_json::from_slice(raw)?,
        Type::JSONB => serde_json::from_slice(raw.get(1..).unwrap_or_default())?,
        Type::UUID => json!(uuid(raw)?),
        Type::BYTEA => json!(format!("\\x{}", raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
        Type::TIMESTAMPTZ => json!(moment(raw)?.to_string()),
        Type::TIMESTAMP => json!(jiff::tz::TimeZone::UTC.to_datetime(moment(raw)?).to_string()),
        Type::DATE => json!(date(raw)?),
        Type::CHAR => json!((raw.first().copied().unwrap_or_default() as char).to_string()),
        _ if <&str as FromSql>::accepts(kind) || matches!(kind.kind(), Kind::Enum(_)) => {
            json!(std::str::from_utf8(raw)?)
        }
        _ => return Err("this type is not understood".into()),
    })
}

/// Microseconds since 2000, as PostgreSQL counts.
fn moment(raw: &[u8]) -> Result<jiff::Timestamp, Failure> {
    const EPOCH_2000_US: i64 = 946_684_800_000_000;
    let micros = i64::from_be_bytes(raw.try_into()?).checked_add(EPOCH_2000_US).ok_or("infinity is no moment")?;
    Ok(jiff::Timestamp::from_microsecond(micros)?)
}

fn date(raw: &[u8]) -> Result<String, Failure> {
    let days = i32::from_be_bytes(raw.try_into()?);
    let date = jiff::civil::date(2000, 1, 1).checked_add(jiff::Span::new().try_days(i64::from(days))?)?;
    Ok(date.to_string())
}

fn uuid(raw: &[u8]) -> Result<String, Failure> {
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    if hex.len() != 32 {
        return Err("a uuid of the wrong length".into());
    }
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// Base 10000 digits with a weight and a display scale.
fn numeric(raw: &[u8]) -> Result<String, Failure> {
    let word =
        |at: usize| raw.get(at * 2..at * 2 + 2).map(|two| u16::from_be_bytes([two[0], two[1]])).ok_or("short numeric");
    let (count, weight, sign, scale) = (word(0)? as usize, word(1)? as i16, word(2)?, word(3)? as usize);
    match sign {
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        _ => {}
    }
    let digit = |at: i32| -> Result<u16, Failure> {
        if at < 0 || at as usize >= count { Ok(0) } else { Ok(word(4 + at as usize)?) }
    };
    let mut whole = String::new();
    for at in 0..=i32::from(weight).max(0) {
        let value = if weight < 0 { 0 } else { digit(at)? };
        whole.push_str(&if whole.is_empty() { value.to_string() } else { format!("{value:04}") });
    }
    let mut fraction = String::new();
    let mut at = i32::from(weight) + 1;
    // A negative weight below -1 means leading groups of zeros that are not stored.
    for _ in 0..(-1 - i32::from(weight)).max(0) {
        fraction.push_str("0000");
    }
    at = at.max(0);
    while fraction.len() < scale {
        fraction.push_str(&format!("{:04}", digit(at)?));
        at += 1;
    }
    fraction.truncate(scale);
    let minus = if sign == 0x4000 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Ok(format!("{minus}{whole}{point}{fraction}"))
}
