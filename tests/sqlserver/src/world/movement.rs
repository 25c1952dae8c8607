//! ALTER DATABASE … SET HADR: suspend, resume, join, leave; and adding a database to a group.
//!
//! Apart from replication, which only obeys the suspension that is set here.

use super::database::{Membership, Movement, RecoveryModel, State, SuspendReason, Suspension, Times};
use super::group::{Config, Role};
use super::{Alive, SqlError, World};

impl World {
    /// The group of a database on this instance, or the error of SET HADR on one that is in none.
    fn group_of(&self, instance: &str, name: &str) -> Result<String, SqlError> {
        let database = self.database(instance, name).ok_or_else(|| SqlError::new(5011, &[name]))?;
        match &database.hadr {
            Some(hadr) => Ok(hadr.group.clone()),
            None => Err(SqlError::new(self.doubts.hadr_without_group, &[name, ""])),
        }
    }

    pub fn suspend_movement(&mut self, instance: &str, name: &str) -> Result<(), SqlError> {
        self.set_movement(instance, name, true)
    }

    pub fn resume_movement(&mut self, instance: &str, name: &str) -> Result<(), SqlError> {
        self.set_movement(instance, name, false)
    }

    fn set_movement(&mut self, instance: &str, name: &str, suspend: bool) -> Result<(), SqlError> {
        let group = self.group_of(instance, name)?;
        let Some(replica) = self.replica(instance, &group) else {
            return Err(SqlError::new(35242, &[name]));
        };
        match replica.role {
            Role::Resolving => Err(SqlError::new(35239, &[name, &group])),
            Role::Secondary => {
                if let Some(copy) = self.copy_mut(instance, &group, name) {
                    set(copy, suspend, false);
                }
                Ok(())
            }
            Role::Primary => {
                let connected: Vec<String> = replica
                    .sessions
                    .iter()
                    .filter(|(_, session)| session.connected)
                    .map(|(member, _)| member.clone())
                    .collect();
                for member in connected {
                    if let Some(copy) = self.copy_mut(&member, &group, name) {
                        set(copy, suspend, true);
                    }
                }
                Ok(())
            }
        }
    }

    pub fn join_database(&mut self, instance: &str, name: &str, group: &str, alive: &Alive) -> Result<(), SqlError> {
        let group = self.known_group(instance, group)?;
        let Some(database) = self.database(instance, name) else {
            return Err(SqlError::new(41148, &[name, &group]));
        };
        if let Some(hadr) = &database.hadr {
            return Err(if hadr.group == group {
                SqlError::new(41145, &[name, &group])
            } else {
                SqlError::new(35244, &[name, &group])
            });
        }
        let replica = self.replica(instance, &group).expect("known_group found this replica");
        if replica.leads() {
            return Err(SqlError::new(35240, &[name, &group]));
        }
        let connected = replica.sessions.values().any(|session| session.connected && session.silent_since.is_none());
        let Some(primary) = self.reachable_primary(instance, &group, alive).filter(|_| connected) else {
            return Err(SqlError::new(35250, &[]));
        };
        let source = self.copy(&primary, &group, name).ok_or_else(|| SqlError::new(41148, &[name, &group]))?;
        let needed = source.log_backed_up_to.unwrap_or(source.end);
        let log = self.log_of(source);
        let fits = database.family == source.family
            && database.state == State::Restoring
            && log.common(database.fork, database.end, source.fork) == database.end
            && database.end >= needed;
        if !fits {
            return Err(SqlError::new(1408, &[name]));
        }
        let hadr_id =
            self.groups[&group].replicas[&primary].known.databases.get(&source.name).copied().unwrap_or_default();
        let until = self.clock + self.options.initialize_ms;
        let database = self.database_mut(instance, name).expect("it was found above");
        database.state = State::Online;
        database.ready_to_roll_forward = false;
        database.redone = database.end;
        database.epoch += 1;
        database.hadr = Some(Membership {
            group,
            database: hadr_id,
            movement: Movement::Initializing { until },
            suspended: None,
            recovery: database.end,
            times: Times::default(),
        });
        Ok(())
    }

    /// `SET HADR OFF`: the copy leaves its group and is RESTORING.
    pub fn leave_group(&mut self, instance: &str, name: &str) -> Result<(), SqlError> {
        let group = self.group_of(instance, name)?;
        if self.replica(instance, &group).is_some_and(super::group::Replica::leads) {
            return Err(SqlError::new(35240, &[name, &group]));
        }
        let database = self.database_mut(instance, name).expect("group_of found it");
        database.hadr = None;
        database.state = State::Restoring;
        database.ready_to_roll_forward = true;
        database.epoch += 1;
        Ok(())
    }

    /// `ADD DATABASE` on the primary.
    pub fn add_database(&mut self, instance: &str, group: &str, name: &str) -> Result<(), SqlError> {
        let group = self.led_group(instance, group)?;
        let Some(database) = self.database(instance, name) else {
            return Err(SqlError::new(41148, &[name, &group]));
        };
        if database.hadr.is_some() {
            return Err(SqlError::new(35244, &[name, &group]));
        }
        if database.recovery != RecoveryModel::Full || database.last_full_backup.is_none() || !database.is_online() {
            return Err(SqlError::new(1475, &[name]));
        }
        let (own_name, end) = (database.name.clone(), database.end);
        let id = self.guid();
        let database = self.database_mut(instance, name).expect("it was found above");
        database.hadr = Some(Membership {
            group: group.clone(),
            database: id,
            movement: Movement::NotSynchronizing,
            suspended: None,
            recovery: end,
            times: Times::default(),
        });
        self.reconfigure(instance, &group, |config| {
            config.databases.insert(own_name, id);
        });
        Ok(())
    }

    /// `REMOVE DATABASE` on the primary: it stays online there and is RESTORING elsewhere.
    pub fn remove_database(&mut self, instance: &str, group: &str, name: &str) -> Result<(), SqlError> {
        let group = self.led_group(instance, group)?;
        let Some(copy) = self.copy(instance, &group, name) else {
            return Err(SqlError::new(35242, &[name]));
        };
        let own_name = copy.name.clone();
        if let Some(copy) = self.database_mut(instance, name) {
            copy.hadr = None;
        }
        let members: Vec<String> =
            self.groups[&group].replicas.keys().filter(|other| *other != instance).cloned().collect();
        for member in members {
            if let Some(copy) = self.copy_mut(&member, &group, name) {
                copy.hadr = None;
                copy.state = State::Restoring;
                copy.ready_to_roll_forward = true;
                copy.epoch += 1;
            }
        }
        if let Some(replica) = self.replica_mut(instance, &group) {
            replica.reports.retain(|(_, database), _| *database != own_name);
        }
        self.reconfigure(instance, &group, |config| {
            config.databases.remove(&own_name);
            config.ready.retain(|(_, database)| *database != own_name);
            config.joined.retain(|(_, database)| *database != own_name);
            config.pending_suspend.retain(|(_, database)| *database != own_name);
        });
        Ok(())
    }

    /// A change of the configuration by its primary.
    pub(super) fn reconfigure(&mut self, instance: &str, group: &str, change: impl FnOnce(&mut Config)) {
        if let Some(replica) = self.replica_mut(instance, group) {
            change(&mut replica.known);
            replica.known.raise();
        }
    }
}

fn set(copy: &mut super::database::Database, suspend: bool, by_primary: bool) {
    let Some(hadr) = copy.hadr.as_mut() else { return };
    if suspend {
        if hadr.suspended.is_none() {
            copy.suspend(Suspension { reason: SuspendReason::User, by_primary });
        }
    } else if hadr.suspended.is_some_and(|suspension| !by_primary || suspension.by_primary) {
        hadr.suspended = None;
        hadr.movement = Movement::NotSynchronizing;
    }
}
