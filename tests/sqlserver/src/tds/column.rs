//! Columns and values as the server sends them: TYPE_INFO, rows with and without NULLs (MS-TDS 2.2.5.4, 2.2.7).
//!
//! Apart from the tokens around them. Pure. A value that does not fit its column is an error of the engine, never
//! something that a client would have to guess.

use bytes::{BufMut, BytesMut};

use super::parameter::written_order;
use super::{calendar, codepage};
use crate::answer::{Column, Type, Value};

/// Latin1_General with the server's own sort order, code page 1252: SQL_Latin1_General_CP1_CI_AS.
pub const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];

/// The engine's value cannot be sent in this column.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{value:?} cannot be sent as {kind:?}")]
pub struct Misfit {
    pub kind: Type,
    pub value: Value,
}

/// Longer than any text, or `max`.
const MAX: u16 = 0xFFFF;

/// How long values of a type with a length may be, in bytes; `max` where it is not limited.
fn bytes_max(kind: Type) -> u16 {
    match kind {
        Type::NVarChar { length } if (1..=4000).contains(&length) => length * 2,
        Type::VarChar { length } | Type::VarBinary { length } if (1..=8000).contains(&length) => length,
        Type::Char { length } => length.clamp(1, 8000),
        _ => MAX,
    }
}

/// TYPE_INFO.
pub fn put_type(out: &mut BytesMut, kind: Type) {
    match kind {
        Type::Bit => out.put_slice(&[0x68, 1]),
        Type::TinyInt => out.put_slice(&[0x26, 1]),
        Type::SmallInt => out.put_slice(&[0x26, 2]),
        Type::Int => out.put_slice(&[0x26, 4]),
        Type::BigInt => out.put_slice(&[0x26, 8]),
        Type::Float => out.put_slice(&[0x6D, 8]),
        Type::Numeric { precision } => out.put_slice(&[0x6C, numeric_length(precision), precision, 0]),
        Type::DateTime => out.put_slice(&[0x6F, 8]),
        Type::UniqueIdentifier => out.put_slice(&[0x24, 16]),
        Type::NVarChar { .. } | Type::VarChar { .. } | Type::Char { .. } => {
            out.put_u8(match kind {
                Type::NVarChar { .. } => 0xE7,
                Type::VarChar { .. } => 0xA7,
                _ => 0xAF,
            });
            out.put_u16_le(bytes_max(kind));
            out.put_slice(&COLLATION);
        }
        Type::VarBinary { .. } => {
            out.put_u8(0xA5);
            out.put_u16_le(bytes_max(kind));
        }
    }
}

/// Sign and magnitude.
fn numeric_length(precision: u8) -> u8 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

/// COLMETADATA.
pub fn put_columns(out: &mut BytesMut, columns: &[Column]) {
    out.put_u8(0x81);
    out.put_u16_le(u16::try_from(columns.len()).unwrap_or(MAX));
    for column in columns {
        out.put_u32_le(0);
        out.put_u16_le(u16::from(column.nullable));
        put_type(out, column.kind);
        super::token::put_b_varchar(out, &column.name);
    }
}

/// ROW, or NBCROW where the client knows it and there is something to leave out.
pub fn put_row(out: &mut BytesMut, columns: &[Column], row: &[Value], compress: bool) -> Result<(), Misfit> {
    let compress = compress && row.contains(&Value::Null);
    if compress {
        out.put_u8(0xD2);
        let mut nulls = vec![0_u8; row.len().div_ceil(8)];
        for (index, value) in row.iter().enumerate() {
            if *value == Value::Null {
                nulls[index / 8] |= 1 << (index % 8);
            }
        }
        out.put_slice(&nulls);
    } else {
        out.put_u8(0xD1);
    }
    for (column, value) in columns.iter().zip(row) {
        if !(compress && *value == Value::Null) {
            put_value(out, column.kind, value)?;
        }
    }
    Ok(())
}

/// A value after its length, as TYPE_INFO of its type demands.
pub fn put_value(out: &mut BytesMut, kind: Type, value: &Value) -> Result<(), Misfit> {
    let misfit = || Misfit { kind, value: value.clone() };
    match (kind, value) {
        (Type::NVarChar { .. } | Type::VarChar { .. } | Type::Char { .. } | Type::VarBinary { .. }, _) => {
            match (bytes_max(kind), long_bytes(kind, value).ok_or_else(misfit)?) {
                (MAX, bytes) => put_pieces(out, bytes.as_deref()),
                (_, None) => out.put_u16_le(0xFFFF),
                (bytes_max, Some(bytes)) => match u16::try_from(bytes.len()) {
                    Ok(length) if length <= bytes_max => {
                        out.put_u16_le(length);
                        out.put_slice(&bytes);
                    }
                    _ => return Err(misfit()),
                },
            }
        }
        (_, Value::Null) => out.put_u8(0),
        (Type::Bit, Value::Bit(bit)) => out.put_slice(&[1, u8::from(*bit)]),
        (Type::Float, Value::Float(float)) => {
            out.put_u8(8);
            out.put_f64_le(*float);
        }
        (Type::DateTime, Value::DateTime(milliseconds)) => {
            let (days, ticks) = calendar::to_datetime(*milliseconds).ok_or_else(misfit)?;
            out.put_u8(8);
            out.put_i32_le(days);
            out.put_u32_le(ticks);
        }
        (Type::UniqueIdentifier, Value::Guid(guid)) => {
            out.put_u8(16);
            out.put_slice(&written_order(*guid));
        }
        (Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt | Type::Numeric { .. }, _) => {
            put_whole(out, kind, whole(value).ok_or_else(misfit)?).ok_or_else(misfit)?;
        }
        _ => return Err(misfit()),
    }
    Ok(())
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::TinyInt(number) => Some(i128::from(*number)),
        Value::SmallInt(number) => Some(i128::from(*number)),
        Value::Int(number) => Some(i128::from(*number)),
        Value::BigInt(number) => Some(i128::from(*number)),
        Value::Numeric(number) => Some(*number),
        _ => None,
    }
}

/// Any whole number fits a wider column.
fn put_whole(out: &mut BytesMut, kind: Type, number: i128) -> Option<()> {
    match kind {
        Type::TinyInt => out.put_slice(&[1, u8::try_from(number).ok()?]),
        Type::SmallInt => {
            let number = i16::try_from(number).ok()?;
            out.put_u8(2);
            out.put_i16_le(number);
        }
        Type::Int => {
            let number = i32::try_from(number).ok()?;
            out.put_u8(4);
            out.put_i32_le(number);
        }
        Type::BigInt => {
            let number = i64::try_from(number).ok()?;
            out.put_u8(8);
            out.put_i64_le(number);
        }
        Type::Numeric { precision } => {
            let limit = 10_u128.checked_pow(u32::from(precision.min(38)))?;
            if number.unsigned_abs() >= limit {
                return None;
            }
            let length = numeric_length(precision);
            out.put_u8(length);
            out.put_u8(u8::from(number >= 0));
            out.put_slice(&number.unsigned_abs().to_le_bytes()[..usize::from(length - 1)]);
        }
        _ => return None,
    }
    Some(())
}

/// Outside: not of this type; inside: NULL.
fn long_bytes(kind: Type, value: &Value) -> Option<Option<Vec<u8>>> {
    match (kind, value) {
        (_, Value::Null) => Some(None),
        (Type::NVarChar { .. }, Value::Text(text)) => {
            Some(Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()))
        }
        (Type::VarChar { .. }, Value::Text(text)) => Some(Some(codepage::encode(text))),
        (Type::Char { length }, Value::Text(text)) => {
            let mut bytes = codepage::encode(text);
            bytes.resize(bytes.len().max(usize::from(length)), b' ');
            Some(Some(bytes))
        }
        (Type::VarBinary { .. }, Value::Binary(bytes)) => Some(Some(bytes.clone())),
        _ => None,
    }
}

/// Total, pieces, an empty piece.
fn put_pieces(out: &mut BytesMut, bytes: Option<&[u8]>) {
    /// Small enough that clients see more than one.
    const PIECE: usize = 8000;
    let Some(bytes) = bytes else {
        out.put_u64_le(u64::MAX);
        return;
    };
    out.put_u64_le(bytes.len() as u64);
    for piece in bytes.chunks(PIECE) {
        out.put_u32_le(u32::try_from(piece.len()).expect("a piece is small"));
        out.put_slice(piece);
    }
    out.put_u32_le(0);
}

#[cfg(test)]
mod tests;
