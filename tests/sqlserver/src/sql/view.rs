//! System views and tables by name, and user tables: everything that stands after FROM.
//!
//! One that is not here is error 208, never an empty table.

mod groups;
mod states;
mod server;
mod sessions;
mod msdb;
mod shipping;
pub mod files;

use super::reader::Reader;
use super::rows::Rows;
use crate::answer::{Column, Type, Value};
use crate::world::SqlError;
use crate::world::log::Table;

/// How a view is made.
type Make = fn(&Reader<'_>) -> Result<Rows, SqlError>;

/// `sys.` views, by their names without it.
const SYSTEM: &[(&str, Make)] = &[
    ("availability_databases_cluster", groups::databases),
    ("availability_group_listeners", groups::listeners),
    ("availability_groups", groups::groups),
    ("availability_groups_cluster", groups::groups),
    ("availability_read_only_routing_lists", groups::routing_lists),
    ("availability_replicas", groups::replicas),
    ("database_mirroring", server::mirroring),
    ("database_mirroring_endpoints", server::mirroring_endpoints),
    ("database_recovery_status", server::recovery_status),
    ("databases", server::databases),
    ("dm_exec_connections", sessions::connections),
    ("dm_exec_requests", sessions::requests),
    ("dm_exec_sessions", sessions::sessions),
    ("dm_hadr_availability_group_states", states::group_states),
    ("dm_hadr_availability_replica_cluster_nodes", groups::cluster_nodes),
    ("dm_hadr_availability_replica_cluster_states", groups::replica_cluster_states),
    ("dm_hadr_availability_replica_states", states::replica_states),
    ("dm_hadr_cluster", groups::cluster),
    ("dm_hadr_cluster_members", groups::cluster_members),
    ("dm_hadr_database_replica_cluster_states", states::database_cluster_states),
    ("dm_hadr_database_replica_states", states::database_states),
    ("dm_os_sys_info", server::system),
    ("dm_server_services", server::services),
    ("dm_tran_locks", sessions::locks),
    ("endpoints", server::endpoints),
    ("master_files", server::files),
    ("server_principals", server::principals),
    ("sql_logins", server::principals),
    ("tables", server::tables),
];

/// `msdb.dbo.` tables.
const MSDB: &[(&str, Make)] = &[
    ("backupmediafamily", msdb::media),
    ("backupset", msdb::backups),
    ("log_shipping_monitor_history_detail", shipping::history),
    ("log_shipping_monitor_primary", shipping::monitor_primary),
    ("log_shipping_monitor_secondary", shipping::monitor_secondary),
    ("log_shipping_primary_databases", shipping::primary_databases),
    ("log_shipping_primary_secondaries", shipping::primary_secondaries),
    ("log_shipping_secondary", shipping::secondary),
    ("log_shipping_secondary_databases", shipping::secondary_databases),
    ("restorehistory", msdb::restores),
    ("sysjobactivity", msdb::job_activity),
    ("sysjobhistory", msdb::job_history),
    ("sysjobs", msdb::jobs),
    ("sysjobschedules", msdb::job_schedules),
];

pub use shipping::{monitor, shipping_primary, shipping_secondary};

/// Whether a name is that of a system view.
pub fn exists(name: &str) -> bool {
    let short = name.trim_start_matches("master.").trim_start_matches("sys.");
    SYSTEM.iter().any(|(known, _)| *known == short)
        || MSDB.iter().any(|(known, _)| Some(*known) == name.strip_prefix("msdb.dbo."))
}

pub fn rows(reader: &Reader<'_>, name: &[String], arguments: Option<&[Value]>) -> Result<Rows, SqlError> {
    let lower: Vec<String> = name.iter().map(|part| part.to_lowercase()).collect();
    let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
    let unknown = || SqlError::new(208, &[&name.join(".")]);
    if let Some(arguments) = arguments {
        return match parts[..] {
            [.., "dm_os_enumerate_filesystem"] => files::enumerate(reader, arguments),
            [.., "dm_exec_sql_text"] => sessions::statement_text(reader, arguments),
            _ => Err(unknown()),
        };
    }
    let (database, system) = match parts[..] {
        ["sys", view] => (None, Some(view)),
        [database, "sys", view] => (Some(database), Some(view)),
        _ => (None, None),
    };
    if let Some(view) = system {
        if let Some(database) = database
            && reader.world.database(reader.instance, database).is_none()
        {
            return Err(unknown());
        }
        let (_, make) = SYSTEM.iter().find(|(known, _)| *known == view).ok_or_else(unknown)?;
        return make(reader);
    }
    let current = reader.session().database.to_lowercase();
    let (database, table) = match parts[..] {
        [table] | ["dbo", table] => (current, table),
        [database, "dbo" | "", table] => (database.to_owned(), table),
        ["information_schema", "tables"] => return server::information_tables(reader),
        _ => return Err(unknown()),
    };
    if database == "msdb" {
        let (_, make) = MSDB.iter().find(|(known, _)| *known == table).ok_or_else(unknown)?;
        return make(reader);
    }
    let tables = reader.tables(&database)?;
    Ok(of_table(tables.get(table).ok_or_else(unknown)?))
}

fn of_table(table: &Table) -> Rows {
    let columns = table
        .columns
        .iter()
        .map(|column| Column { name: column.name.clone(), kind: column.kind, nullable: column.nullable })
        .collect();
    Rows { columns, rows: table.rows.values().cloned().collect() }
}

/// Types that views are full of.
const GUID: Type = Type::UniqueIdentifier;
const LSN: Type = Type::Numeric { precision: 25 };
const SYSNAME: Type = Type::NVarChar { length: 128 };
const fn nvarchar(length: u16) -> Type {
    Type::NVarChar { length }
}
