//! What passes between the protocol and the engine: a request of a session, and the answers to it, one by one.
//!
//! Apart so that the protocol knows no T-SQL and the engine no bytes.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A session's number, as `@@SPID` gives it; user sessions begin at 51.
pub type Spid = u16;

/// Who logs in, as LOGIN7 says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
    /// Empty: the login's default, `master`.
    pub database: String,
    pub application: String,
    pub client_host: String,
    /// ApplicationIntent=ReadOnly.
    pub read_only_intent: bool,
    /// The connection is encrypted (for `sys.dm_exec_connections` and logins that demand it).
    pub encrypted: bool,
}

/// What a login came to.
#[derive(Debug, Clone, PartialEq)]
pub enum LoggedIn {
    Welcome {
        spid: Spid,
        database: String,
        /// INFO messages such as 5701 and 5703.
        messages: Vec<Message>,
        /// Ends when the session must be closed: killed, cut by a change of role, the instance stops.
        cut: CancellationToken,
    },
    /// Go there instead (read-only routing).
    Routed { host: String, port: u16 },
    /// In order; the connection closes after them.
    Refused(Vec<Message>),
}

/// What a session asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Batch(String),
    /// A procedure by name; `sp_executesql` arrives as such, with `@stmt`, `@params` and values.
    Procedure {
        name: String,
        parameters: Vec<Parameter>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// With its `@`; empty where it is positional.
    pub name: String,
    pub value: Value,
    pub output: bool,
}

/// A value in a row or a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Null,
    Bit(bool),
    TinyInt(u8),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    Float(f64),
    /// `numeric(precision, 0)`.
    Numeric(i128),
    /// Milliseconds since 1970-01-01 UTC, for `datetime`.
    DateTime(i64),
    Text(String),
    Binary(Vec<u8>),
    /// The 16 bytes in the order in which they are written.
    Guid([u8; 16]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Type {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Numeric {
        precision: u8,
    },
    DateTime,
    /// `nvarchar(length)`; 0 is `max`.
    NVarChar {
        length: u16,
    },
    VarChar {
        length: u16,
    },
    Char {
        length: u16,
    },
    VarBinary {
        length: u16,
    },
    UniqueIdentifier,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub kind: Type,
    pub nullable: bool,
}

/// An error (class above 10) or information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub number: i32,
    pub state: u8,
    /// Severity.
    pub class: u8,
    pub text: String,
    pub procedure: String,
    pub line: i32,
}

/// A piece of the response, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Columns(Vec<Column>),
    Row(Vec<Value>),
    /// An error or information; errors do not end the batch by themselves.
    Said(Message),
    /// The current database is another.
    Database(String),
    /// A statement has ended; `rows` where a count is valid, `failed` after an error.
    Done {
        rows: Option<u64>,
        failed: bool,
    },
    /// A procedure's return status.
    Returned(i32),
    /// An output parameter.
    Output(Parameter),
    /// The connection ends here, in the middle of the answer, without another word.
    Cut,
}

/// The engine as the protocol sees it.
#[async_trait::async_trait]
pub trait Server: Send + Sync + 'static {
    /// The instance's name, as `@@SERVERNAME` says it.
    fn name(&self) -> &str;
    async fn log_in(&self, login: Login) -> LoggedIn;
    /// Sends every answer, in order, and returns when the request has ended; `cancelled` is the client's attention.
    /// A closed `answers` means that the client has gone: the statement ends as the real one does.
    async fn execute(&self, spid: Spid, request: Request, answers: mpsc::Sender<Answer>, cancelled: CancellationToken);
    /// RESETCONNECTION: session state back to that of a fresh login.
    async fn reset(&self, spid: Spid);
    async fn log_out(&self, spid: Spid);
}
