//! System procedures. One that is not here is error 2812.

use super::batch::{Batch, Host, Ran, done};
use super::parse;
use super::reader::Variables;
use super::rows::{Rows, text};
use super::run::{need, result_set};
use super::shipping;
use super::syntax::{Execute, Expression};
use super::value::{cast, integer, nvarchar, write};
use super::view;
use crate::answer::{Answer, Type, Value};
use crate::world::SqlError;
use crate::world::server::Right;

/// A call with its arguments evaluated.
pub struct Call {
    pub procedure: String,
    pub arguments: Vec<(String, Value)>,
}

impl Call {
    /// An argument by name, or by place where it has none.
    pub fn get(&self, name: &str, at: usize) -> Option<&Value> {
        let named = self.arguments.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        named
            .or_else(|| self.arguments.get(at).filter(|(given, _)| given.is_empty()))
            .map(|(_, value)| value)
            .filter(|value| **value != Value::Null)
    }

    pub fn text(&self, name: &str, at: usize) -> Option<String> {
        self.get(name, at).map(write)
    }

    pub fn number(&self, name: &str, at: usize) -> Option<i64> {
        let value = cast(self.get(name, at)?, Type::BigInt).ok()?;
        integer(&value).and_then(|number| i64::try_from(number).ok())
    }

    pub fn needed(&self, name: &str, at: usize) -> Result<String, SqlError> {
        self.text(name, at).ok_or_else(|| SqlError::new(201, &[&self.procedure, name]))
    }

    /// Every argument has a name that the procedure knows.
    pub fn only(&self, names: &[&str]) -> Result<(), SqlError> {
        for (name, _) in &self.arguments {
            if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(SqlError::new(8145, &[name, &self.procedure]));
            }
        }
        if self.arguments.len() > names.len() {
            return Err(SqlError::new(8144, &[&self.procedure]));
        }
        Ok(())
    }
}

pub fn execute(batch: &mut Batch, host: &mut Host<'_>, execute: &Execute) -> Result<Ran, SqlError> {
    let name = execute.procedure.last().cloned().unwrap_or_default();
    let lower = name.to_lowercase();
    let mut arguments = Vec::new();
    for argument in &execute.arguments {
        arguments.push((argument.name.clone(), batch.evaluate(host, &argument.value)?));
    }
    let call = Call { procedure: lower.clone(), arguments };
    if lower == "sp_executesql" {
        return execute_sql(batch, host, execute, &call);
    }
    let mut answers = match lower.as_str() {
        "sp_set_session_context" => {
            call.only(&["@key", "@value", "@read_only"])?;
            let key = call.needed("@key", 0)?;
            let value = call.get("@value", 1).cloned().unwrap_or(Value::Null);
            let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
            session.context.insert(key.to_lowercase(), value);
            Vec::new()
        }
        "sp_who2" => {
            call.only(&["@loginame"])?;
            result_set(who(batch, host))
        }
        "xp_dirtree" => {
            let directory = call.needed("@path", 0)?;
            let depth = call.number("@depth", 1).unwrap_or(0);
            let files = call.number("@file", 2).unwrap_or(0) != 0;
            result_set(view::files::tree(&batch.reader(host), &directory, depth, files))
        }
        "sp_getapplock" | "sp_releaseapplock" | "xp_cmdshell" => return Err(SqlError::new(2812, &[&name])),
        "sp_help_log_shipping_monitor" => {
            need_administrator(batch, host)?;
            result_set(view::monitor(&batch.reader(host)))
        }
        "sp_reset_connection" => Vec::new(),
        _ => match shipping::call(batch, host, &call)? {
            Some(answers) => answers,
            None => return Err(SqlError::new(2812, &[&execute.procedure.join(".")])),
        },
    };
    if let Some(into) = &execute.into {
        batch.assign(into, &Value::Int(0))?;
    }
    if answers.is_empty() {
        answers.push(done(None));
    }
    answers.push(Answer::Returned(0));
    Ok(Ran::Answers(answers))
}

/// 21089: what log shipping's procedures say to those who may not.
pub fn need_administrator(batch: &Batch, host: &Host<'_>) -> Result<(), SqlError> {
    need(batch, host, Right::Sysadmin).map_err(|_| SqlError::new(21089, &[]))
}

fn execute_sql(batch: &mut Batch, host: &mut Host<'_>, execute: &Execute, call: &Call) -> Result<Ran, SqlError> {
    let text = call.text("@stmt", 0).or_else(|| call.text("@statement", 0)).unwrap_or_default();
    let declared = match call.text("@params", 1) {
        Some(declared) => parse::declarations(&declared)?,
        None => Vec::new(),
    };
    let given: Vec<_> = call
        .arguments
        .iter()
        .zip(&execute.arguments)
        .skip(2)
        .map(|((name, value), argument)| (name, value, argument))
        .collect();
    let mut variables = Variables::new();
    let mut outputs = Vec::new();
    for (at, (name, kind, _)) in declared.iter().enumerate() {
        let found = given
            .iter()
            .find(|(given, _, _)| given.eq_ignore_ascii_case(name))
            .or_else(|| given.get(at).filter(|(given, _, _)| given.is_empty()));
        let Some((_, value, argument)) = found else { return Err(SqlError::new(8178, &[&text, name])) };
        variables.insert(name.to_lowercase(), (*kind, cast(value, *kind)?));
        if argument.output {
            // Back into the caller's variable where there is one, else to the client by its own name.
            outputs.push(match &argument.value {
                Expression::Variable(outer) if outer.eq_ignore_ascii_case(name) => outer.clone(),
                _ => name.clone(),
            });
        }
    }
    batch.enter(host, &text, variables, outputs, execute.into.clone())
}

/// `sp_who2`: two columns called SPID, text padded with blanks.
fn who(batch: &Batch, host: &Host<'_>) -> Rows {
    let reader = batch.reader(host);
    let mut rows = Rows::of(&[
        ("SPID", Type::Char { length: 5 }),
        ("Status", nvarchar(30)),
        ("Login", nvarchar(128)),
        ("HostName", nvarchar(128)),
        ("BlkBy", Type::Char { length: 5 }),
        ("DBName", nvarchar(128)),
        ("Command", nvarchar(16)),
        ("CPUTime", Type::VarChar { length: 30 }),
        ("DiskIO", Type::VarChar { length: 30 }),
        ("LastBatch", Type::VarChar { length: 48 }),
        ("ProgramName", nvarchar(128)),
        ("SPID", Type::Char { length: 5 }),
        ("REQUESTID", Type::Char { length: 5 }),
    ]);
    let all = reader.may(Right::ViewServerState);
    for session in reader.sessions.all.values().filter(|session| all || session.spid == reader.spid) {
        let spid = format!("{:<5}", session.spid);
        let at = super::value::write_time(session.last_batch, ' ');
        rows.push(vec![
            text(&spid),
            text(if session.running.is_some() { "RUNNABLE" } else { "sleeping" }),
            text(&session.user),
            text(&session.client_host),
            text("  .  "),
            text(&session.database),
            text(session.running.as_ref().map_or("AWAITING COMMAND", |running| running.command.as_str())),
            text("0"),
            text("0"),
            text(format!("{}/{} {}", &at[5..7], &at[8..10], &at[11..19])),
            text(&session.application),
            text(&spid),
            text("0    "),
        ]);
    }
    rows
}
