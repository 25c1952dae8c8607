//! What a change of the ledger is on disk, and back.
//!
//! Apart from the journal, which says when it is written: here is only the form. What is not understood is an error, and never
//! left out.

use std::sync::Arc;

use baton_model::ids::TaskId;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

use super::{ASSIGNED, DEED_LAST, DEEDS, FLOORS, JournalError, MARKS, META, RAISED, RULER, TASKS, UNDERTAKEN, WAITING};
use crate::ledger::{Change, Ledger};

pub(super) fn write(write: &WriteTransaction, change: &Change) -> Result<(), JournalError> {
    match change {
        Change::Ruler(ruler) => drop(write.open_table(RULER)?.insert("ruler", bytes(ruler).as_slice())?),
        Change::Mark(run, index) => drop(write.open_table(MARKS)?.insert(run.to_string().as_str(), index)?),
        Change::Raised(run, index) => drop(write.open_table(RAISED)?.insert(run.to_string().as_str(), index)?),
        Change::Floor(group, number) => drop(write.open_table(FLOORS)?.insert(group.as_str(), number)?),
        Change::Task(task, entry) => {
            drop(write.open_table(TASKS)?.insert(key(task).as_str(), bytes(entry).as_slice())?)
        }
        Change::DropMark(run) => {
            drop(write.open_table(MARKS)?.remove(run.to_string().as_str())?);
            drop(write.open_table(RAISED)?.remove(run.to_string().as_str())?);
        }
        Change::DropTask(task) => drop(write.open_table(TASKS)?.remove(key(task).as_str())?),
        Change::Assignments(assigned) => {
            drop(write.open_table(ASSIGNED)?.insert("assigned", bytes(assigned.as_ref()).as_slice())?)
        }
        Change::Undertaken(group, component, undertaken) => {
            let key = place(group, component);
            drop(write.open_table(UNDERTAKEN)?.insert(key.as_str(), bytes(undertaken).as_slice())?)
        }
        Change::Ended(group, component) => {
            drop(write.open_table(UNDERTAKEN)?.remove(place(group, component).as_str())?)
        }
        Change::Deed(deed) => {
            drop(write.open_table(META)?.insert(DEED_LAST, deed.number)?);
            drop(write.open_table(DEEDS)?.insert(deed.number, bytes(deed).as_slice())?)
        }
        Change::Waiting(Some(waiting)) => drop(write.open_table(ASSIGNED)?.insert(WAITING, bytes(waiting).as_slice())?),
        Change::Waiting(None) => drop(write.open_table(ASSIGNED)?.remove(WAITING)?),
        Change::DropDeed(number) => drop(write.open_table(DEEDS)?.remove(number)?),
    }
    Ok(())
}

pub(super) fn read(database: &Database) -> Result<Ledger, JournalError> {
    let transaction = database.begin_read()?;
    let mut ledger = Ledger::default();
    if let Some(value) = transaction.open_table(RULER)?.get("ruler")? {
        ledger.ruler = parse("ruler", value.value())?;
    }
    for row in transaction.open_table(MARKS)?.iter()? {
        let (run, index) = row?;
        let name = run.value();
        ledger.marks.insert(name.parse().map_err(|error| line(name, error))?, index.value());
    }
    for row in transaction.open_table(RAISED)?.iter()? {
        let (run, index) = row?;
        let name = run.value();
        ledger.raised.insert(name.parse().map_err(|error| line(name, error))?, index.value());
    }
    for row in transaction.open_table(FLOORS)?.iter()? {
        let (group, number) = row?;
        let name = group.value();
        ledger.floors.insert(name.parse().map_err(|error| line(name, error))?, number.value());
    }
    for row in transaction.open_table(TASKS)?.iter()? {
        let (task, entry) = row?;
        let name = task.value();
        ledger.tasks.insert(parse(name, name.as_bytes())?, parse(name, entry.value())?);
    }
    if let Some(value) = transaction.open_table(ASSIGNED)?.get("assigned")? {
        ledger.assigned = Arc::new(parse("assigned", value.value())?);
    }
    if let Some(value) = transaction.open_table(ASSIGNED)?.get(WAITING)? {
        ledger.waiting = Some(parse(WAITING, value.value())?);
    }
    for row in transaction.open_table(UNDERTAKEN)?.iter()? {
        let (key, undertaken) = row?;
        let name = key.value();
        ledger.undertaken.insert(parse(name, name.as_bytes())?, parse(name, undertaken.value())?);
    }
    for row in transaction.open_table(DEEDS)?.iter()? {
        let (number, deed) = row?;
        let name = format!("deed {}", number.value());
        ledger.deeds.insert(number.value(), parse(&name, deed.value())?);
    }
    ledger.deed_last = transaction.open_table(META)?.get(DEED_LAST)?.map_or(0, |value| value.value());
    Ok(ledger)
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the ledger's types have string keys and no failing serializer")
}

fn key(task: &TaskId) -> String {
    serde_json::to_string(task).expect("a task's id is plain data")
}

fn place(group: &impl Serialize, component: &impl Serialize) -> String {
    serde_json::to_string(&(group, component)).expect("names are plain data")
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, JournalError> {
    serde_json::from_slice(bytes).map_err(|error| line(key, error))
}

fn line(key: &str, reason: impl std::fmt::Display) -> JournalError {
    JournalError::Line { key: key.to_owned(), reason: reason.to_string() }
}
