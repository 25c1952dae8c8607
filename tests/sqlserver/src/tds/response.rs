//! The engine's answers put in the order and the form that a client expects.
//!
//! Apart because only here is it known whether more follows a statement's end: an end is held back until the next answer
//! or the last. Pure: answers in, bytes out.

use bytes::BytesMut;

use super::column::{self, Misfit};
use super::login::Version;
use super::token::{self, Change, Done, Status};
use crate::answer::{Answer, Column, Message, Parameter};

/// What a client sees of one request.
#[derive(Debug)]
pub struct Response<'a> {
    server: &'a str,
    version: Version,
    /// A procedure's results come in other tokens than a batch's.
    in_procedure: bool,
    database: &'a mut String,
    columns: Vec<Column>,
    rows_open: bool,
    held: Option<Status>,
    failed: bool,
    severe: bool,
    returned: Option<i32>,
    outputs: Vec<Parameter>,
    mode: Mode,
}

/// How much of what the engine says is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Everything,
    /// Messages and changes of the session, nothing that looks like a result.
    Messages,
    /// The same, and then the acknowledgement that the client waits for.
    Cancelled,
}

/// The engine's answers do not go together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unspeakable {
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("a row of {values} values came under {columns} columns")]
    Width { columns: usize, values: usize },
}

impl<'a> Response<'a> {
    /// `database` is the session's current one, and is kept so.
    pub fn new(server: &'a str, version: Version, in_procedure: bool, database: &'a mut String) -> Self {
        Self {
            server,
            version,
            in_procedure,
            database,
            columns: Vec::new(),
            rows_open: false,
            held: None,
            failed: false,
            severe: false,
            returned: None,
            outputs: Vec::new(),
            mode: Mode::Everything,
        }
    }

    /// From now on no results are passed on: the client has cancelled.
    pub fn cancel(&mut self) {
        self.mode = Mode::Cancelled;
    }

    /// From now on no results are passed on, only whether it went well.
    pub fn silence(&mut self) {
        if self.mode == Mode::Everything {
            self.mode = Mode::Messages;
        }
    }

    /// The client has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.mode == Mode::Cancelled
    }

    /// An error of class 20 or above was said: the connection does not survive it.
    pub fn is_severe(&self) -> bool {
        self.severe
    }

    /// The last statement has failed; without results, any of them.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Puts what can be said of this answer now; [`Answer::Cut`] is the caller's.
    pub fn put(&mut self, out: &mut BytesMut, answer: Answer) -> Result<(), Unspeakable> {
        match answer {
            Answer::Columns(_) | Answer::Row(_) | Answer::Output(_) if self.mode != Mode::Everything => {}
            Answer::Done { failed, .. } if self.mode != Mode::Everything => self.failed |= failed,
            Answer::Columns(columns) => {
                self.release(out);
                column::put_columns(out, &columns);
                self.columns = columns;
                self.rows_open = true;
            }
            Answer::Row(row) => {
                if !self.rows_open || row.len() != self.columns.len() {
                    let columns = if self.rows_open { self.columns.len() } else { 0 };
                    return Err(Unspeakable::Width { columns, values: row.len() });
                }
                let before = out.len();
                if let Err(misfit) = column::put_row(out, &self.columns, &row, self.version.knows_compressed_rows()) {
                    // Half a row would be read as something else.
                    out.truncate(before);
                    return Err(misfit.into());
                }
            }
            Answer::Said(message) => self.say(out, &message),
            Answer::Database(name) => {
                self.release(out);
                token::put_change(out, Change::Database { new: &name, old: self.database });
                *self.database = name;
            }
            Answer::Done { rows, failed } => {
                self.release(out);
                self.failed = failed;
                self.held = Some(Status { rows, failed, select: self.rows_open, ..Status::default() });
                self.rows_open = false;
            }
            Answer::Returned(status) => self.returned = Some(status),
            Answer::Output(parameter) => self.outputs.push(parameter),
            Answer::Cut => {}
        }
        Ok(())
    }

    fn say(&mut self, out: &mut BytesMut, message: &Message) {
        self.release(out);
        if token::is_error(message) {
            self.failed = true;
        }
        if message.class >= 20 {
            self.severe = true;
        }
        token::put_message(out, self.server, message);
    }

    /// What is left when the engine has said everything; `more` where another procedure's results follow in this message.
    pub fn finish(mut self, out: &mut BytesMut, more: bool) -> Result<(), Unspeakable> {
        if self.is_cancelled() {
            // A client waits for this one, whatever it asked.
            token::put_done(out, Done::Statement, Status { attention: true, ..Status::default() });
            return Ok(());
        }
        let last = Status { failed: self.failed, severe: self.severe, ..Status::default() };
        if self.in_procedure {
            self.release(out);
            token::put_return_status(out, self.returned.unwrap_or(0));
            for (index, parameter) in self.outputs.iter().enumerate() {
                token::put_return_value(out, index, parameter)?;
            }
            token::put_done(out, Done::Procedure, Status { more, ..last });
        } else {
            let held = self.held.take().unwrap_or(last);
            token::put_done(out, Done::Statement, Status { severe: self.severe, more, ..held });
        }
        Ok(())
    }

    fn release(&mut self, out: &mut BytesMut) {
        if let Some(held) = self.held.take() {
            let done = if self.in_procedure { Done::InProcedure } else { Done::Statement };
            token::put_done(out, done, Status { more: true, ..held });
        }
    }
}

#[cfg(test)]
mod tests;
