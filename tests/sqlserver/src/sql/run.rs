//! What each statement does.
//!
//! Apart from the batch, which knows when, and from the world, which knows whether it may.

mod admin;
mod transaction;

use super::backup;
use super::batch::{Batch, Host, Pending, Ran, done, enter};
use super::evaluate::Scope;
use super::procedure;
use super::syntax::{Body, Item, Query, Statement, What};
use super::table;
use super::value::write;
use crate::answer::{Answer, Message, Value};
use crate::world::SqlError;
use crate::world::access::Wish;
use crate::world::server::{Account, Right};

pub use transaction::store;

/// As sys.dm_exec_requests calls it.
pub fn command(what: &What) -> &'static str {
    match what {
        What::Select(_) => "SELECT",
        What::Insert(_) => "INSERT",
        What::Update { .. } => "UPDATE",
        What::Delete { .. } => "DELETE",
        What::Backup(backup) if backup.log => "BACKUP LOG",
        What::Backup(_) => "BACKUP DATABASE",
        What::Restore(restore) => backup::command(restore.what),
        What::AlterGroup { .. } => "ALTER AVAILABILITY GROUP",
        What::AlterDatabase { .. } => "ALTER DATABASE",
        What::WaitFor { .. } => "WAITFOR",
        What::Kill { .. } => "KILL",
        What::Execute(_) => "EXECUTE",
        _ => "SELECT",
    }
}

/// SET options that only say how results look; what is not here is an error.
const QUIET_OPTIONS: &[&str] = &[
    "ANSI_DEFAULTS",
    "ANSI_NULLS",
    "ANSI_NULL_DFLT_ON",
    "ANSI_NULL_DFLT_OFF",
    "ANSI_PADDING",
    "ANSI_WARNINGS",
    "ARITHABORT",
    "ARITHIGNORE",
    "CONCAT_NULL_YIELDS_NULL",
    "CURSOR_CLOSE_ON_COMMIT",
    "DATEFIRST",
    "DATEFORMAT",
    "DEADLOCK_PRIORITY",
    "LANGUAGE",
    "LOCK_TIMEOUT",
    "NUMERIC_ROUNDABORT",
    "QUOTED_IDENTIFIER",
    "TEXTSIZE",
    "TRANSACTION ISOLATION LEVEL",
];

pub fn run(batch: &mut Batch, host: &mut Host<'_>, statement: &Statement) -> Result<Ran, SqlError> {
    let answers = match &statement.what {
        What::Empty => Vec::new(),
        What::Select(query) => select(batch, host, query)?,
        What::Insert(insert) => {
            let reader = batch.reader(host);
            let (database, name) = table::target(&reader, &insert.table)?;
            reader.world.may_use(host.instance, &database, Wish::Write)?;
            let changed = table::insert(&reader, &database, &name, insert)?;
            return store(host, &database, changed);
        }
        What::Update { table, assignments, filter } => {
            let reader = batch.reader(host);
            let (database, name) = table::target(&reader, table)?;
            reader.world.may_use(host.instance, &database, Wish::Write)?;
            let changed = table::update(&reader, &database, &name, assignments, filter.as_ref())?;
            return store(host, &database, changed);
        }
        What::Delete { table, filter } => {
            let reader = batch.reader(host);
            let (database, name) = table::target(&reader, table)?;
            reader.world.may_use(host.instance, &database, Wish::Write)?;
            let changed = table::delete(&reader, &database, &name, filter.as_ref())?;
            return store(host, &database, changed);
        }
        What::TruncateTable { table } => {
            let reader = batch.reader(host);
            let (database, name) = table::target(&reader, table)?;
            reader.world.may_use(host.instance, &database, Wish::Write)?;
            let changed = table::delete(&reader, &database, &name, None)?;
            return store(host, &database, changed);
        }
        What::CreateTable { table, columns } => {
            let reader = batch.reader(host);
            let (database, name) = table::target(&reader, table)?;
            reader.world.may_use(host.instance, &database, Wish::Write)?;
            let changed = table::create(&reader, &database, &name, columns)?;
            return store(host, &database, changed);
        }
        What::DropTable { table, if_exists } => {
            let reader = batch.reader(host);
            let (database, name) = table::target(&reader, table)?;
            reader.world.may_use(host.instance, &database, Wish::Write)?;
            let changed = table::drop(&reader, &database, &name, *if_exists)?;
            return store(host, &database, changed);
        }
        What::Use(database) => use_database(host, database)?,
        What::SetOption { name, value } => set_option(host, name, value)?,
        What::Declare(all) => {
            for (name, kind, value) in all {
                let value = value.as_ref().map_or(Ok(Value::Null), |value| batch.evaluate(host, value))?;
                batch.declare(name, *kind, &value)?;
            }
            Vec::new()
        }
        What::Assign { variable, value } => {
            let value = batch.evaluate(host, value)?;
            batch.assign(variable, &value)?;
            Vec::new()
        }
        What::Print(text) => {
            let text = write(&batch.evaluate(host, text)?);
            vec![Answer::Said(information(0, text, statement.line)), done(None)]
        }
        What::Raise { message, severity, state, values } => {
            return raise(batch, host, statement.line, message, severity, state, values);
        }
        What::Throw(None) => return Err(batch.caught().cloned().unwrap_or_else(|| SqlError::syntax("THROW"))),
        What::Throw(Some((number, message, state))) => {
            let number = super::value::integer(&batch.evaluate(host, number)?).unwrap_or(50000);
            let text = write(&batch.evaluate(host, message)?);
            let state = super::value::integer(&batch.evaluate(host, state)?).unwrap_or(1);
            let number = i32::try_from(number).unwrap_or(50000);
            let error = SqlError { number, class: 16, text, ..SqlError::new(50000, &[""]) };
            return Err(error.with_state(u8::try_from(state).unwrap_or(1)));
        }
        What::WaitFor { ms } => {
            return Ok(Ran::Pending(Pending::Until { at: host.world.clock + ms, answers: vec![done(None)] }));
        }
        What::If { condition, then, otherwise } => {
            let truth = batch.reader(host).truth(condition, &Scope::EMPTY)?;
            let chosen = if truth == Some(true) { Some(then) } else { otherwise.as_ref() };
            return Ok(match chosen {
                Some(chosen) => batch.enter_block(vec![(**chosen).clone()]),
                None => Ran::Answers(vec![done(None)]),
            });
        }
        What::While { condition, body } => {
            let truth = batch.reader(host).truth(condition, &Scope::EMPTY)?;
            return Ok(if truth == Some(true) {
                batch.enter_loop(&statement.what, body)
            } else {
                Ran::Answers(Vec::new())
            });
        }
        What::Block(statements) => return Ok(batch.enter_block(statements.clone())),
        What::Try { body, catch } => return Ok(batch.enter_try(body.clone(), catch.clone())),
        What::Return => return Ok(batch.leave(host)),
        What::BeginTransaction => transaction::begin(host),
        What::Commit => return transaction::commit(host),
        What::Rollback => transaction::rollback(host)?,
        What::SaveTransaction => return Err(SqlError::unsupported("savepoints")),
        What::Kill { spid, status_only } => kill(batch, host, *spid, *status_only)?,
        What::Execute(execute) => return procedure::execute(batch, host, execute),
        What::Checkpoint => vec![done(None)],
        What::AlterGroup { group, action } => admin::alter_group(batch, host, group, action, statement.line)?,
        What::DropGroup(group) => admin::drop_group(batch, host, group)?,
        What::AlterDatabase { database, action } => {
            admin::alter_database(batch, host, database, action, statement.line)?
        }
        What::CreateDatabase(name) => admin::create_database(batch, host, name)?,
        What::DropDatabase { names, if_exists } => admin::drop_database(batch, host, names, *if_exists)?,
        What::AlterEndpoint { .. } => return Err(SqlError::unsupported("ALTER ENDPOINT")),
        What::Backup(backup) => return backup::begin_backup(batch, host, backup),
        What::Restore(restore) => return backup::begin_restore(batch, host, restore),
        What::CreateLogin { name, password } => {
            need(batch, host, Right::Sysadmin)?;
            let server = host.world.servers.get_mut(host.instance).expect("this instance is in its world");
            server.logins.insert(name.to_lowercase(), Account::with_rights(name, password, &[]));
            vec![done(None)]
        }
        What::DropLogin(name) => {
            need(batch, host, Right::Sysadmin)?;
            let server = host.world.servers.get_mut(host.instance).expect("this instance is in its world");
            if server.logins.remove(&name.to_lowercase()).is_none() {
                return Err(SqlError::new(15151, &["drop", "login", name]));
            }
            vec![done(None)]
        }
    };
    Ok(Ran::Answers(answers))
}

pub fn need(batch: &Batch, host: &Host<'_>, right: Right) -> Result<(), SqlError> {
    if batch.reader(host).may(right) { Ok(()) } else { Err(SqlError::new(15247, &[])) }
}

pub fn information(number: i32, text: String, line: i32) -> Message {
    Message { number, state: 1, class: 0, text, procedure: String::new(), line }
}

fn select(batch: &mut Batch, host: &mut Host<'_>, query: &Query) -> Result<Vec<Answer>, SqlError> {
    let rows = batch.reader(host).query(query, None)?;
    if let Body::Select(select) = &query.body {
        let assigned = select.items.iter().filter(|item| matches!(item, Item::Assign { .. })).count();
        if assigned > 0 {
            if assigned < select.items.len() {
                return Err(SqlError::unsupported("a SELECT that assigns and returns"));
            }
            let count = rows.rows.len() as u64;
            for row in rows.rows {
                for (item, value) in select.items.iter().zip(row) {
                    if let Item::Assign { variable, .. } = item {
                        batch.assign(variable, &value)?;
                    }
                }
            }
            return Ok(vec![done(Some(count))]);
        }
    }
    Ok(result_set(rows))
}

pub fn result_set(rows: super::rows::Rows) -> Vec<Answer> {
    let count = rows.rows.len() as u64;
    std::iter::once(Answer::Columns(rows.columns))
        .chain(rows.rows.into_iter().map(Answer::Row))
        .chain([done(Some(count))])
        .collect()
}

/// May a session of this login be in this database now.
pub fn may_enter(host: &Host<'_>, database: &str, user: &str, read_only_intent: bool) -> Result<String, SqlError> {
    let wish = if read_only_intent { Wish::ReadOnlyIntent } else { Wish::Read };
    let found = host.world.may_use(host.instance, database, wish)?;
    let account = host.world.servers[host.instance].logins.get(&user.to_lowercase());
    let denied = account.is_none_or(|account| account.denied_databases.contains(&database.to_lowercase()));
    if denied {
        return Err(SqlError::new(916, &[user, &found.name]));
    }
    let restricted = found.access == crate::world::database::Access::Restricted
        && !account.is_some_and(|account| account.may(Right::AlterAnyDatabase));
    if restricted {
        return Err(SqlError::new(916, &[user, &found.name]));
    }
    let alone = found.access == crate::world::database::Access::Single;
    if alone && !host.sessions.inside(&found.name, Some(host.spid)).is_empty() {
        return Err(SqlError::new(924, &[&found.name]));
    }
    Ok(found.name.clone())
}

pub fn use_database(host: &mut Host<'_>, database: &str) -> Result<Vec<Answer>, SqlError> {
    let session = &host.sessions.all[&host.spid];
    let name = may_enter(host, database, &session.user.clone(), session.read_only_intent)?;
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    enter(host.world, host.instance, session, &name);
    let said = SqlError::new(5701, &[&name]).messages(1);
    Ok(std::iter::once(Answer::Database(name)).chain(said.into_iter().map(Answer::Said)).chain([done(None)]).collect())
}

fn set_option(host: &mut Host<'_>, name: &str, value: &str) -> Result<Vec<Answer>, SqlError> {
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    let on = value == "ON";
    for name in name.split(',') {
        match name {
            "NOCOUNT" => session.no_count = on,
            "XACT_ABORT" => session.abort_on_error = on,
            "IMPLICIT_TRANSACTIONS" => session.implicit_transactions = on,
            "ROWCOUNT" if value == "0" => {}
            _ if QUIET_OPTIONS.contains(&name) => {}
            _ => return Err(SqlError::new(195, &[name])),
        }
    }
    Ok(vec![done(None)])
}

fn raise(
    batch: &mut Batch,
    host: &mut Host<'_>,
    line: i32,
    message: &super::syntax::Expression,
    severity: &super::syntax::Expression,
    state: &super::syntax::Expression,
    values: &[super::syntax::Expression],
) -> Result<Ran, SqlError> {
    let mut text = write(&batch.evaluate(host, message)?);
    for value in values {
        let value = write(&batch.evaluate(host, value)?);
        let place = ["%s", "%d", "%i"].iter().filter_map(|mark| text.find(mark)).min();
        if let Some(at) = place {
            text.replace_range(at..at + 2, &value);
        }
    }
    let number = |value: Value| super::value::integer(&value).and_then(|one| u8::try_from(one).ok());
    let class = number(batch.evaluate(host, severity)?).unwrap_or(16);
    let state = number(batch.evaluate(host, state)?).unwrap_or(1);
    if class <= 10 {
        let message = Message { state, ..information(50000, text, line) };
        return Ok(Ran::Answers(vec![Answer::Said(message), done(None)]));
    }
    Err(SqlError { class, state, ..SqlError::new(50000, &[&text]) })
}

fn kill(batch: &Batch, host: &mut Host<'_>, spid: i64, status_only: bool) -> Result<Vec<Answer>, SqlError> {
    let reader = batch.reader(host);
    if !reader.may(Right::AlterAnyConnection) {
        return Err(SqlError::new(6102, &[]));
    }
    if reader.session().in_transaction() {
        return Err(SqlError::new(6115, &[]));
    }
    let number = spid.to_string();
    if !(1..=32767).contains(&spid) {
        return Err(SqlError::new(6101, &[&number]));
    }
    if spid == i64::from(host.spid) {
        return Err(SqlError::new(6104, &[]));
    }
    let spid = u16::try_from(spid).unwrap_or(u16::MAX);
    if spid < super::session::FIRST_USER_SPID {
        return Err(SqlError::new(6107, &[]));
    }
    if !host.sessions.all.contains_key(&spid) {
        return Err(SqlError::new(6106, &[&number]));
    }
    if status_only {
        return Err(SqlError::new(6120, &[&number]));
    }
    host.cut.push(spid);
    Ok(vec![done(None)])
}
