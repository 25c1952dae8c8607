//! BACKUP and RESTORE.

use super::batch::{Batch, Host, Ran};
use super::syntax::{Backup, Restore, RestoreWhat};
use crate::answer::Answer;
use crate::world::SqlError;

pub struct BackupJob {
    pub until: i64,
}
pub struct RestoreJob {
    pub until: i64,
}
impl BackupJob {
    pub fn finish(self, _host: &mut Host<'_>) -> Result<Vec<Answer>, SqlError> {
        Err(SqlError::unsupported("BACKUP"))
    }
}
impl RestoreJob {
    pub fn finish(self, _host: &mut Host<'_>) -> Result<Vec<Answer>, SqlError> {
        Err(SqlError::unsupported("RESTORE"))
    }
    pub fn cancel(self, _host: &mut Host<'_>) {}
}
pub fn command(_what: RestoreWhat) -> &'static str {
    "RESTORE"
}
pub fn begin_backup(_batch: &Batch, _host: &mut Host<'_>, _backup: &Backup) -> Result<Ran, SqlError> {
    Err(SqlError::unsupported("BACKUP"))
}
pub fn begin_restore(_batch: &Batch, _host: &mut Host<'_>, _restore: &Restore) -> Result<Ran, SqlError> {
    Err(SqlError::unsupported("RESTORE"))
}
