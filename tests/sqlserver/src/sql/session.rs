//! Sessions of one instance's process: who is connected, to which database, in which transaction.
//!
//! Apart from the world, because they end with the process.

use crate::answer::{Login, Spid, Value};
use crate::world::World;
use crate::world::log::Change;
use std::collections::BTreeMap;

/// User sessions begin here.
pub const FIRST_USER_SPID: Spid = 51;

#[derive(Debug, Clone, Default)]
pub struct Sessions {
    pub all: BTreeMap<Spid, Session>,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub spid: Spid,
    /// The login's name as the server knows it.
    pub user: String,
    pub application: String,
    pub client_host: String,
    pub read_only_intent: bool,
    pub encrypted: bool,
    pub database: String,
    /// `epoch` of the database when it was entered.
    pub epoch: u64,
    pub connected_at: i64,
    pub last_batch: i64,
    pub running: Option<Running>,
    pub transaction: Option<Transaction>,
    pub implicit_transactions: bool,
    pub abort_on_error: bool,
    /// SET NOCOUNT ON.
    pub no_count: bool,
    /// `sp_set_session_context`.
    pub context: BTreeMap<String, Value>,
    pub row_count: i64,
    pub last_error: i32,
    pub last_identity: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Running {
    pub command: String,
    pub text: String,
    pub since: i64,
    /// Until when it takes; for percent_complete.
    pub until: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Transaction {
    pub count: u32,
    pub since: i64,
    /// Not yet committed, by lower-case name of the database.
    pub changes: BTreeMap<String, Vec<Change>>,
    /// Databases that it entered, with their epochs: a change of role ends it.
    pub touched: BTreeMap<String, u64>,
}

impl Sessions {
    /// The lowest number that is free.
    pub fn open(&mut self, login: &Login, database: &str, now: i64) -> Spid {
        let spid = (FIRST_USER_SPID..).find(|spid| !self.all.contains_key(spid)).unwrap_or(Spid::MAX);
        let session = Session {
            spid,
            user: login.user.clone(),
            application: login.application.clone(),
            client_host: login.client_host.clone(),
            read_only_intent: login.read_only_intent,
            encrypted: login.encrypted,
            database: database.to_owned(),
            epoch: 0,
            connected_at: now,
            last_batch: now,
            running: None,
            transaction: None,
            implicit_transactions: false,
            abort_on_error: false,
            no_count: false,
            context: BTreeMap::new(),
            row_count: 0,
            last_error: 0,
            last_identity: None,
        };
        self.all.insert(spid, session);
        spid
    }

    /// Sessions whose database changed its role or state under them.
    pub fn outdated(&self, world: &World, instance: &str) -> Vec<Spid> {
        let epoch = |name: &str| world.database(instance, name).map_or(u64::MAX, |database| database.epoch);
        self.all
            .values()
            .filter(|session| {
                epoch(&session.database) != session.epoch
                    || session
                        .transaction
                        .iter()
                        .flat_map(|transaction| &transaction.touched)
                        .any(|(name, entered)| epoch(name) != *entered)
            })
            .map(|session| session.spid)
            .collect()
    }

    /// Who is in a database, other than `except`.
    pub fn inside(&self, database: &str, except: Option<Spid>) -> Vec<Spid> {
        let lower = database.to_lowercase();
        self.all
            .values()
            .filter(|session| Some(session.spid) != except)
            .filter(|session| {
                session.database.eq_ignore_ascii_case(database)
                    || session.transaction.as_ref().is_some_and(|transaction| transaction.touched.contains_key(&lower))
            })
            .map(|session| session.spid)
            .collect()
    }
}

impl Session {
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }
}
