//! One database on one instance: its state, and how far it has been restored, as master and msdb say.
//!
//! Apart because every action on restores asks the same before and after what it does. It never changes anything.

use baton_model::outcome::Fault;
use serde::Serialize;

use super::{
    chain::{Lsn, Standing},
    instance::{Instance, identity},
};

/// What `sys.databases` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// `ONLINE`, `RESTORING`, `RECOVERING`, …
    pub state: String,
    /// Readable, and more log can be applied.
    pub standby: bool,
    /// It has joined an availability group.
    pub in_group: bool,
}

impl Copy {
    /// More log can be applied.
    pub fn takes_logs(&self) -> bool {
        self.state == "RESTORING" || (self.state == "ONLINE" && self.standby)
    }
    /// Open for writing.
    pub fn is_open(&self) -> bool {
        self.state == "ONLINE" && !self.standby
    }
    /// For a person.
    pub fn words(&self) -> String {
        match (self.standby, self.in_group) {
            (true, _) => format!("{} (standby)", self.state),
            (_, true) => format!("{} in an availability group", self.state),
            _ => self.state.clone(),
        }
    }
}

/// None: the instance has no database of that name.
pub async fn copy_of(instance: &mut Instance<'_>, database: &str) -> Result<Option<Copy>, Fault> {
    const SQL: &str = "SELECT state_desc, is_in_standby, replica_id FROM sys.databases WHERE name = @P1";
    let rows = instance.rows(SQL, &[database.into()]).await?;
    Ok(rows.first().map(|row| Copy {
        state: row.text("state_desc").unwrap_or_default(),
        standby: row.flag("is_in_standby").unwrap_or(false),
        in_group: identity(row, "replica_id").is_some(),
    }))
}

/// As [`copy_of`]; it must be there.
pub async fn existing(instance: &mut Instance<'_>, database: &str) -> Result<Copy, Fault> {
    copy_of(instance, database).await?.ok_or_else(|| {
        let message = format!("{} has no database {database}", instance.label());
        Fault::new("BTN-0661", message, "Correct the database's name or the connection, or restore it first.")
    })
}

/// As [`existing`], once it no longer recovers: an instance that has just started opens its databases one by one.
pub async fn settled(instance: &mut Instance<'_>, database: &str) -> Result<Copy, Fault> {
    const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(200);
    loop {
        let copy = existing(instance, database).await?;
        if copy.state != "RECOVERING" {
            return Ok(copy);
        }
        instance.context().progress(format!("{database} is recovering"), None);
        tokio::select! {
            () = instance.context().cancelled() => return Ok(copy),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// How far the last restore brought a database. The log shipping jobs' own record is not asked: a restore by hand is not in it.
/// None: nothing was ever restored under that name, or msdb's history was deleted.
pub async fn standing(instance: &mut Instance<'_>, database: &str) -> Result<Option<Standing>, Fault> {
    const SQL: &str = "SELECT TOP (1) b.last_lsn, b.family_guid, b.last_recovery_fork_guid \
                       FROM msdb.dbo.restorehistory r JOIN msdb.dbo.backupset b ON b.backup_set_id = r.backup_set_id \
                       WHERE r.destination_database_name = @P1 AND r.restore_type IN ('D', 'I', 'L') \
                       ORDER BY r.restore_history_id DESC";
    let rows = instance.rows(SQL, &[database.into()]).await?;
    Ok(rows.first().and_then(|row| {
        Some(Standing {
            database: database.to_owned(),
            family: identity(row, "family_guid"),
            fork: identity(row, "last_recovery_fork_guid"),
            applied: Lsn(row.lsn("last_lsn")?),
        })
    }))
}

/// As [`standing`]; without it nothing can be proven.
pub async fn proven(instance: &mut Instance<'_>, database: &str) -> Result<Standing, Fault> {
    standing(instance, database).await?.ok_or_else(|| {
        let message =
            format!("{}: msdb knows of no restore of {database}: its last applied LSN is not known", instance.label());
        Fault::new(
            "BTN-0662",
            message,
            "Restore it from a full backup (mssql.restore): without a known LSN no chain can be proven.",
        )
    })
}

/// The full backup that the database was last restored from, by its set's identity.
pub async fn restored_from(instance: &mut Instance<'_>, database: &str) -> Result<Option<String>, Fault> {
    const SQL: &str = "SELECT TOP (1) b.backup_set_uuid \
                       FROM msdb.dbo.restorehistory r JOIN msdb.dbo.backupset b ON b.backup_set_id = r.backup_set_id \
                       WHERE r.destination_database_name = @P1 AND r.restore_type = 'D' ORDER BY r.restore_history_id DESC";
    let rows = instance.rows(SQL, &[database.into()]).await?;
    Ok(rows.first().and_then(|row| identity(row, "backup_set_uuid")))
}
