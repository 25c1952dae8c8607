//! Log shipping's jobs: back up, copy, restore. Whole at once; no schedule runs by itself.
//!
//! Apart from the procedures that start them, because labs run them from outside.

use crate::answer::Spid;
use crate::sql::backup::media::Media;
use crate::sql::backup::{self, Taken};
use crate::sql::session::Sessions;
use crate::sql::syntax::{Backup, Expression, Name, RestoreWhat};
use crate::sql::value::write_stamp;
use crate::world::log::Guid;
use crate::world::msdb::{HistoryDetail, JobKind};
use crate::world::{SqlError, World};
use std::path::{Path, PathBuf};

/// Runs a job and notes its outcome where the Agent does. Returns sessions that it disconnects.
pub fn run(world: &mut World, instance: &str, sessions: Option<&Sessions>, job: Guid) -> Vec<Spid> {
    let now = world.clock;
    let Some(what) = world
        .servers
        .get(instance)
        .and_then(|server| server.msdb.jobs.iter().find(|one| one.id == job))
        .map(|one| one.what.clone())
    else {
        return Vec::new();
    };
    let mut cut = Vec::new();
    let (agent, kind, database, outcome) = match &what {
        JobKind::Backup(database) => {
            let agent = world.servers[instance]
                .msdb
                .shipped_from
                .iter()
                .find(|one| one.database == *database)
                .map(|one| one.id);
            (agent.unwrap_or(job), 0, database.clone(), back_up(world, instance, database))
        }
        JobKind::Copy(id) => {
            let database = primary_database(world, instance, *id);
            (*id, 1, database, copy(world, instance, *id))
        }
        JobKind::Restore(id) => {
            let database = primary_database(world, instance, *id);
            (*id, 2, database, restore(world, instance, *id, sessions, &mut cut))
        }
    };
    let Some(server) = world.servers.get_mut(instance) else { return cut };
    let session = i32::try_from(server.msdb.history.len()).unwrap_or(0) + 1;
    let (status, message) = match &outcome {
        Ok(message) => (2, message.clone()),
        Err(error) => (3, format!("*** Error: {} ({})", error.text, error.number)),
    };
    server.msdb.history.push(HistoryDetail { agent, kind, session, database, status, at: now, message });
    if let Some(job) = server.msdb.jobs.iter_mut().find(|one| one.id == job) {
        job.started = Some(now);
        job.stopped = Some(now);
        job.succeeded = outcome.is_ok();
        job.runs += 1;
    }
    cut
}

fn primary_database(world: &World, instance: &str, id: Guid) -> String {
    let found = world.servers[instance].msdb.shipped_to.iter().find(|one| one.id == id);
    found.map(|one| one.primary_database.clone()).unwrap_or_default()
}

/// A plain log backup.
pub fn plain_backup(log: bool) -> Backup {
    Backup {
        database: Name::Plain(String::new()),
        log,
        device: Expression::Global(String::new()),
        copy_only: false,
        differential: false,
        no_recovery: false,
        standby: None,
        no_truncate: false,
        init: true,
        stats: false,
        name: None,
    }
}

fn back_up(world: &mut World, instance: &str, database: &str) -> Result<String, SqlError> {
    let shipped = world.servers[instance].msdb.shipped_from.iter().find(|one| one.database == database);
    let directory = shipped.map(|one| one.backup_directory.clone()).ok_or_else(|| SqlError::new(32009, &[database]))?;
    // Two backups in one second would have the same name.
    let mut at = world.clock;
    let file = loop {
        let file = Path::new(&directory).join(format!("{database}_{}.trn", write_stamp(at)));
        if !file.exists() {
            break file.to_string_lossy().into_owned();
        }
        at += 1000;
    };
    let started = world.clock;
    let options = plain_backup(true);
    backup::take(world, instance, &Taken { database, device: &file, user: "LSAgent", started, options: &options })?;
    let now = world.clock;
    if let Some(one) = world
        .servers
        .get_mut(instance)
        .and_then(|server| server.msdb.shipped_from.iter_mut().find(|one| one.database == database))
    {
        one.last_backup_file = Some(file.clone());
        one.last_backup = Some(now);
    }
    Ok(format!("The backup operation was successful. Backup file: {file}"))
}

/// `database_*.trn` of a directory, in the order of their names.
fn log_files(directory: &str, database: &str) -> Result<Vec<PathBuf>, SqlError> {
    let unreadable = |error: std::io::Error| SqlError::new(3201, &[directory, &error.to_string()]);
    let prefix = format!("{}_", database.to_lowercase());
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(unreadable)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
            name.starts_with(&prefix) && name.ends_with(".trn")
        })
        .collect();
    files.sort();
    Ok(files)
}

fn copy(world: &mut World, instance: &str, id: Guid) -> Result<String, SqlError> {
    let now = world.clock;
    let Some(secondary) =
        world.servers.get_mut(instance).and_then(|server| server.msdb.shipped_to.iter_mut().find(|one| one.id == id))
    else {
        return Err(SqlError::new(14262, &["@job_name", ""]));
    };
    let mut copied = 0;
    for file in log_files(&secondary.source_directory, &secondary.primary_database)? {
        let Some(name) = file.file_name() else { continue };
        let target = Path::new(&secondary.destination_directory).join(name);
        if target.exists() {
            continue;
        }
        let work = target.with_extension("wrk");
        let failed = |error: std::io::Error| SqlError::new(3202, &[&target.to_string_lossy(), &error.to_string()]);
        std::fs::copy(&file, &work).and_then(|_| std::fs::rename(&work, &target)).map_err(failed)?;
        secondary.last_copied_file = Some(target.to_string_lossy().into_owned());
        secondary.last_copied = Some(now);
        copied += 1;
    }
    Ok(format!("The copy operation was successful. Number of log backup files copied: {copied}"))
}

fn restore(
    world: &mut World,
    instance: &str,
    id: Guid,
    sessions: Option<&Sessions>,
    cut: &mut Vec<Spid>,
) -> Result<String, SqlError> {
    let Some(secondary) = world.servers[instance].msdb.shipped_to.iter().find(|one| one.id == id).cloned() else {
        return Err(SqlError::new(14262, &["@job_name", ""]));
    };
    let files = log_files(&secondary.destination_directory, &secondary.primary_database)?;
    let mut restored = 0;
    for database in &secondary.databases {
        let inside = sessions.map(|sessions| sessions.inside(&database.name, None)).unwrap_or_default();
        if !inside.is_empty() && !database.disconnect_users {
            return Err(SqlError::new(3101, &[]));
        }
        cut.extend(inside);
        let undo = Path::new(&secondary.destination_directory).join(format!("{}.tuf", database.name));
        let end = if database.standby {
            backup::End::Standby(undo.to_string_lossy().into_owned())
        } else {
            backup::End::NoRecovery
        };
        for file in &files {
            let device = file.to_string_lossy().into_owned();
            let media = Media::read(&device)?;
            let set = media.set(None, &device)?;
            let applied = backup::Applied {
                database: &database.name,
                user: "LSAgent",
                what: RestoreWhat::Log,
                end: &end,
                replace: false,
                set,
            };
            match backup::apply(world, instance, &applied) {
                Ok(()) => {}
                // Already applied.
                Err(error) if error.number == 4326 => continue,
                Err(error) => return Err(error),
            }
            restored += 1;
            note_restored(world, instance, id, &database.name, &device, set.header.finished);
        }
    }
    Ok(format!("The restore operation was successful. Number of log backup files restored: {restored}"))
}

fn note_restored(world: &mut World, instance: &str, id: Guid, database: &str, device: &str, taken: i64) {
    let now = world.clock;
    let all = world.servers.get_mut(instance).into_iter().flat_map(|server| &mut server.msdb.shipped_to);
    for one in all.filter(|one| one.id == id).flat_map(|one| &mut one.databases) {
        if one.name == database {
            one.last_restored_file = Some(device.to_owned());
            one.last_restored = Some(now);
            one.last_restored_latency_minutes = i32::try_from((now - taken) / 60_000).unwrap_or(i32::MAX);
        }
    }
}
