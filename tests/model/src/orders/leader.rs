//! A coordinator that leads, or still believes so, and what it says.
//!
//! Real: what is due, and up to where a host's marks are told (`baton_engine::due`). A model of `leader/dispatcher.rs`: what is said
//! depends on the state this coordinator has applied, on who has acknowledged its reign in the present session, and on what that
//! session has been given. A deposed one has the state it had, and goes on.

use std::collections::BTreeMap;

use baton_engine::due::{self, DueOrder};
use baton_model::ids::TaskId;

use super::{
    message::{Down, Message, Voice},
    record::Record,
};
use crate::procedure::{NOW, group_name, host_name};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leader {
    pub voice: Voice,
    /// The record that it has applied, by its number.
    pub view: u32,
    pub lines: [Line; 2],
}

/// To one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Line {
    /// Sessions are told apart by the announcement that opened them.
    pub request: u8,
    pub acknowledged: bool,
    /// What this session was given, by its number.
    pub given: u32,
}

/// Under which authority each task was ordered.
pub type Given = BTreeMap<TaskId, u64>;

/// "I lead", to a host that has not heard it in this session.
pub fn announcement(voice: Voice, record: &Record, host: usize, request: u8) -> Message {
    let host = host_name(host);
    let run = record.state.open_run(&group_name());
    let mark = run.and_then(|run| Some((run.id.clone(), due::mark_on(run, &host)?)));
    let floors = vec![(group_name(), record.state.floor(&group_name()))];
    Message::Down { voice, host, what: Down::Reign { request, marks: mark.into_iter().collect(), floors } }
}

/// Orders and fences for one host that has acknowledged the reign. `unrecorded`: also what the log must be told of first.
pub fn orders(voice: Voice, record: &Record, host: usize, given: &Given, unrecorded: bool) -> (Vec<Message>, Given) {
    let host = host_name(host);
    let duties = due::due_except(&record.state, NOW, |task| given.get(task).copied());
    let mut given = given.clone();
    let mut messages = Vec::new();
    let mut say = |what| messages.push(Message::Down { voice, host: host.clone(), what });
    let may_be_given = |order: &DueOrder| order.task.host == host && (unrecorded || !order.awaits_record());
    for order in duties.orders.into_iter().filter(may_be_given) {
        given.insert(order.task.clone(), order.index);
        say(Down::Execute(order.task, order.index));
    }
    for raise in duties.raises.into_iter().filter(|raise| raise.host == host) {
        say(Down::Raise(raise.run, raise.index));
    }
    (messages, given)
}
