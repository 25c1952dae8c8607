//! Transactions: what a session has changed and not yet committed.

use super::super::batch::{Host, Pending, Ran, done};
use super::super::session::Transaction;
use super::super::table::{Changed, still_unique};
use crate::answer::Answer;
use crate::world::SqlError;
use std::collections::BTreeMap;

fn open<'a>(host: &'a mut Host<'_>) -> &'a mut Transaction {
    let now = host.world.clock;
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    session.transaction.get_or_insert_with(|| Transaction {
        count: 0,
        since: now,
        changes: BTreeMap::new(),
        touched: BTreeMap::new(),
    })
}

pub fn begin(host: &mut Host<'_>) -> Vec<Answer> {
    open(host).count += 1;
    vec![done(None)]
}

/// A statement's changes: into the open transaction, or committed at once.
pub fn store(host: &mut Host<'_>, database: &str, changed: Changed) -> Result<Ran, SqlError> {
    let answers = vec![done(Some(changed.rows))];
    host.world.next_row += changed.rows;
    let epoch = host.world.database(host.instance, database).map_or(0, |one| one.epoch);
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    if changed.identity.is_some() {
        session.last_identity = changed.identity;
    }
    if session.implicit_transactions && session.transaction.is_none() {
        open(host).count = 1;
    }
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    if let Some(transaction) = &mut session.transaction {
        let key = database.to_lowercase();
        transaction.touched.insert(key.clone(), epoch);
        transaction.changes.entry(key).or_default().extend(changed.changes);
        return Ok(Ran::Answers(answers));
    }
    if changed.changes.is_empty() {
        return Ok(Ran::Answers(answers));
    }
    let commit = host.world.commit(host.instance, database, changed.changes)?;
    Ok(Ran::Pending(Pending::Commit { commits: vec![commit], answers }))
}

pub fn commit(host: &mut Host<'_>) -> Result<Ran, SqlError> {
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    let Some(transaction) = &mut session.transaction else { return Err(SqlError::new(3902, &[])) };
    if transaction.count > 1 {
        transaction.count -= 1;
        return Ok(Ran::Answers(vec![done(None)]));
    }
    let changes = session.transaction.take().map(|one| one.changes).unwrap_or_default();
    let mut commits = Vec::new();
    for (database, changes) in changes {
        if changes.is_empty() {
            continue;
        }
        let found = host.world.may_use(host.instance, &database, crate::world::access::Wish::Write)?;
        still_unique(&host.world.log_of(found).tables(found.fork, found.end), &changes)?;
        commits.push(host.world.commit(host.instance, &database, changes)?);
    }
    Ok(Ran::Pending(Pending::Commit { commits, answers: vec![done(None)] }))
}

pub fn rollback(host: &mut Host<'_>) -> Result<Vec<Answer>, SqlError> {
    let session = host.sessions.all.get_mut(&host.spid).expect("a session that runs a statement is open");
    if session.transaction.take().is_none() {
        return Err(SqlError::new(3903, &[]));
    }
    Ok(vec![done(None)])
}
