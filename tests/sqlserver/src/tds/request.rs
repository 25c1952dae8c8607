//! What a client asks after login: batches, procedures, transactions (MS-TDS 2.2.6.6, 2.2.6.7, 2.2.6.9).
//!
//! Apart because decoding is pure, and is what arbitrary bytes are thrown at.

use super::cursor::{Cursor, Malformed, utf16};
use super::parameter::{self, ParameterError};
use crate::answer::Parameter;

/// The headers that stand before every request; only their form matters here.
pub fn skip_headers(cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    let total = usize::try_from(cursor.u32()?).map_err(|_| cursor.malformed())?;
    let headers = cursor.take(total.checked_sub(4).ok_or(cursor.malformed())?)?;
    let mut headers = Cursor::new("request's headers", headers);
    while !headers.is_empty() {
        let length = usize::try_from(headers.u32()?).map_err(|_| headers.malformed())?;
        // Its type is inside as well.
        if length < 6 {
            return Err(headers.malformed());
        }
        headers.take(length - 4)?;
    }
    Ok(())
}

/// The text of a batch.
pub fn batch(body: &[u8]) -> Result<String, Malformed> {
    let mut cursor = Cursor::new("batch", body);
    skip_headers(&mut cursor)?;
    if !cursor.rest().len().is_multiple_of(2) {
        return Err(cursor.malformed());
    }
    Ok(utf16(cursor.rest()))
}

/// A procedure as it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub name: String,
    pub parameters: Vec<Parameter>,
}

/// What the numbers 1 to 15 stand for.
const PROCEDURES: [&str; 15] = [
    "sp_cursor",
    "sp_cursoropen",
    "sp_cursorprepare",
    "sp_cursorexecute",
    "sp_cursorprepexec",
    "sp_cursorunprepare",
    "sp_cursorfetch",
    "sp_cursoroption",
    "sp_cursorclose",
    "sp_executesql",
    "sp_prepare",
    "sp_execute",
    "sp_prepexec",
    "sp_prepexecrpc",
    "sp_unprepare",
];

/// The calls of a message, mostly one.
pub fn calls(body: &[u8]) -> Result<Vec<Call>, ParameterError> {
    const ANOTHER_FOLLOWS: u8 = 0xFF;
    const ANOTHER_FOLLOWS_BUT_DO_NOT_RUN: u8 = 0xFE;
    let mut cursor = Cursor::new("procedure call", body);
    skip_headers(&mut cursor)?;
    let mut calls = Vec::new();
    loop {
        let mut call = call(&mut cursor)?;
        let run = loop {
            match cursor.peek() {
                None => {
                    calls.push(call);
                    return Ok(calls);
                }
                Some(ANOTHER_FOLLOWS) => break true,
                Some(ANOTHER_FOLLOWS_BUT_DO_NOT_RUN) => break false,
                Some(_) => call.parameters.push(parameter::decode(&mut cursor, call.parameters.len() + 1)?),
            }
        };
        cursor.u8()?;
        if run {
            calls.push(call);
        }
        if cursor.is_empty() {
            return Ok(calls);
        }
    }
}

fn call(cursor: &mut Cursor<'_>) -> Result<Call, Malformed> {
    let name = match cursor.u16()? {
        0xFFFF => {
            let number = usize::from(cursor.u16()?);
            let name = number.checked_sub(1).and_then(|index| PROCEDURES.get(index)).ok_or(cursor.malformed())?;
            (*name).to_owned()
        }
        units => cursor.text(usize::from(units))?,
    };
    let _flags = cursor.u16()?;
    Ok(Call { name, parameters: Vec::new() })
}

/// What a client wants of its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transaction {
    Begin(Option<&'static str>),
    /// Another begins at once where the client says so.
    Commit {
        next: bool,
    },
    Rollback {
        next: bool,
    },
    Save(String),
}

/// A request to the transaction manager.
pub fn transaction(body: &[u8]) -> Result<Transaction, Malformed> {
    let mut cursor = Cursor::new("transaction request", body);
    skip_headers(&mut cursor)?;
    match cursor.u16()? {
        5 => Ok(Transaction::Begin(isolation(cursor.u8()?, &cursor)?)),
        kind @ (7 | 8) => {
            let _name = cursor.b_varchar()?;
            let next = cursor.u8()? & 1 != 0;
            Ok(if kind == 7 { Transaction::Commit { next } } else { Transaction::Rollback { next } })
        }
        9 => Ok(Transaction::Save(cursor.b_varchar()?)),
        // Distributed transactions.
        _ => Err(cursor.malformed()),
    }
}

fn isolation(level: u8, cursor: &Cursor<'_>) -> Result<Option<&'static str>, Malformed> {
    match level {
        0 => Ok(None),
        1 => Ok(Some("READ UNCOMMITTED")),
        2 => Ok(Some("READ COMMITTED")),
        3 => Ok(Some("REPEATABLE READ")),
        4 => Ok(Some("SERIALIZABLE")),
        5 => Ok(Some("SNAPSHOT")),
        _ => Err(cursor.malformed()),
    }
}

impl Transaction {
    /// The same in T-SQL, which is what the engine is asked.
    pub fn statement(&self) -> String {
        match self {
            Transaction::Begin(None) => "BEGIN TRANSACTION".to_owned(),
            Transaction::Begin(Some(level)) => format!("SET TRANSACTION ISOLATION LEVEL {level}; BEGIN TRANSACTION"),
            Transaction::Commit { next: false } => "COMMIT TRANSACTION".to_owned(),
            Transaction::Commit { next: true } => "COMMIT TRANSACTION; BEGIN TRANSACTION".to_owned(),
            Transaction::Rollback { next: false } => "ROLLBACK TRANSACTION".to_owned(),
            Transaction::Rollback { next: true } => "ROLLBACK TRANSACTION; BEGIN TRANSACTION".to_owned(),
            Transaction::Save(name) => format!("SAVE TRANSACTION [{}]", name.replace(']', "]]")),
        }
    }
}
