//! The values that clients send with procedures: TYPE_INFO and what follows it (MS-TDS 2.2.5.4).
//!
//! Apart because clients send more types than the server answers with. Pure. A type that is not known here cannot be
//! skipped, because its length is not known either: the whole request is refused with its number.

use super::calendar;
use super::cursor::{Cursor, Malformed, utf16};
use crate::answer::{Parameter, Value};

/// Why parameters cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// As the server says it, with error 8009.
    #[error(
        "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect. Parameter {ordinal} (\"{name}\"): Data type 0x{code:02X} is unknown."
    )]
    UnknownType { ordinal: usize, name: String, code: u8 },
}

const BY_REFERENCE: u8 = 0x01;

/// One parameter; `ordinal` counts from 1 and is for the error only.
pub fn decode(cursor: &mut Cursor<'_>, ordinal: usize) -> Result<Parameter, ParameterError> {
    let name = cursor.b_varchar()?;
    let status = cursor.u8()?;
    let code = cursor.u8()?;
    let value = match value(cursor, code)? {
        Some(value) => value,
        None => return Err(ParameterError::UnknownType { ordinal, name, code }),
    };
    Ok(Parameter { name, value, output: status & BY_REFERENCE != 0 })
}

/// The type's description and the value; nothing where the type is not known.
fn value(cursor: &mut Cursor<'_>, code: u8) -> Result<Option<Value>, Malformed> {
    let value = match code {
        // Fixed lengths.
        0x1F => Value::Null,
        0x30 | 0x32 | 0x34 | 0x38 | 0x7F => {
            let length = match code {
                0x30 | 0x32 => 1,
                0x34 => 2,
                0x38 => 4,
                _ => 8,
            };
            let bytes = cursor.take(length)?;
            if code == 0x32 { Value::Bit(bytes[0] != 0) } else { integer(bytes, cursor)? }
        }
        0x3B | 0x3E => {
            let bytes = cursor.take(if code == 0x3B { 4 } else { 8 })?;
            float(bytes, cursor)?
        }
        0x3A | 0x3D => {
            let bytes = cursor.take(if code == 0x3A { 4 } else { 8 })?;
            datetime(bytes, cursor)?
        }
        0x7A | 0x3C => {
            let bytes = cursor.take(if code == 0x7A { 4 } else { 8 })?;
            money(bytes, cursor)?
        }
        // A byte of length.
        0x24 | 0x26 | 0x68 | 0x6D | 0x6E | 0x6F => {
            cursor.u8()?;
            match short(cursor)? {
                [] => Value::Null,
                bytes => match code {
                    0x24 => guid(bytes, cursor)?,
                    0x26 => integer(bytes, cursor)?,
                    0x68 => Value::Bit(bytes[0] != 0),
                    0x6D => float(bytes, cursor)?,
                    0x6E => money(bytes, cursor)?,
                    _ => datetime(bytes, cursor)?,
                },
            }
        }
        0x37 | 0x3F | 0x6A | 0x6C => {
            let (_length, _precision, scale) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
            match short(cursor)? {
                [] => Value::Null,
                [sign, magnitude @ ..] => numeric(*sign != 0, magnitude, scale, cursor)?,
            }
        }
        // Times; only `date` says nothing of its scale.
        0x28 => match short(cursor)? {
            [] => Value::Null,
            bytes => Value::DateTime(calendar::from_date(days(bytes, cursor)?)),
        },
        0x29..=0x2B => {
            let scale = cursor.u8()?;
            match short(cursor)? {
                [] => Value::Null,
                bytes => scaled_time(code, scale, bytes, cursor)?,
            }
        }
        // Two bytes of length, and pieces where that is not enough.
        0xA5 | 0xAD | 0xA7 | 0xAF | 0xE7 | 0xEF => {
            let length_max = cursor.u16()?;
            let text = !matches!(code, 0xA5 | 0xAD);
            if text {
                collation(cursor)?;
            }
            let bytes = if length_max == 0xFFFF { pieces(cursor)? } else { long(cursor)? };
            match (bytes, code) {
                (None, _) => Value::Null,
                (Some(bytes), 0xA5 | 0xAD) => Value::Binary(bytes),
                (Some(bytes), 0xE7 | 0xEF) => Value::Text(utf16(&bytes)),
                (Some(bytes), _) => Value::Text(super::codepage::decode(&bytes)),
            }
        }
        // What was there before `max`.
        0x22 | 0x23 | 0x63 => {
            cursor.u32()?;
            if code != 0x22 {
                collation(cursor)?;
            }
            let length = cursor.u32()?;
            if length == u32::MAX {
                Value::Null
            } else {
                let bytes = cursor.take(usize::try_from(length).map_err(|_| cursor.malformed())?)?;
                match code {
                    0x22 => Value::Binary(bytes.to_vec()),
                    0x23 => Value::Text(super::codepage::decode(bytes)),
                    _ => Value::Text(utf16(bytes)),
                }
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn collation(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    cursor.take(5).map(|_| ())
}

/// Bytes after their length in one; none is NULL.
fn short<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let length = cursor.u8()?;
    cursor.take(usize::from(length))
}

fn long(cursor: &mut Cursor<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    match cursor.u16()? {
        0xFFFF => Ok(None),
        length => Ok(Some(cursor.take(usize::from(length))?.to_vec())),
    }
}

/// A value in pieces; the total that stands before them is only a promise, so nothing is allocated for it.
fn pieces(cursor: &mut Cursor<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    const NULL: u64 = u64::MAX;
    const UNKNOWN: u64 = u64::MAX - 1;
    let total = cursor.u64()?;
    if total == NULL {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    loop {
        let length = usize::try_from(cursor.u32()?).map_err(|_| cursor.malformed())?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(cursor.take(length)?);
    }
    if total != UNKNOWN && total != bytes.len() as u64 {
        return Err(cursor.malformed());
    }
    Ok(Some(bytes))
}

fn integer(bytes: &[u8], cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    match *bytes {
        [byte] => Ok(Value::TinyInt(byte)),
        [a, b] => Ok(Value::SmallInt(i16::from_le_bytes([a, b]))),
        [a, b, c, d] => Ok(Value::Int(i32::from_le_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Ok(Value::BigInt(i64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        _ => Err(cursor.malformed()),
    }
}

fn float(bytes: &[u8], cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    match *bytes {
        [a, b, c, d] => Ok(Value::Float(f64::from(f32::from_le_bytes([a, b, c, d])))),
        [a, b, c, d, e, f, g, h] => Ok(Value::Float(f64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        _ => Err(cursor.malformed()),
    }
}

fn datetime(bytes: &[u8], cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    match *bytes {
        [a, b, c, d] => {
            Ok(Value::DateTime(calendar::from_smalldatetime(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))))
        }
        [a, b, c, d, e, f, g, h] => Ok(Value::DateTime(calendar::from_datetime(
            i32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ))),
        _ => Err(cursor.malformed()),
    }
}

/// Ten-thousandths; the longer one has its high half first.
fn money(bytes: &[u8], cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    let units = match *bytes {
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => {
            i64::from(i32::from_le_bytes([a, b, c, d])) << 32 | i64::from(u32::from_le_bytes([e, f, g, h]))
        }
        _ => return Err(cursor.malformed()),
    };
    Ok(scaled(i128::from(units), 4))
}

fn guid(bytes: &[u8], cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    let wire: [u8; 16] = bytes.try_into().map_err(|_| cursor.malformed())?;
    Ok(Value::Guid(written_order(wire)))
}

/// Between the order of the wire, whose first three groups are little endian, and the order in which it is written.
pub fn written_order(guid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = guid;
    let mut other = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    other[8..].copy_from_slice(&rest);
    other
}

fn numeric(positive: bool, magnitude: &[u8], scale: u8, cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    if magnitude.len() > 16 || scale > 38 {
        return Err(cursor.malformed());
    }
    let mut bytes = [0; 16];
    bytes[..magnitude.len()].copy_from_slice(magnitude);
    let magnitude = i128::try_from(u128::from_le_bytes(bytes)).map_err(|_| cursor.malformed())?;
    Ok(scaled(if positive { magnitude } else { -magnitude }, scale))
}

/// Whole where it is, because whole numbers are all that the simulator counts with.
fn scaled(units: i128, scale: u8) -> Value {
    let one = 10_i128.pow(u32::from(scale));
    if units % one == 0 { Value::Numeric(units / one) } else { Value::Float(units as f64 / one as f64) }
}

fn days(bytes: &[u8], cursor: &Cursor<'_>) -> Result<u32, Malformed> {
    match *bytes {
        [a, b, c] => Ok(u32::from_le_bytes([a, b, c, 0])),
        _ => Err(cursor.malformed()),
    }
}

fn scaled_time(code: u8, scale: u8, bytes: &[u8], cursor: &Cursor<'_>) -> Result<Value, Malformed> {
    let time_length = match scale {
        0..=2 => 3,
        3 | 4 => 4,
        5..=7 => 5,
        _ => return Err(cursor.malformed()),
    };
    let (time, rest) = bytes.split_at_checked(time_length).ok_or(cursor.malformed())?;
    let mut units = [0; 8];
    units[..time_length].copy_from_slice(time);
    let time_ms = calendar::from_time(u64::from_le_bytes(units), scale).ok_or(cursor.malformed())?;
    match (code, rest) {
        // `time` alone is written out, since the simulator has no such type.
        (0x29, []) => Ok(Value::Text(format!(
            "{:02}:{:02}:{:02}.{:03}",
            time_ms / 3_600_000,
            time_ms / 60_000 % 60,
            time_ms / 1000 % 60,
            time_ms % 1000
        ))),
        (0x2A, date) => Ok(Value::DateTime(calendar::from_date(days(date, cursor)?) + time_ms)),
        // With an offset, the time is UTC already.
        (0x2B, [date @ .., _, _]) => Ok(Value::DateTime(calendar::from_date(days(date, cursor)?) + time_ms)),
        _ => Err(cursor.malformed()),
    }
}
