//! What a query may look at: the world at one moment, one session's eyes.
//!
//! Apart because reading must never change anything.

use super::rows::Rows;
use super::session::{Session, Sessions};
use crate::answer::{Spid, Type, Value};
use crate::world::access::Wish;
use crate::world::log::{Tables, apply};
use crate::world::server::{Account, Right, Server};
use crate::world::{Alive, SqlError, World};
use std::collections::BTreeMap;
use std::rc::Rc;

pub type Variables = BTreeMap<String, (Type, Value)>;

#[derive(Clone)]
pub struct Reader<'a> {
    pub world: &'a World,
    pub sessions: &'a Sessions,
    pub alive: &'a Alive,
    pub instance: &'a str,
    pub spid: Spid,
    pub variables: &'a Variables,
    /// The error that a CATCH block handles.
    pub caught: Option<&'a SqlError>,
    /// Common table expressions by lower-case name.
    pub with: Rc<BTreeMap<String, Rows>>,
}

impl Reader<'_> {
    pub fn server(&self) -> &Server {
        &self.world.servers[self.instance]
    }

    pub fn session(&self) -> &Session {
        &self.sessions.all[&self.spid]
    }

    pub fn account(&self) -> Option<&Account> {
        self.server().logins.get(&self.session().user.to_lowercase())
    }

    pub fn may(&self, right: Right) -> bool {
        self.account().is_some_and(|account| account.may(right))
    }

    /// The two errors of a DMV without its right.
    pub fn need_server_state(&self) -> Result<(), SqlError> {
        if self.may(Right::ViewServerState) {
            return Ok(());
        }
        let (right, version) = (Right::ViewServerState.words(), self.server().version);
        let right = if version >= 16 { "VIEW SERVER PERFORMANCE STATE" } else { right };
        Err(SqlError::new(300, &[right, "server", "master"]).then(SqlError::new(297, &[])))
    }

    pub fn variable(&self, name: &str) -> Result<&(Type, Value), SqlError> {
        self.variables.get(&name.to_lowercase()).ok_or_else(|| SqlError::new(137, &[name]))
    }

    /// The tables of a database as this session sees them: committed rows and its own.
    pub fn tables(&self, database: &str) -> Result<Tables, SqlError> {
        let session = self.session();
        let wish = if session.read_only_intent { Wish::ReadOnlyIntent } else { Wish::Read };
        let found = self.world.may_use(self.instance, database, wish)?;
        let mut tables = self.world.log_of(found).tables(found.fork, found.redone);
        let own =
            session.transaction.iter().filter_map(|transaction| transaction.changes.get(&database.to_lowercase()));
        for change in own.flatten() {
            apply(&mut tables, change);
        }
        Ok(tables)
    }
}
