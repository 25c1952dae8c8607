//! The tokens of a reply, but for columns and rows (MS-TDS 2.2.7).
//!
//! Apart so that the order of tokens is decided elsewhere. Pure.

use bytes::{BufMut, BytesMut};

use super::column::{self, COLLATION, Misfit};
use super::login::Version;
use crate::answer::{Message, Parameter, Type, Value};

/// Text after its length in a byte; cut where it is longer than a name can be.
pub fn put_b_varchar(out: &mut BytesMut, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(255).collect();
    out.put_u8(u8::try_from(units.len()).expect("at most 255 were taken"));
    put_units(out, &units);
}

fn put_us_varchar(out: &mut BytesMut, text: &str, units_max: usize) {
    let units: Vec<u16> = text.encode_utf16().take(units_max.min(usize::from(u16::MAX))).collect();
    out.put_u16_le(u16::try_from(units.len()).expect("at most 65535 were taken"));
    put_units(out, &units);
}

fn put_units(out: &mut BytesMut, units: &[u16]) {
    for unit in units {
        out.put_u16_le(*unit);
    }
}

/// A token, its length in two bytes, and what `fill` puts after them.
fn put_with_length(out: &mut BytesMut, token: u8, fill: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::new();
    fill(&mut body);
    out.put_u8(token);
    out.put_u16_le(u16::try_from(body.len()).expect("tokens with a length hold names and messages, which are cut"));
    out.put(body);
}

/// ERROR, or INFO where its class is 10 or below.
pub fn put_message(out: &mut BytesMut, server: &str, message: &Message) {
    /// The server's own limit.
    const TEXT_UNITS_MAX: usize = 2047;
    let token = if is_error(message) { 0xAA } else { 0xAB };
    put_with_length(out, token, |body| {
        body.put_i32_le(message.number);
        body.put_u8(message.state);
        // The server says 0 where it means 10, "for compatibility reasons"; some clients take 10 for an error.
        body.put_u8(if message.class == 10 { 0 } else { message.class });
        put_us_varchar(body, &message.text, TEXT_UNITS_MAX);
        put_b_varchar(body, server);
        put_b_varchar(body, &message.procedure);
        body.put_i32_le(message.line);
    });
}

/// Everything else is information.
pub fn is_error(message: &Message) -> bool {
    message.class > 10
}

/// What of a session has become another.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    Database {
        new: &'a str,
        old: &'a str,
    },
    Language,
    PacketSize {
        new: usize,
        old: usize,
    },
    Collation,
    Began(u64),
    Committed(u64),
    RolledBack(u64),
    /// The session was reset.
    Reset,
    /// The client is to go elsewhere.
    Routing {
        host: &'a str,
        port: u16,
    },
}

/// ENVCHANGE.
pub fn put_change(out: &mut BytesMut, change: Change<'_>) {
    fn put_transaction(body: &mut BytesMut, new: Option<u64>, old: Option<u64>) {
        for transaction in [new, old] {
            match transaction {
                Some(number) => {
                    body.put_u8(8);
                    body.put_u64_le(number);
                }
                None => body.put_u8(0),
            }
        }
    }
    put_with_length(out, 0xE3, |body| match change {
        Change::Database { new, old } => {
            body.put_u8(1);
            put_b_varchar(body, new);
            put_b_varchar(body, old);
        }
        Change::Language => {
            body.put_u8(2);
            put_b_varchar(body, "us_english");
            put_b_varchar(body, "");
        }
        Change::PacketSize { new, old } => {
            body.put_u8(4);
            put_b_varchar(body, &new.to_string());
            put_b_varchar(body, &old.to_string());
        }
        Change::Collation => {
            body.put_slice(&[7, 5]);
            body.put_slice(&COLLATION);
            body.put_u8(0);
        }
        Change::Began(number) => {
            body.put_u8(8);
            put_transaction(body, Some(number), None);
        }
        Change::Committed(number) => {
            body.put_u8(9);
            put_transaction(body, None, Some(number));
        }
        Change::RolledBack(number) => {
            body.put_u8(10);
            put_transaction(body, None, Some(number));
        }
        Change::Reset => body.put_slice(&[18, 0, 0]),
        Change::Routing { host, port } => {
            let mut value = BytesMut::new();
            value.put_u8(0);
            value.put_u16_le(port);
            put_us_varchar(&mut value, host, 255);
            body.put_u8(20);
            body.put_u16_le(u16::try_from(value.len()).expect("a host's name is short"));
            body.put(value);
            body.put_u16_le(0);
        }
    });
}

/// LOGINACK.
pub fn put_login_acknowledged(out: &mut BytesMut, version: Version) {
    put_with_length(out, 0xAD, |body| {
        body.put_u8(1);
        body.put_u32(version.number());
        put_b_varchar(body, "Microsoft SQL Server");
        // 16.0.1000: SQL Server 2022.
        body.put_slice(&[16, 0, 0x03, 0xE8]);
    });
}

/// Which of the three kinds of DONE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Statement,
    Procedure,
    InProcedure,
}

/// The bits of a DONE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    pub more: bool,
    pub failed: bool,
    pub rows: Option<u64>,
    pub attention: bool,
    /// So bad that the session ends.
    pub severe: bool,
    /// The statement was a SELECT.
    pub select: bool,
}

pub fn put_done(out: &mut BytesMut, done: Done, status: Status) {
    out.put_u8(match done {
        Done::Statement => 0xFD,
        Done::Procedure => 0xFE,
        Done::InProcedure => 0xFF,
    });
    let bits = [
        (status.more, 0x01),
        (status.failed, 0x02),
        (status.rows.is_some(), 0x10),
        (status.attention, 0x20),
        (status.severe, 0x100),
    ];
    out.put_u16_le(bits.iter().filter(|(set, _)| *set).fold(0, |sum, (_, bit)| sum | bit));
    out.put_u16_le(if status.select { 0xC1 } else { 0 });
    out.put_u64_le(status.rows.unwrap_or(0));
}

/// RETURNSTATUS.
pub fn put_return_status(out: &mut BytesMut, status: i32) {
    out.put_u8(0x79);
    out.put_i32_le(status);
}

/// RETURNVALUE: an output parameter, and its place among the parameters.
pub fn put_return_value(out: &mut BytesMut, ordinal: usize, parameter: &Parameter) -> Result<(), Misfit> {
    let kind = match &parameter.value {
        Value::Bit(_) => Type::Bit,
        Value::TinyInt(_) => Type::TinyInt,
        Value::SmallInt(_) => Type::SmallInt,
        Value::Int(_) | Value::Null => Type::Int,
        Value::BigInt(_) => Type::BigInt,
        Value::Float(_) => Type::Float,
        Value::Numeric(_) => Type::Numeric { precision: 38 },
        Value::DateTime(_) => Type::DateTime,
        Value::Text(_) => Type::NVarChar { length: 0 },
        Value::Binary(_) => Type::VarBinary { length: 0 },
        Value::Guid(_) => Type::UniqueIdentifier,
    };
    let mut value = BytesMut::new();
    column::put_value(&mut value, kind, &parameter.value)?;
    out.put_u8(0xAC);
    out.put_u16_le(u16::try_from(ordinal).unwrap_or(u16::MAX));
    put_b_varchar(out, &parameter.name);
    out.put_u8(1);
    out.put_u32_le(0);
    out.put_u16_le(0);
    column::put_type(out, kind);
    out.put(value);
    Ok(())
}
