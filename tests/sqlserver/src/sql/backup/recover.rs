//! RESTORE: which set applies to which database, and what it leaves.

use super::headers::{file_rows, header_rows, label_rows};
use super::media::{Media, Set};
use super::{RECORDS_PER_MS, command, device_of, name_of, not_in_transaction, standby_file};
use crate::answer::Answer;
use crate::sql::batch::{Batch, Host, Pending, Ran, done};
use crate::sql::run::{information, result_set};
use crate::sql::session::Sessions;
use crate::sql::syntax::{Restore, RestoreEnd, RestoreWhat};
use crate::world::database::{Access, Database, RecoveryModel, State};
use crate::world::log::Log;
use crate::world::lsn::Lsn;
use crate::world::msdb;
use crate::world::server::Right;
use crate::world::{SqlError, World};

pub struct RestoreJob {
    pub until: i64,
    database: String,
    device: String,
    user: String,
    what: RestoreWhat,
    end: End,
    replace: bool,
    stats: bool,
    file: Option<i64>,
    started: i64,
}

/// How a restore leaves its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Recovery,
    NoRecovery,
    Standby(String),
}

pub fn begin_restore(batch: &Batch, host: &mut Host<'_>, restore: &Restore) -> Result<Ran, SqlError> {
    let command = command(restore.what);
    let fail = |error: SqlError| error.terminating(command);
    not_in_transaction(host, command)?;
    if !batch.reader(host).may(Right::AlterAnyDatabase) {
        return Err(fail(SqlError::new(262, &["CREATE DATABASE", "master"])));
    }
    let device = restore.device.as_ref().map(|device| device_of(batch, host, device)).transpose()?;
    let Some(name) = &restore.database else {
        return about_file(restore, &device.unwrap_or_default()).map(Ran::Answers).map_err(fail);
    };
    let name = name_of(batch, host, name)?;
    let Some(device) = device else {
        may_take(host, &name).map_err(fail)?;
        return recover_only(host, &name).map(Ran::Answers).map_err(fail);
    };
    let media = Media::read(&device).map_err(fail)?;
    let set = media.set(restore.file, &device).map_err(fail)?;
    may_take(host, &name).map_err(fail)?;
    fits(host.world, host.instance, &name, restore.what, restore.replace, set).map_err(fail)?;
    let end = match standby_file(batch, host, restore)? {
        Some(file) => End::Standby(file),
        None if matches!(restore.recovery, RestoreEnd::NoRecovery) => End::NoRecovery,
        None => End::Recovery,
    };
    let records: usize = set.forks.iter().map(|fork| fork.records.len()).sum();
    let started = host.world.clock;
    let until = started + host.world.options.restore_ms + i64::try_from(records / RECORDS_PER_MS).unwrap_or(0);
    if restore.what == RestoreWhat::Database {
        claim(host.world, host.instance, &name, set);
    }
    let user = host.sessions.all[&host.spid].user.clone();
    Ok(Ran::Pending(Pending::Restore(Box::new(RestoreJob {
        until,
        database: name,
        device,
        user,
        what: restore.what,
        end,
        replace: restore.replace,
        stats: restore.stats,
        file: restore.file,
        started,
    }))))
}

fn about_file(restore: &Restore, device: &str) -> Result<Vec<Answer>, SqlError> {
    let media = Media::read(device)?;
    let set = media.set(restore.file, device)?;
    Ok(match restore.what {
        RestoreWhat::HeaderOnly => result_set(header_rows(&media)),
        RestoreWhat::FileListOnly => result_set(file_rows(set)),
        RestoreWhat::LabelOnly => result_set(label_rows(set)),
        _ => vec![Answer::Said(information(3262, "The backup set on file 1 is valid.".into(), 1)), done(None)],
    })
}

/// Nobody is in it, and it is in no group.
fn may_take(host: &Host<'_>, name: &str) -> Result<(), SqlError> {
    may_be_taken(host.world, host.instance, host.sessions, name, Some(host.spid))
}

fn may_be_taken(
    world: &World,
    instance: &str,
    sessions: &Sessions,
    name: &str,
    own: Option<crate::answer::Spid>,
) -> Result<(), SqlError> {
    let Some(database) = world.database(instance, name) else { return Ok(()) };
    if database.hadr.is_some() {
        return Err(SqlError::new(3104, &[name]));
    }
    let inside = sessions.inside(name, None);
    if own.is_some_and(|own| inside.contains(&own)) {
        return Err(SqlError::new(3102, &[name]));
    }
    if !inside.is_empty() {
        return Err(SqlError::new(3101, &[]));
    }
    Ok(())
}

/// RESTORE DATABASE … WITH RECOVERY, without a file.
fn recover_only(host: &mut Host<'_>, name: &str) -> Result<Vec<Answer>, SqlError> {
    let database = host.world.database(host.instance, name).ok_or_else(|| SqlError::new(911, &[name]))?;
    if !database.can_roll_forward() {
        return Err(match database.state {
            State::Restoring => SqlError::new(3117, &[]),
            _ => SqlError::new(3153, &[]),
        });
    }
    recover(host.world, host.instance, name);
    let said = SqlError::new(3014, &["RESTORE DATABASE", "0", "0.100", "0.000"]);
    Ok(said.messages(1).into_iter().map(Answer::Said).chain([done(None)]).collect())
}

/// The database goes on by itself: on a recovery fork of its own.
fn recover(world: &mut World, instance: &str, name: &str) {
    let id = world.guid();
    let Some(database) = world.database(instance, name) else { return };
    let (family, fork, end) = (database.family, database.fork, database.end);
    let made = world.logs.get_mut(&family).map(|log| log.fork(fork, end, id));
    let Some(database) = world.database_mut(instance, name) else { return };
    database.fork = made.unwrap_or(fork);
    database.redone = database.end;
    database.state = State::Online;
    database.standby = None;
    database.ready_to_roll_forward = false;
    database.epoch += 1;
}

/// Whether a set applies to the database as it is now.
fn fits(
    world: &World,
    instance: &str,
    name: &str,
    what: RestoreWhat,
    replace: bool,
    set: &Set,
) -> Result<(), SqlError> {
    let header = &set.header;
    let found = world.database(instance, name);
    if what == RestoreWhat::Database {
        if header.kind != 'D' {
            return Err(SqlError::new(3118, &[name]));
        }
        let Some(database) = found else { return Ok(()) };
        if replace {
            return Ok(());
        }
        if database.family != header.family {
            return Err(SqlError::new(3154, &[name]));
        }
        let tail = database.log_backed_up_to.is_none_or(|backed_up| backed_up < database.end);
        if database.is_online() && database.standby.is_none() && database.recovery != RecoveryModel::Simple && tail {
            return Err(SqlError::new(3159, &[name]));
        }
        return Ok(());
    }
    let database = found.ok_or_else(|| SqlError::new(3118, &[name]))?;
    if !database.can_roll_forward() {
        return Err(SqlError::new(3117, &[]));
    }
    if header.kind != 'L' || database.family != header.family {
        return Err(SqlError::new(3154, &[name]));
    }
    let at = database.end.block();
    if header.first > at {
        return Err(SqlError::new(4305, &[&header.first.to_string(), &at.to_string()]));
    }
    if header.last <= at {
        return Err(SqlError::new(4326, &[&header.last.to_string(), &at.to_string()]));
    }
    // The backup's recovery path must go through where the database stands.
    let own = world.log_of(database).forks[database.fork].id;
    let place = set.forks.iter().position(|fork| fork.id == own);
    let through = place.is_some_and(|place| {
        set.forks.get(place + 1).and_then(|next| next.parent).is_none_or(|(_, left)| database.end <= left)
    });
    if !through {
        return Err(SqlError::new(4330, &[]));
    }
    Ok(())
}

/// A full restore makes its database unusable at once.
pub fn claim(world: &mut World, instance: &str, name: &str, set: &Set) {
    let family = set.header.family;
    world.logs.entry(family).or_insert_with(|| {
        let first = set.forks.first().map_or([0; 16], |fork| fork.id);
        let mut log = Log::new(family, first, set.created);
        log.forks[0].records.clear();
        log.base = set.base.clone();
        log.base_at = set.base_at;
        log
    });
    let clock = world.clock;
    let forks = world.logs.get_mut(&family).map(|log| log.merge(&set.forks)).unwrap_or_default();
    let Some(server) = world.servers.get_mut(instance) else { return };
    let id = match server.databases.get(&name.to_lowercase()) {
        Some(database) => database.id,
        None => server.next_database_id(),
    };
    let epoch = server.databases.get(&name.to_lowercase()).map_or(0, |database| database.epoch + 1);
    let fork = forks.last().copied().unwrap_or(0);
    let end = Lsn::of_block(set.header.last).unwrap_or(Lsn::START);
    server.databases.insert(
        name.to_lowercase(),
        Database {
            name: name.to_owned(),
            id,
            created: clock,
            family,
            fork,
            end,
            redone: end,
            state: State::Restoring,
            standby: None,
            ready_to_roll_forward: false,
            read_only: false,
            access: Access::Multi,
            recovery: match set.header.recovery_model.as_str() {
                "SIMPLE" => RecoveryModel::Simple,
                "BULK_LOGGED" => RecoveryModel::BulkLogged,
                _ => RecoveryModel::Full,
            },
            log_backed_up_to: Some(end),
            last_full_backup: Some(end),
            hadr: None,
            epoch,
            owed: 0,
            redo_owed: 0,
        },
    );
}

/// What a restore does when it is through.
pub struct Applied<'a> {
    pub database: &'a str,
    pub user: &'a str,
    pub what: RestoreWhat,
    pub end: &'a End,
    pub replace: bool,
    pub set: &'a Set,
}

/// Applies a set that fits, and remembers it in msdb.
pub fn apply(world: &mut World, instance: &str, applied: &Applied<'_>) -> Result<(), SqlError> {
    let (name, set) = (applied.database, applied.set);
    let header = &set.header;
    match applied.what {
        RestoreWhat::Database => {
            if let Some(database) = world.database_mut(instance, name) {
                database.ready_to_roll_forward = true;
            }
        }
        _ => {
            fits(world, instance, name, applied.what, applied.replace, set)?;
            let forks = world.logs.get_mut(&header.family).map(|log| log.merge(&set.forks)).unwrap_or_default();
            if let Some(database) = world.database_mut(instance, name) {
                database.fork = forks.last().copied().unwrap_or(database.fork);
                database.end = Lsn::of_block(header.last).unwrap_or(database.end);
                database.redone = database.end;
                database.log_backed_up_to = Some(database.end);
            }
        }
    }
    if let Some(database) = world.database_mut(instance, name) {
        match applied.end {
            End::NoRecovery | End::Recovery => {
                database.state = State::Restoring;
                database.standby = None;
            }
            End::Standby(file) => {
                database.state = State::Online;
                database.standby = Some(file.clone());
            }
        }
        database.epoch += 1;
    }
    if *applied.end == End::Recovery {
        recover(world, instance, name);
    }
    let now = world.clock;
    if let Some(server) = world.servers.get_mut(instance) {
        let known = server.msdb.backups.iter().find(|one| one.set == header.set).map(|one| one.id);
        let id = known.unwrap_or_else(|| {
            let id = i32::try_from(server.msdb.backups.len()).unwrap_or(0) + 1;
            server.msdb.backups.push(msdb::BackupSet { id, media_set: id, ..header.clone() });
            id
        });
        let history = i32::try_from(server.msdb.restores.len()).unwrap_or(0) + 1;
        server.msdb.restores.push(msdb::Restore {
            id: history,
            at: now,
            database: name.to_owned(),
            user: applied.user.to_owned(),
            backup: Some(id),
            kind: if applied.what == RestoreWhat::Log { 'L' } else { 'D' },
            replace: applied.replace,
            recovery: *applied.end == End::Recovery,
        });
    }
    Ok(())
}

impl RestoreJob {
    pub fn finish(self, host: &mut Host<'_>) -> Result<Vec<Answer>, SqlError> {
        let command = command(self.what);
        let fail = |error: SqlError| error.terminating(command);
        let media = Media::read(&self.device).map_err(fail)?;
        let set = media.set(self.file, &self.device).map_err(fail)?;
        may_take(host, &self.database).map_err(fail)?;
        let applied = Applied {
            database: &self.database,
            user: &self.user,
            what: self.what,
            end: &self.end,
            replace: self.replace,
            set,
        };
        apply(host.world, host.instance, &applied).map_err(fail)?;
        let mut answers = Vec::new();
        if self.stats {
            answers.push(Answer::Said(information(3211, "100 percent processed.".into(), 1)));
        }
        let took = host.world.clock - self.started;
        let seconds = format!("{}.{:03}", took / 1000, took % 1000);
        let pages = (set.header.size / 8192).max(1).to_string();
        let said = SqlError::new(3014, &[command, &pages, &seconds, "1.000"]);
        answers.extend(said.messages(1).into_iter().map(Answer::Said));
        answers.push(done(None));
        Ok(answers)
    }

    /// What was begun stays begun: a full restore leaves a database that is not yet one, a log restore one that it was.
    pub fn cancel(self, host: &mut Host<'_>) {
        if let Some(database) = host.world.database_mut(host.instance, &self.database)
            && self.what == RestoreWhat::Database
        {
            database.ready_to_roll_forward = false;
        }
    }
}
