//! Log shipping as it should begin, and its jobs run from outside.

use super::Control;
use crate::directory::DirectoryError;
use crate::sql::backup::media::Media;
use crate::sql::backup::{self, Taken};
use crate::sql::shipping::jobs;
use crate::sql::syntax::RestoreWhat;
use crate::world::log::Guid;
use crate::world::msdb::{Job, JobKind, ShippedDatabase, ShippingPrimary, ShippingSecondary};
use crate::world::{SqlError, World};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A database that is shipped from one instance to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipping {
    pub primary: String,
    pub secondary: String,
    pub database: String,
    /// Where the primary writes its log backups, and the secondary copies from.
    pub share: String,
    /// Where the secondary copies to.
    pub destination: String,
    /// STANDBY rather than NORECOVERY.
    #[serde(default)]
    pub standby: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShippingJob {
    Backup,
    Copy,
    Restore,
}

fn job(world: &mut World, instance: &str, name: &str, what: JobKind) -> Guid {
    let id = world.guid();
    let created = world.clock;
    let made = Job {
        id,
        name: name.to_owned(),
        enabled: true,
        what,
        created,
        started: None,
        stopped: None,
        succeeded: false,
        runs: 0,
        schedules: vec![1],
    };
    if let Some(server) = world.servers.get_mut(instance) {
        server.msdb.jobs.push(made);
    }
    id
}

/// A full backup restored on the secondary, and the metadata on both sides. Panics where the plan does not fit the world.
pub(super) fn establish(world: &mut World, plan: &Shipping) {
    for directory in [&plan.share, &plan.destination] {
        std::fs::create_dir_all(directory).expect("log shipping's directories can be made");
    }
    if world.database(&plan.primary, &plan.database).is_none() {
        world.create_database(&plan.primary, &plan.database);
    }
    let full = Path::new(&plan.share).join(format!("{}_full.bak", plan.database)).to_string_lossy().into_owned();
    let started = world.clock;
    let options = jobs::plain_backup(false);
    let taken = Taken { database: &plan.database, device: &full, user: "sa", started, options: &options };
    backup::take(world, &plan.primary, &taken).expect("the primary can be backed up");
    let media = Media::read(&full).expect("the backup was just written");
    let set = media.set(None, &full).expect("it holds one set");
    backup::claim(world, &plan.secondary, &plan.database, set);
    let undo = Path::new(&plan.destination).join(format!("{}.tuf", plan.database)).to_string_lossy().into_owned();
    let end = if plan.standby { backup::End::Standby(undo) } else { backup::End::NoRecovery };
    let applied = backup::Applied {
        database: &plan.database,
        user: "sa",
        what: RestoreWhat::Database,
        end: &end,
        replace: true,
        set,
    };
    backup::apply(world, &plan.secondary, &applied).expect("a full backup applies to nothing");
    let database = plan.database.clone();
    let backup_name = format!("LSBackup_{database}");
    let backup_job = job(world, &plan.primary, &backup_name, JobKind::Backup(database.clone()));
    let (primary_id, id) = (world.guid(), world.guid());
    let copy_name = format!("LSCopy_{}_{database}", plan.primary);
    let restore_name = format!("LSRestore_{}_{database}", plan.primary);
    let copy_job = job(world, &plan.secondary, &copy_name, JobKind::Copy(id));
    let restore_job = job(world, &plan.secondary, &restore_name, JobKind::Restore(id));
    if let Some(server) = world.servers.get_mut(&plan.primary) {
        server.msdb.shipped_from.push(ShippingPrimary {
            id: primary_id,
            database: database.clone(),
            backup_directory: plan.share.clone(),
            backup_share: plan.share.clone(),
            retention_minutes: 4320,
            backup_job,
            backup_job_name: backup_name,
            monitor: plan.secondary.clone(),
            last_backup_file: None,
            last_backup: None,
            threshold_minutes: 60,
            history_retention_minutes: 5760,
            secondaries: vec![(plan.secondary.clone(), database.clone())],
        });
    }
    if let Some(server) = world.servers.get_mut(&plan.secondary) {
        server.msdb.shipped_to.push(ShippingSecondary {
            id,
            primary_server: plan.primary.clone(),
            primary_database: database.clone(),
            source_directory: plan.share.clone(),
            destination_directory: plan.destination.clone(),
            retention_minutes: 4320,
            copy_job,
            restore_job,
            copy_job_name: copy_name,
            restore_job_name: restore_name,
            monitor: plan.secondary.clone(),
            last_copied_file: None,
            last_copied: None,
            databases: vec![ShippedDatabase {
                name: database,
                restore_delay_minutes: 0,
                restore_all: true,
                standby: plan.standby,
                disconnect_users: false,
                restore_threshold_minutes: 45,
                history_retention_minutes: 5760,
                last_restored_file: None,
                last_restored: None,
                last_restored_latency_minutes: 0,
            }],
        });
    }
}

/// Runs one of a shipped database's jobs where it belongs.
pub fn run_job(world: &mut World, instance: &str, database: &str, which: ShippingJob) -> Result<(), SqlError> {
    let msdb = &world.servers[instance].msdb;
    let secondary = msdb.secondary_of(database).map(|(one, _)| one);
    let job = match which {
        ShippingJob::Backup => {
            msdb.shipped_from.iter().find(|one| one.database.eq_ignore_ascii_case(database)).map(|one| one.backup_job)
        }
        ShippingJob::Copy => secondary.map(|one| one.copy_job),
        ShippingJob::Restore => secondary.map(|one| one.restore_job),
    };
    let job = job.ok_or_else(|| SqlError::new(14262, &["@job_name", database]))?;
    jobs::run(world, instance, None, job);
    let msdb = &world.servers[instance].msdb;
    match msdb.history.last() {
        Some(outcome) if outcome.status == 3 => Err(SqlError::new(50000, &[&outcome.message])),
        _ => Ok(()),
    }
}

impl Control {
    /// Runs a log shipping job at once, as its schedule would.
    pub fn run_shipping_job(
        &self,
        instance: &str,
        database: &str,
        which: ShippingJob,
    ) -> Result<Result<(), SqlError>, DirectoryError> {
        self.change(|world| run_job(world, instance, database, which))
    }
}
