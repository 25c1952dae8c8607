//! Values: comparison, conversion, how they are written.
//!
//! Apart from expressions. Text compares without regard to case and trailing blanks, as the usual collation does.

use crate::answer::{Type, Value};
use crate::world::SqlError;
use std::cmp::Ordering;

const DAY_MS: i64 = 86_400_000;

pub fn nvarchar(length: u16) -> Type {
    Type::NVarChar { length }
}

/// Days since 1970 of a civil date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month, day of milliseconds since 1970.
pub fn civil(ms: i64) -> (i64, i64, i64) {
    let shifted = ms.div_euclid(DAY_MS) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `2026-11-21T03:04:05.678`, and the same with a blank.
pub fn write_time(ms: i64, between: char) -> String {
    let (year, month, day) = civil(ms);
    let within = ms.rem_euclid(DAY_MS);
    let (hour, minute, second, milli) = (within / 3_600_000, within / 60_000 % 60, within / 1000 % 60, within % 1000);
    format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}.{milli:03}")
}

/// `yyyyMMddHHmmss`, as log shipping names its files.
pub fn write_stamp(ms: i64) -> String {
    write_time(ms, ' ').chars().filter(char::is_ascii_digit).take(14).collect()
}

/// `2026-11-21`, `20261121`, each with an optional time.
pub fn read_time(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches('Z');
    let (date, time) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let parts: Vec<i64> = if date.contains('-') {
        date.split('-').map(str::parse).collect::<Result<_, _>>().ok()?
    } else if date.len() == 8 && date.is_ascii() {
        [&date[..4], &date[4..6], &date[6..]].iter().map(|part| part.parse()).collect::<Result<_, _>>().ok()?
    } else {
        return None;
    };
    let [year, month, day] = parts[..] else { return None };
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut ms = days(year, month, day) * DAY_MS;
    if let Some(time) = time {
        let mut scale = 3_600_000.0;
        for part in time.trim().split(':') {
            let part: f64 = part.parse().ok().filter(|part: &f64| (0.0..100.0).contains(part))?;
            ms += (part * scale).round() as i64;
            scale /= 60.0;
        }
    }
    Some(ms)
}

pub fn write_guid(guid: &[u8; 16]) -> String {
    let hex: String = guid.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub fn read_guid(text: &str) -> Option<[u8; 16]> {
    let digits: String =
        text.trim().trim_start_matches('{').trim_end_matches('}').chars().filter(|one| *one != '-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut guid = [0; 16];
    for (at, byte) in guid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(guid)
}

/// A whole number, whatever its width.
pub fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Bit(bit) => Some(i128::from(*bit)),
        Value::TinyInt(number) => Some(i128::from(*number)),
        Value::SmallInt(number) => Some(i128::from(*number)),
        Value::Int(number) => Some(i128::from(*number)),
        Value::BigInt(number) => Some(i128::from(*number)),
        Value::Numeric(number) => Some(*number),
        _ => None,
    }
}

/// As text converts it; style 0.
pub fn write(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Float(number) => number.to_string(),
        Value::DateTime(ms) => write_time(*ms, ' '),
        Value::Text(text) => text.clone(),
        Value::Binary(bytes) => {
            format!("0x{}", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
        }
        Value::Guid(guid) => write_guid(guid),
        other => integer(other).map_or_else(String::new, |number| number.to_string()),
    }
}

pub fn type_words(kind: Type) -> &'static str {
    match kind {
        Type::Bit => "bit",
        Type::TinyInt => "tinyint",
        Type::SmallInt => "smallint",
        Type::Int => "int",
        Type::BigInt => "bigint",
        Type::Float => "float",
        Type::Numeric { .. } => "numeric",
        Type::DateTime => "datetime",
        Type::NVarChar { .. } => "nvarchar",
        Type::VarChar { .. } => "varchar",
        Type::Char { .. } => "char",
        Type::VarBinary { .. } => "varbinary",
        Type::UniqueIdentifier => "uniqueidentifier",
    }
}

pub fn type_of(value: &Value) -> Type {
    match value {
        Value::Null | Value::Int(_) => Type::Int,
        Value::Bit(_) => Type::Bit,
        Value::TinyInt(_) => Type::TinyInt,
        Value::SmallInt(_) => Type::SmallInt,
        Value::BigInt(_) => Type::BigInt,
        Value::Float(_) => Type::Float,
        Value::Numeric(_) => Type::Numeric { precision: 38 },
        Value::DateTime(_) => Type::DateTime,
        Value::Text(text) => match u16::try_from(text.encode_utf16().count()) {
            Ok(length) if length <= 4000 => nvarchar(length.max(1)),
            _ => nvarchar(0),
        },
        Value::Binary(bytes) => Type::VarBinary {
            length: u16::try_from(bytes.len()).ok().filter(|length| *length <= 8000).map_or(0, |one| one.max(1)),
        },
        Value::Guid(_) => Type::UniqueIdentifier,
    }
}

/// Of the two, the one that both convert to.
pub fn wider(one: Type, other: Type) -> Type {
    let rank = |kind: Type| match kind {
        Type::DateTime => 9,
        Type::Float => 8,
        Type::Numeric { .. } => 7,
        Type::BigInt => 6,
        Type::Int => 5,
        Type::SmallInt => 4,
        Type::TinyInt => 3,
        Type::Bit => 2,
        Type::UniqueIdentifier => 1,
        _ => 0,
    };
    match (one, other) {
        (Type::Numeric { precision: a }, Type::Numeric { precision: b }) => Type::Numeric { precision: a.max(b) },
        _ if rank(one) > rank(other) => one,
        _ if rank(other) > rank(one) => other,
        _ => match (length(one), length(other)) {
            (Some(0), _) | (_, Some(0)) => nvarchar(0),
            (Some(a), Some(b)) if is_national(one) || is_national(other) => nvarchar(a.max(b).min(4000)),
            (Some(a), Some(b)) if matches!(one, Type::VarBinary { .. }) => Type::VarBinary { length: a.max(b) },
            (Some(a), Some(b)) => Type::VarChar { length: a.max(b) },
            _ => one,
        },
    }
}

fn is_national(kind: Type) -> bool {
    matches!(kind, Type::NVarChar { .. })
}

pub fn length(kind: Type) -> Option<u16> {
    match kind {
        Type::NVarChar { length } | Type::VarChar { length } | Type::Char { length } | Type::VarBinary { length } => {
            Some(length)
        }
        _ => None,
    }
}

pub fn is_text(kind: Type) -> bool {
    matches!(kind, Type::NVarChar { .. } | Type::VarChar { .. } | Type::Char { .. })
}

fn folded(text: &str) -> String {
    text.trim_end_matches(' ').to_lowercase()
}

pub fn same_text(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// Nothing where one of the two is NULL.
pub fn compare(one: &Value, other: &Value) -> Result<Option<Ordering>, SqlError> {
    if matches!(one, Value::Null) || matches!(other, Value::Null) {
        return Ok(None);
    }
    if let (Some(a), Some(b)) = (integer(one), integer(other)) {
        return Ok(Some(a.cmp(&b)));
    }
    Ok(Some(match (one, other) {
        (Value::Text(a), Value::Text(b)) => folded(a).cmp(&folded(b)),
        (Value::Guid(a), Value::Guid(b)) => write_guid(a).cmp(&write_guid(b)),
        (Value::Binary(a), Value::Binary(b)) => a.cmp(b),
        (Value::DateTime(a), Value::DateTime(b)) => a.cmp(b),
        _ => {
            let kind = wider(type_of(one), type_of(other));
            if is_text(kind) || length(kind).is_some() {
                folded(&write(one)).cmp(&folded(&write(other)))
            } else if matches!(kind, Type::Float) {
                number(one)?.partial_cmp(&number(other)?).unwrap_or(Ordering::Equal)
            } else {
                return compare(&cast(one, kind)?, &cast(other, kind)?);
            }
        }
    }))
}

/// For ORDER BY and GROUP BY: NULL first.
pub fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        _ => compare(one, other).ok().flatten().unwrap_or(Ordering::Equal),
    }
}

pub fn number(value: &Value) -> Result<f64, SqlError> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Text(text) => text.trim().parse().map_err(|_| SqlError::new(8114, &["nvarchar", "float"])),
        other => integer(other)
            .map(|number| number as f64)
            .ok_or_else(|| SqlError::new(8114, &[type_words(type_of(other)), "float"])),
    }
}

/// Converts as CAST does.
pub fn cast(value: &Value, kind: Type) -> Result<Value, SqlError> {
    if matches!(value, Value::Null) {
        return Ok(Value::Null);
    }
    let impossible = || {
        SqlError::unsupported(format_args!("a conversion from {} to {}", type_words(type_of(value)), type_words(kind)))
    };
    let whole = |name: &str| -> Result<i128, SqlError> {
        match value {
            Value::Float(number) => Ok(number.trunc() as i128),
            Value::Text(text) => match text.trim() {
                "" => Ok(0),
                digits => digits.parse().map_err(|_| SqlError::new(245, &["nvarchar", text, name])),
            },
            Value::Binary(bytes) => {
                Ok(bytes.iter().fold(0, |sum, byte| (sum << 8 | i128::from(*byte)) & i128::from(u64::MAX)))
            }
            other => integer(other).ok_or_else(impossible),
        }
    };
    let overflow = |name: &str| SqlError::new(8115, &["expression", name]);
    Ok(match kind {
        Type::Bit => match value {
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Value::Bit(true),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Value::Bit(false),
            _ => Value::Bit(whole("bit")? != 0),
        },
        Type::TinyInt => Value::TinyInt(u8::try_from(whole("tinyint")?).map_err(|_| overflow("tinyint"))?),
        Type::SmallInt => Value::SmallInt(i16::try_from(whole("smallint")?).map_err(|_| overflow("smallint"))?),
        Type::Int => Value::Int(i32::try_from(whole("int")?).map_err(|_| overflow("int"))?),
        Type::BigInt => Value::BigInt(i64::try_from(whole("bigint")?).map_err(|_| overflow("bigint"))?),
        Type::Numeric { precision } => {
            let number = whole("numeric")?;
            if 10_i128.checked_pow(u32::from(precision)).is_some_and(|limit| number.abs() >= limit) {
                return Err(overflow("numeric"));
            }
            Value::Numeric(number)
        }
        Type::Float => Value::Float(number(value)?),
        Type::DateTime => match value {
            Value::DateTime(ms) => Value::DateTime(*ms),
            Value::Text(text) => Value::DateTime(read_time(text).ok_or_else(|| SqlError::new(241, &[]))?),
            _ => return Err(impossible()),
        },
        Type::UniqueIdentifier => match value {
            Value::Guid(guid) => Value::Guid(*guid),
            Value::Text(text) => Value::Guid(read_guid(text).ok_or_else(|| SqlError::new(8169, &[]))?),
            Value::Binary(bytes) => Value::Guid(bytes.as_slice().try_into().map_err(|_| impossible())?),
            _ => return Err(impossible()),
        },
        Type::NVarChar { length } | Type::VarChar { length } | Type::Char { length } => {
            let text = write(value);
            Value::Text(if length == 0 { text } else { text.chars().take(usize::from(length)).collect() })
        }
        Type::VarBinary { length } => {
            let mut bytes = match value {
                Value::Binary(bytes) => bytes.clone(),
                Value::Guid(guid) => guid.to_vec(),
                Value::Text(text) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                Value::Int(number) => number.to_be_bytes().to_vec(),
                Value::BigInt(number) => number.to_be_bytes().to_vec(),
                _ => return Err(impossible()),
            };
            if length > 0 {
                bytes.truncate(usize::from(length));
            }
            Value::Binary(bytes)
        }
    })
}

/// LIKE, with `%`, `_`, `[set]` and an escape sign.
pub fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let mut parts = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        parts.push(match letter {
            _ if Some(letter) == escape => {
                Part::One(letters.next().unwrap_or(letter).to_lowercase().next().unwrap_or(letter))
            }
            '%' => Part::Any,
            '_' => Part::Single,
            '[' => {
                let mut set: Vec<char> =
                    letters.by_ref().take_while(|one| *one != ']').flat_map(char::to_lowercase).collect();
                let negated = set.first() == Some(&'^');
                if negated {
                    set.remove(0);
                }
                Part::Set { set, negated }
            }
            other => Part::One(other.to_lowercase().next().unwrap_or(other)),
        });
    }
    // Reachable places in the text after each part: no backtracking, so that no pattern takes long.
    let mut places = vec![false; text.len() + 1];
    places[0] = true;
    for part in &parts {
        let mut next = vec![false; text.len() + 1];
        let mut seen = false;
        for at in 0..=text.len() {
            seen |= places[at];
            match part {
                Part::Any => next[at] = seen,
                _ if places[at] && at < text.len() && part.takes(text[at]) => next[at + 1] = true,
                _ => {}
            }
        }
        places = next;
    }
    places[text.len()]
}

enum Part {
    Any,
    Single,
    One(char),
    Set { set: Vec<char>, negated: bool },
}

impl Part {
    fn takes(&self, letter: char) -> bool {
        match self {
            Part::Any | Part::Single => true,
            Part::One(one) => *one == letter,
            Part::Set { set, negated } => {
                let ranged = set.windows(3).any(|three| three[1] == '-' && (three[0]..=three[2]).contains(&letter));
                (ranged || set.contains(&letter)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for text in ["1970-01-01T00:00:00.000", "2000-02-29T23:59:59.999", "2026-11-21T03:04:05.678"] {
            assert_eq!(write_time(read_time(text).expect("a time"), 'T'), text);
        }
        assert_eq!(read_time("20261121"), read_time("2026-11-21 00:00"));
        assert_eq!(read_time("2026-13-01"), None);
        assert_eq!(write_stamp(0), "19700101000000");
    }

    #[test]
    fn text_compares_without_case_and_trailing_blanks_and_with_guids_and_numbers() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(compare(&text("Ab "), &text("aB")).expect("comparable"), Some(Ordering::Equal));
        assert_eq!(compare(&text("12"), &Value::Int(7)).expect("comparable"), Some(Ordering::Greater));
        assert_eq!(compare(&text("x"), &Value::Int(7)).expect_err("no number").number, 245);
        let guid = [7; 16];
        assert_eq!(compare(&Value::Guid(guid), &text(&write_guid(&guid))).expect("comparable"), Some(Ordering::Equal));
        assert_eq!(compare(&Value::Null, &text("a")).expect("comparable"), None);
        assert_eq!(cast(&Value::Int(300), Type::TinyInt).expect_err("too large").number, 8115);
    }

    #[test]
    fn like_knows_its_signs() {
        assert!(like("SQLAgent - Job", "sqlagent%", None));
        assert!(like("a_b", "a!_b", Some('!')) && !like("axb", "a!_b", Some('!')));
        assert!(like("b7", "[a-c][^x]", None) && !like("d7", "[a-c]_", None));
        assert!(!like(&"a".repeat(2000), &"a%".repeat(500).replace("a%", "%a%b"), None));
    }
}
