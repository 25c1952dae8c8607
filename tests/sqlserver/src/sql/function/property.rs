//! Roles, permissions and properties of server and databases, as functions.

use super::super::reader::Reader;
use crate::answer::Value;
use crate::world::server::Right;

pub(super) fn server_role(reader: &Reader<'_>, role: &str) -> Value {
    let right = match role.to_lowercase().as_str() {
        "sysadmin" => Right::Sysadmin,
        "dbcreator" => Right::AlterAnyDatabase,
        "processadmin" => Right::AlterAnyConnection,
        "public" => return Value::Int(1),
        "serveradmin" | "securityadmin" | "setupadmin" | "diskadmin" | "bulkadmin" => Right::Sysadmin,
        _ => return Value::Null,
    };
    Value::Int(i32::from(reader.may(right)))
}

pub(super) fn permission(reader: &Reader<'_>, class: Option<&str>, permission: &str) -> Value {
    let permission = permission.to_uppercase();
    let server_wide = class.is_none_or(|class| class.eq_ignore_ascii_case("SERVER"));
    let right = match permission.as_str() {
        "VIEW SERVER PERFORMANCE STATE" | "VIEW SERVER SECURITY STATE" => Some(Right::ViewServerState),
        "ALTER" | "CONTROL" if class.is_some_and(|class| class.eq_ignore_ascii_case("AVAILABILITY GROUP")) => {
            Some(Right::AlterAnyAvailabilityGroup)
        }
        "ALTER" | "CONTROL" | "BACKUP DATABASE" | "BACKUP LOG"
            if class.is_some_and(|class| class.eq_ignore_ascii_case("DATABASE")) =>
        {
            Some(Right::AlterAnyDatabase)
        }
        "CREATE ANY DATABASE" | "CREATE DATABASE" => Some(Right::AlterAnyDatabase),
        "CONNECT" | "SELECT" | "CONNECT SQL" => return Value::Int(1),
        other if server_wide => Right::ALL.into_iter().find(|right| right.words() == other),
        _ => None,
    };
    right.map_or(Value::Null, |right| Value::Int(i32::from(reader.may(right))))
}

pub(super) fn server_property(reader: &Reader<'_>, property: &str) -> Value {
    let server = reader.server();
    let text = |text: &str| Value::Text(text.to_owned());
    match property.to_lowercase().as_str() {
        "productversion" => text(server.product_version()),
        "productmajorversion" => text(&server.version.to_string()),
        "productlevel" => text("RTM"),
        "productupdatelevel" => Value::Null,
        "edition" => text(&server.edition),
        "engineedition" => Value::Int(3),
        "servername" => text(&server.name),
        "machinename" | "computernamephysicalnetbios" => text(&server.node),
        "instancename" => server.name.split_once('\\').map_or(Value::Null, |(_, name)| text(name)),
        "ishadrenabled" => Value::Int(i32::from(server.hadr_enabled)),
        "hadrmanagerstatus" => Value::Int(if server.hadr_enabled { 1 } else { 2 }),
        "isclustered" => Value::Int(0),
        "isintegratedsecurityonly" => Value::Int(0),
        "collation" => text("SQL_Latin1_General_CP1_CI_AS"),
        "processid" => Value::Null,
        "instancedefaultbackuppath" => Value::Null,
        _ => Value::Null,
    }
}

pub(super) fn database_property(reader: &Reader<'_>, name: &str, property: &str) -> Value {
    let Some(database) = reader.world.database(reader.instance, name) else { return Value::Null };
    let text = |text: &str| Value::Text(text.to_owned());
    match property.to_lowercase().as_str() {
        "status" => text(database.state.words()),
        "updateability" => {
            text(if database.standby.is_some() || database.read_only { "READ_ONLY" } else { "READ_WRITE" })
        }
        "useraccess" => text(database.access.words()),
        "recovery" => text(database.recovery.words()),
        "isinstandby" => Value::Int(i32::from(database.standby.is_some())),
        "collation" => text("SQL_Latin1_General_CP1_CI_AS"),
        _ => Value::Null,
    }
}
