//! Who may read and write a database now, and when a commit is acknowledged.
//!
//! Apart because login, USE, every table and every commit ask the same questions. A commit must never be acknowledged before
//! the replicas that it waits for have hardened it.

use super::database::{Database, State};
use super::group::{Operational, Role};
use super::log::{Change, ForkId};
use super::lsn::Lsn;
use super::{SqlError, World};

/// What a session wants of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Read,
    /// With ApplicationIntent=ReadOnly.
    ReadOnlyIntent,
    Write,
}

/// A commit that is in the primary's log and not yet acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub database: String,
    pub fork: ForkId,
    pub end: Lsn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    Yes,
    NotYet,
    /// The instance is not the primary any more: nobody knows whether the commit survives.
    Never,
}

impl World {
    pub fn may_use(&self, instance: &str, name: &str, wish: Wish) -> Result<&Database, SqlError> {
        let database = self.database(instance, name).ok_or_else(|| SqlError::new(911, &[name]))?;
        let name = database.name.as_str();
        match database.state {
            State::Online => {}
            State::Restoring => return Err(SqlError::new(927, &[name])),
            State::Recovering { .. } if database.hadr.is_some() => return Err(SqlError::new(921, &[name])),
            State::Recovering { .. } => return Err(SqlError::new(922, &[name])),
            State::RecoveryPending | State::Suspect => return Err(SqlError::new(921, &[name])),
            State::Offline => return Err(SqlError::new(942, &[name])),
        }
        if let Some(hadr) = &database.hadr
            && let Some(replica) = self.replica(instance, &hadr.group)
        {
            let secondary_allow = replica.known.members.get(instance).map_or(0, |member| member.secondary_allow);
            match replica.role {
                Role::Resolving if replica.operational == Operational::FailedNoQuorum => {
                    return Err(SqlError::new(self.doubts.read_without_quorum, &[name]));
                }
                Role::Resolving => return Err(SqlError::new(983, &[name])),
                Role::Primary if replica.taken_offline => return Err(SqlError::new(983, &[name])),
                Role::Primary => {}
                Role::Secondary => match (secondary_allow, wish) {
                    (0, _) => return Err(SqlError::new(976, &[name])),
                    (1, Wish::Read | Wish::Write) => return Err(SqlError::new(978, &[name])),
                    (_, Wish::Write) => return Err(SqlError::new(3906, &[name])),
                    _ => {}
                },
            }
        }
        if wish == Wish::Write && (database.standby.is_some() || database.read_only) {
            return Err(SqlError::new(3906, &[name]));
        }
        Ok(database)
    }

    /// Puts a transaction into the log of a writable database.
    pub fn commit(&mut self, instance: &str, name: &str, changes: Vec<Change>) -> Result<Committed, SqlError> {
        let database = self.may_use(instance, name, Wish::Write)?;
        let (family, fork) = (database.family, database.fork);
        let blocks = 2 + u64::try_from(changes.len()).unwrap_or(0);
        let clock = self.clock;
        let log = self.logs.get_mut(&family).expect("every database has the log of its family");
        let end = log.append(fork, clock, blocks, changes);
        let database = self.database_mut(instance, name).expect("may_use found it");
        database.end = end;
        database.redone = end;
        Ok(Committed { database: database.name.clone(), fork, end })
    }

    pub fn acknowledged(&self, instance: &str, commit: &Committed) -> Acknowledged {
        let Some(database) = self.database(instance, &commit.database) else { return Acknowledged::Never };
        if database.fork != commit.fork {
            return Acknowledged::Never;
        }
        let Some(hadr) = &database.hadr else { return Acknowledged::Yes };
        let Some(replica) = self.replica(instance, &hadr.group) else { return Acknowledged::Never };
        if !replica.leads() || replica.taken_offline {
            return Acknowledged::Never;
        }
        let waited_for = self.synchronized_with(instance, &hadr.group, &commit.database);
        let hardened = waited_for
            .iter()
            .filter(|member| {
                replica
                    .reports
                    .get(&((**member).to_owned(), commit.database.clone()))
                    .is_some_and(|report| report.end >= commit.end)
            })
            .count();
        let required = usize::try_from(replica.known.required_synchronized).unwrap_or(0);
        if hardened == waited_for.len() && hardened >= required { Acknowledged::Yes } else { Acknowledged::NotYet }
    }
}
