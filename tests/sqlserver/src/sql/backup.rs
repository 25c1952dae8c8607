//! BACKUP and RESTORE as statements: what they demand, how long they take, what they leave.
//!
//! Apart from the files (`media`). A log backup is applied by its LSNs and its recovery path, never by its name; a restore that
//! is cancelled leaves its database RESTORING.

mod headers;
pub mod media;
mod recover;

use super::batch::{Batch, Host, Pending, Ran, done};
use super::run::information;
use super::syntax::{Backup, Expression, Name, Restore, RestoreEnd, RestoreWhat};
use super::value::write;
use crate::answer::Answer;
use crate::world::database::{Database, RecoveryModel, State};
use crate::world::log::Fork;
use crate::world::lsn::Lsn;
use crate::world::msdb::BackupSet;
use crate::world::server::Right;
use crate::world::{SqlError, World};
use media::{Media, Set};

pub use recover::{Applied, End, RestoreJob, apply, begin_restore, claim};

/// Every so many records a backup or restore takes one more millisecond.
const RECORDS_PER_MS: usize = 50;

pub fn command(what: RestoreWhat) -> &'static str {
    match what {
        RestoreWhat::Database => "RESTORE DATABASE",
        RestoreWhat::Log => "RESTORE LOG",
        RestoreWhat::HeaderOnly => "RESTORE HEADERONLY",
        RestoreWhat::FileListOnly => "RESTORE FILELIST",
        RestoreWhat::VerifyOnly => "RESTORE VERIFYONLY",
        RestoreWhat::LabelOnly => "RESTORE LABELONLY",
    }
}

pub struct BackupJob {
    pub until: i64,
    database: String,
    device: String,
    user: String,
    options: Backup,
    started: i64,
}

fn name_of(batch: &Batch, host: &Host<'_>, name: &Name) -> Result<String, SqlError> {
    match name {
        Name::Plain(name) => Ok(name.clone()),
        Name::Variable(variable) => Ok(write(&batch.reader(host).variable(variable)?.1)),
    }
}

fn device_of(batch: &Batch, host: &Host<'_>, device: &Expression) -> Result<String, SqlError> {
    Ok(write(&batch.evaluate(host, device)?))
}

fn not_in_transaction(host: &Host<'_>, command: &str) -> Result<(), SqlError> {
    if host.sessions.all[&host.spid].in_transaction() {
        return Err(SqlError::new(3021, &[]).terminating(command));
    }
    Ok(())
}

pub fn begin_backup(batch: &Batch, host: &mut Host<'_>, backup: &Backup) -> Result<Ran, SqlError> {
    let command = if backup.log { "BACKUP LOG" } else { "BACKUP DATABASE" };
    let name = name_of(batch, host, &backup.database)?;
    let device = device_of(batch, host, &backup.device)?;
    not_in_transaction(host, command)?;
    may_back_up(host.world, host.instance, &name, backup).map_err(|error| error.terminating(command))?;
    if !batch.reader(host).may(Right::AlterAnyDatabase) {
        return Err(SqlError::new(262, &[command, &name]).terminating(command));
    }
    if backup.no_recovery || backup.standby.is_some() {
        if host.sessions.all[&host.spid].database.eq_ignore_ascii_case(&name) {
            return Err(SqlError::new(3102, &[&name]).terminating(command));
        }
        if !host.sessions.inside(&name, None).is_empty() {
            return Err(SqlError::new(3101, &[]).terminating(command));
        }
    }
    let database = host.world.database(host.instance, &name).expect("may_back_up found it");
    let log = host.world.log_of(database);
    let records: usize = log.forks.iter().map(|fork| fork.records.len()).sum();
    let started = host.world.clock;
    let until = started + host.world.options.backup_ms + i64::try_from(records / RECORDS_PER_MS).unwrap_or(0);
    let user = host.sessions.all[&host.spid].user.clone();
    let job = BackupJob { until, database: database.name.clone(), device, user, options: backup.clone(), started };
    Ok(Ran::Pending(Pending::Backup(Box::new(job))))
}

fn may_back_up(world: &World, instance: &str, name: &str, backup: &Backup) -> Result<(), SqlError> {
    let database = world.database(instance, name).ok_or_else(|| SqlError::new(911, &[name]))?;
    if backup.differential {
        return Err(SqlError::unsupported("differential backups"));
    }
    match database.state {
        State::Online => {}
        State::Restoring => return Err(SqlError::new(927, &[name])),
        State::Offline => return Err(SqlError::new(942, &[name])),
        _ => return Err(SqlError::new(922, &[name])),
    }
    if database.standby.is_some() {
        return Err(SqlError::new(3036, &[name]));
    }
    let leads = database
        .hadr
        .as_ref()
        .is_none_or(|hadr| world.replica(instance, &hadr.group).is_some_and(crate::world::group::Replica::leads));
    let allowed = leads || backup.copy_only || backup.log;
    if !allowed || (database.hadr.is_some() && backup.no_recovery) {
        return Err(SqlError::new(3059, &[]));
    }
    if backup.log && database.recovery == RecoveryModel::Simple {
        return Err(SqlError::new(4208, &["BACKUP LOG"]));
    }
    if backup.log && database.last_full_backup.is_none() {
        return Err(SqlError::new(4214, &[]));
    }
    Ok(())
}

impl BackupJob {
    pub fn finish(self, host: &mut Host<'_>) -> Result<Vec<Answer>, SqlError> {
        let command = if self.options.log { "BACKUP LOG" } else { "BACKUP DATABASE" };
        let made = take(
            host.world,
            host.instance,
            &Taken {
                database: &self.database,
                device: &self.device,
                user: &self.user,
                started: self.started,
                options: &self.options,
            },
        );
        let set = made.map_err(|error| error.terminating(command))?;
        let mut answers = Vec::new();
        if self.options.stats {
            for percent in ["10", "50", "100"] {
                answers.push(Answer::Said(information(3211, format!("{percent} percent processed."), 1)));
            }
        }
        let pages = (set.size / 8192).max(1).to_string();
        let seconds = format!("{}.{:03}", (set.finished - set.started) / 1000, (set.finished - set.started) % 1000);
        let said = SqlError::new(3014, &[command, &pages, &seconds, "1.000"]);
        answers.extend(said.messages(1).into_iter().map(Answer::Said));
        answers.push(done(None));
        Ok(answers)
    }
}

/// What a backup is to hold.
pub struct Taken<'a> {
    pub database: &'a str,
    pub device: &'a str,
    pub user: &'a str,
    pub started: i64,
    pub options: &'a Backup,
}

/// Takes the backup at this moment: writes the file, minds the chain, remembers it in msdb.
pub fn take(world: &mut World, instance: &str, taken: &Taken<'_>) -> Result<BackupSet, SqlError> {
    let options = taken.options;
    may_back_up(world, instance, taken.database, options)?;
    let now = world.clock;
    let (set_id, own) = (world.guid(), taken.database);
    let leads = world.takes_writes(instance, own);
    // A backup writes into the log itself: a second log backup is never empty.
    if leads {
        let database = world.database(instance, own).expect("may_back_up found it");
        let (family, fork) = (database.family, database.fork);
        let end = world.logs.get_mut(&family).expect("every database has the log of its family").append(
            fork,
            now,
            1,
            Vec::new(),
        );
        let database = world.database_mut(instance, own).expect("may_back_up found it");
        database.end = end;
        database.redone = end;
    }
    let database = world.database(instance, own).expect("may_back_up found it").clone();
    let log = world.log_of(&database);
    let first = if options.log { database.log_backed_up_to.unwrap_or(Lsn::START) } else { database.end };
    let begins = options.log && database.log_backed_up_to == database.last_full_backup;
    let pieces = log.path(database.fork, database.end);
    let mut forks: Vec<Fork> = Vec::new();
    for (at, (piece, limit)) in pieces.iter().enumerate() {
        let fork = &log.forks[*piece];
        let records = fork
            .records
            .iter()
            .filter(|record| record.end <= *limit && (!options.log || record.end > first))
            .cloned()
            .collect();
        let parent = fork.parent.map(|(_, left)| (at.saturating_sub(1), left));
        forks.push(Fork { id: fork.id, parent, records });
    }
    let fork_of = |lsn: Lsn| pieces.iter().find(|(_, limit)| lsn <= *limit).map_or(database.fork, |(piece, _)| *piece);
    let first_fork = log.forks[fork_of(first)].id;
    let last_fork = log.forks[database.fork].id;
    let fork_point =
        (first_fork != last_fork).then(|| log.forks[database.fork].parent.map(|(_, at)| at.block())).flatten();
    let existing = if options.init { None } else { Media::read(taken.device).ok() };
    let position = existing.as_ref().map_or(1, |media| i32::try_from(media.sets.len()).unwrap_or(0) + 1);
    let msdb = &world.servers[instance].msdb;
    let header = BackupSet {
        id: i32::try_from(msdb.backups.len()).unwrap_or(0) + 1,
        set: set_id,
        media_set: i32::try_from(msdb.backups.len()).unwrap_or(0) + 1,
        position,
        first: first.block(),
        last: database.end.block(),
        checkpoint: database.end.block(),
        database_backup: database.last_full_backup.unwrap_or(database.end).block(),
        started: taken.started,
        finished: now,
        kind: if options.log { 'L' } else { 'D' },
        database: database.name.clone(),
        server: instance.to_owned(),
        copy_only: options.copy_only,
        begins_log_chain: begins,
        force_offline: options.no_recovery,
        first_fork,
        last_fork,
        fork_point,
        family: database.family,
        recovery_model: database.recovery.words().to_owned(),
        size: database.end.kilobytes_since(first).max(8) * 1024,
        device: taken.device.to_owned(),
    };
    let set = Set {
        header: header.clone(),
        created: database.created,
        backup_name: options.name.clone(),
        user: taken.user.to_owned(),
        base: log.base.clone(),
        base_at: log.base_at,
        forks,
    };
    let mut media = existing.unwrap_or_default();
    media.sets.push(set);
    media.write(taken.device)?;
    remember_backup(world, instance, &database, &header, options);
    Ok(header)
}

fn remember_backup(world: &mut World, instance: &str, database: &Database, header: &BackupSet, options: &Backup) {
    if let Some(server) = world.servers.get_mut(instance) {
        server.msdb.backups.push(header.clone());
    }
    let members: Vec<String> = match &database.hadr {
        Some(hadr) => {
            world.groups.get(&hadr.group).map(|group| group.replicas.keys().cloned().collect()).unwrap_or_default()
        }
        None => vec![instance.to_owned()],
    };
    let end = database.end;
    if !options.copy_only {
        for member in members {
            let Some(copy) = world.database_mut(&member, &database.name).filter(|copy| copy.family == database.family)
            else {
                continue;
            };
            if options.log {
                copy.log_backed_up_to = Some(end);
            } else {
                copy.last_full_backup = Some(end);
                copy.log_backed_up_to.get_or_insert(end);
            }
        }
    } else if !options.log
        && let Some(copy) = world.database_mut(instance, &database.name)
    {
        copy.last_full_backup.get_or_insert(end);
        copy.log_backed_up_to.get_or_insert(end);
    }
    if (options.no_recovery || options.standby.is_some())
        && let Some(copy) = world.database_mut(instance, &database.name)
    {
        copy.ready_to_roll_forward = true;
        copy.epoch += 1;
        match &options.standby {
            Some(file) => copy.standby = Some(file.clone()),
            None => copy.state = State::Restoring,
        }
    }
}

/// What STANDBY names must be writable.
fn standby_file(batch: &Batch, host: &Host<'_>, restore: &Restore) -> Result<Option<String>, SqlError> {
    let RestoreEnd::Standby(file) = &restore.recovery else { return Ok(None) };
    let file = device_of(batch, host, file)?;
    if std::fs::write(&file, b"undo").is_err() {
        return Err(SqlError::new(3170, &[]).terminating(command(restore.what)));
    }
    Ok(Some(file))
}
