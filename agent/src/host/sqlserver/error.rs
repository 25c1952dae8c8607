//! Why an instance could not be asked, or what it said. Every one names the instance and the login.

use super::{
    Who,
    number::{self, Class},
};

/// An error of the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub number: u32,
    pub state: u8,
    /// SQL Server's "level": 11 to 19 are errors, above that the session ends.
    pub level: u8,
    pub message: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error {}, level {}, state {}: {}", self.number, self.level, self.state, self.message)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {who}: {reason}")]
    Unreachable { who: Who, reason: String },
    #[error("{who}: cannot use the certificate authority {path}: {reason}")]
    Authority { who: Who, path: String, reason: String },
    /// The certificate, or the encryption, is not what the connection asks for.
    #[error("{who}: no secure connection: {reason}")]
    Insecure { who: Who, reason: String },
    #[error("{who} was refused: {said}")]
    Login { who: Who, said: Said },
    /// A listener, or a read-only route: what it leads to is another instance than the one that was named.
    #[error("{who} does not serve this connection itself, it sends it to {to}")]
    Routed { who: Who, to: String },
    #[error("{who}: the instance that answers is {found:?} and not {expected:?}")]
    OtherInstance { who: Who, expected: String, found: String },
    /// The server refused the statement.
    #[error("{who}: {said}")]
    Statement { who: Who, said: Said },
    /// The session is over: whether the statement took effect is not known here.
    #[error("{who}: the session ended in the middle: {reason}")]
    Broken { who: Who, number: Option<u32>, reason: String },
    #[error("{who}: the statement cannot be sent: {reason}")]
    Unsendable { who: Who, reason: String },
    #[error("{who}: the answer cannot be read: {reason}")]
    Unreadable { who: Who, reason: String },
    #[error("{who}: no answer before the task's deadline")]
    TooSlow { who: Who },
    #[error("{who}: cancelled")]
    Cancelled { who: Who },
}

impl Error {
    /// The server's number, where it gave one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Error::Statement { said, .. } | Error::Login { said, .. } => Some(said.number),
            Error::Broken { number, .. } => *number,
            _ => None,
        }
    }

    /// What its number asks for; an end without a number is an end.
    pub fn class(&self) -> Class {
        match self {
            Error::Broken { .. } => Class::Ended,
            Error::Unreachable { .. } => Class::Retry,
            other => other.number().map_or(Class::Unlisted, number::class),
        }
    }

    /// The server may or may not have done what it was asked.
    pub fn is_uncertain(&self) -> bool {
        matches!(
            self,
            Error::Broken { .. } | Error::TooSlow { .. } | Error::Cancelled { .. } | Error::Unreadable { .. }
        )
    }

    /// The task's own end, and no word of the server's.
    pub fn is_end_of_task(&self) -> bool {
        matches!(self, Error::TooSlow { .. } | Error::Cancelled { .. })
    }

    pub(super) fn of_login(who: &Who, database: &str, error: tiberius::error::Error) -> Self {
        let who = who.clone();
        match error {
            tiberius::error::Error::Routing { host, port } => Error::Routed { who, to: format!("{host}:{port}") },
            tiberius::error::Error::Tls(reason) => Error::Insecure { who, reason: brief(&reason) },
            tiberius::error::Error::Protocol(reason) if reason.contains("encryption") => {
                Error::Insecure { who, reason: reason.into_owned() }
            }
            tiberius::error::Error::Server(token) => {
                let mut said = said(&token);
                if number::is_database(said.number) {
                    said.message = format!("{} (the connection asks for database {database:?})", said.message);
                }
                Error::Login { who, said }
            }
            other => Error::Unreachable { who, reason: other.to_string() },
        }
    }

    pub(super) fn of_statement(who: &Who, error: tiberius::error::Error) -> Self {
        let who = who.clone();
        match error {
            tiberius::error::Error::Server(token) => {
                let said = said(&token);
                // The server ends the session with these: what was under way may or may not have happened.
                if said.level >= 20 || number::class(said.number) == Class::Ended {
                    Error::Broken { who, number: Some(said.number), reason: said.to_string() }
                } else {
                    Error::Statement { who, said }
                }
            }
            tiberius::error::Error::Io { message, .. } => Error::Broken { who, number: None, reason: message },
            tiberius::error::Error::Protocol(reason) | tiberius::error::Error::Encoding(reason) => {
                Error::Broken { who, number: None, reason: reason.into_owned() }
            }
            tiberius::error::Error::BulkInput(reason) => Error::Unsendable { who, reason: reason.into_owned() },
            other => Error::Broken { who, number: None, reason: other.to_string() },
        }
    }
}

fn said(token: &tiberius::error::TokenError) -> Said {
    Said { number: token.code(), state: token.state(), level: token.class(), message: token.message().to_owned() }
}

/// The client's advice on its own settings is none for whoever reads this.
fn brief(reason: &str) -> String {
    reason.split(" To connect anyway").next().unwrap_or(reason).trim().to_owned()
}
