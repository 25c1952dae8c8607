//! Availability groups as configured: catalog views and the cluster's. They show every replica, on every instance that has the group.

use super::{GUID, SYSNAME, nvarchar};
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, maybe, text};
use crate::world::SqlError;
use crate::world::group::{ClusterType, Group, Replica};
use crate::world::server::Right;

/// Groups of which this instance has a replica; without the right to see definitions, none.
fn own<'a>(reader: &'a Reader<'_>) -> Vec<(&'a Group, &'a Replica)> {
    if !reader.may(Right::ViewAnyDefinition) && !reader.may(Right::AlterAnyAvailabilityGroup) {
        return Vec::new();
    }
    reader.world.groups.values().filter_map(|group| Some((group, group.replicas.get(reader.instance)?))).collect()
}

pub fn groups(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("group_id", GUID),
        ("name", SYSNAME),
        ("resource_id", nvarchar(40)),
        ("resource_group_id", nvarchar(40)),
        ("failure_condition_level", Type::Int),
        ("health_check_timeout", Type::Int),
        ("automated_backup_preference", Type::TinyInt),
        ("automated_backup_preference_desc", nvarchar(60)),
        ("version", Type::SmallInt),
        ("basic_features", Type::Bit),
        ("dtc_support", Type::Bit),
        ("db_failover", Type::Bit),
        ("is_distributed", Type::Bit),
        ("cluster_type", Type::TinyInt),
        ("cluster_type_desc", nvarchar(60)),
        ("required_synchronized_secondaries_to_commit", Type::Int),
        ("sequence_number", Type::BigInt),
        ("is_contained", Type::Bit),
    ]);
    for (group, replica) in own(reader) {
        let config = &replica.known;
        let preference = ["PRIMARY", "SECONDARY_ONLY", "SECONDARY", "NONE"];
        let resource = match group.cluster {
            ClusterType::Wsfc => text(crate::sql::value::write_guid(&group.id).to_lowercase()),
            ClusterType::External | ClusterType::None => Value::Null,
        };
        rows.push(vec![
            Value::Guid(group.id),
            text(&group.name),
            resource.clone(),
            resource,
            Value::Int(config.failure_condition_level),
            Value::Int(config.health_check_timeout_ms),
            Value::TinyInt(config.backup_preference),
            text(preference[usize::from(config.backup_preference.min(3))]),
            Value::SmallInt(1),
            Value::Bit(false),
            Value::Bit(false),
            Value::Bit(config.database_failover),
            Value::Bit(false),
            Value::TinyInt(group.cluster.code()),
            text(group.cluster.words()),
            Value::Int(config.required_synchronized),
            Value::BigInt(i64::try_from(config.sequence).unwrap_or(i64::MAX)),
            Value::Bit(false),
        ]);
    }
    Ok(rows)
}

pub fn replicas(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("replica_id", GUID),
        ("group_id", GUID),
        ("replica_metadata_id", Type::Int),
        ("replica_server_name", nvarchar(256)),
        ("owner_sid", Type::VarBinary { length: 85 }),
        ("endpoint_url", nvarchar(128)),
        ("availability_mode", Type::TinyInt),
        ("availability_mode_desc", nvarchar(60)),
        ("failover_mode", Type::TinyInt),
        ("failover_mode_desc", nvarchar(60)),
        ("session_timeout", Type::Int),
        ("primary_role_allow_connections", Type::TinyInt),
        ("primary_role_allow_connections_desc", nvarchar(60)),
        ("secondary_role_allow_connections", Type::TinyInt),
        ("secondary_role_allow_connections_desc", nvarchar(60)),
        ("create_date", Type::DateTime),
        ("modify_date", Type::DateTime),
        ("backup_priority", Type::Int),
        ("read_only_routing_url", nvarchar(256)),
        ("seeding_mode", Type::TinyInt),
        ("seeding_mode_desc", nvarchar(60)),
        ("read_write_routing_url", nvarchar(256)),
    ]);
    for (group, replica) in own(reader) {
        for (name, member) in &replica.known.members {
            let allow = ["NO", "READ_ONLY", "ALL"];
            let seeding = u8::from(member.seeding_manual);
            rows.push(vec![
                Value::Guid(member.id),
                Value::Guid(group.id),
                Value::Int(member.metadata_id),
                text(name),
                Value::Binary(vec![1]),
                text(&member.endpoint),
                Value::TinyInt(member.availability.code()),
                text(member.availability.words()),
                Value::TinyInt(member.failover.code()),
                text(member.failover.words()),
                Value::Int(member.session_timeout_seconds),
                Value::TinyInt(member.primary_allow),
                text(if member.primary_allow == 3 { "READ_WRITE" } else { "ALL" }),
                Value::TinyInt(member.secondary_allow),
                text(allow[usize::from(member.secondary_allow.min(2))]),
                Value::DateTime(member.created),
                Value::DateTime(member.modified),
                Value::Int(member.backup_priority),
                maybe(member.routing_url.as_deref(), text),
                Value::TinyInt(seeding),
                text(if seeding == 1 { "MANUAL" } else { "AUTOMATIC" }),
                Value::Null,
            ]);
        }
    }
    Ok(rows)
}

pub fn databases(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[("group_id", GUID), ("group_database_id", GUID), ("database_name", SYSNAME)]);
    for (group, replica) in own(reader) {
        for (name, id) in &replica.known.databases {
            rows.push(vec![Value::Guid(group.id), Value::Guid(*id), text(name)]);
        }
    }
    Ok(rows)
}

pub fn replica_cluster_states(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("replica_id", GUID),
        ("replica_server_name", nvarchar(256)),
        ("group_id", GUID),
        ("join_state", Type::TinyInt),
        ("join_state_desc", nvarchar(60)),
    ]);
    for group in reader.world.groups.values() {
        let Some(replica) = group.replicas.get(reader.instance) else { continue };
        for (name, member) in &replica.known.members {
            let joined = group.replicas.contains_key(name);
            rows.push(vec![
                Value::Guid(member.id),
                text(name),
                Value::Guid(group.id),
                Value::TinyInt(u8::from(joined)),
                text(if joined { "JOINED_STANDALONE_INSTANCE" } else { "NOT_JOINED" }),
            ]);
        }
    }
    Ok(rows)
}

pub fn cluster_nodes(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("group_name", nvarchar(256)),
        ("replica_server_name", nvarchar(256)),
        ("node_name", nvarchar(256)),
    ]);
    for group in reader.world.groups.values().filter(|group| group.cluster == ClusterType::Wsfc) {
        let Some(replica) = group.replicas.get(reader.instance) else { continue };
        for name in replica.known.members.keys() {
            let node = reader.world.servers.get(name).map(|server| server.node.as_str());
            rows.push(vec![text(&group.name), text(name), maybe(node, text)]);
        }
    }
    Ok(rows)
}

pub fn listeners(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[
        ("group_id", GUID),
        ("listener_id", nvarchar(36)),
        ("dns_name", nvarchar(63)),
        ("port", Type::Int),
        ("is_conformant", Type::Bit),
        ("ip_configuration_string_from_cluster", Type::NVarChar { length: 0 }),
    ]);
    for (group, _) in own(reader) {
        let Some(listener) = &group.listener else { continue };
        let (host, port) = listener.address.rsplit_once(':').unwrap_or((listener.address.as_str(), "1433"));
        rows.push(vec![
            Value::Guid(group.id),
            text(crate::sql::value::write_guid(&group.id)),
            text(&listener.name),
            Value::Int(port.parse().unwrap_or(1433)),
            Value::Bit(true),
            text(format!("('IP Address: {host}')")),
        ]);
    }
    Ok(rows)
}

pub fn routing_lists(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    let mut rows = Rows::of(&[("replica_id", GUID), ("routing_priority", Type::Int), ("read_only_replica_id", GUID)]);
    for (_, replica) in own(reader) {
        for member in replica.known.members.values() {
            for (at, name) in member.routing_list.iter().enumerate() {
                if let Some(other) = replica.known.members.get(name) {
                    let priority = Value::Int(i32::try_from(at + 1).unwrap_or(i32::MAX));
                    rows.push(vec![Value::Guid(member.id), priority, Value::Guid(other.id)]);
                }
            }
        }
    }
    Ok(rows)
}

/// The cluster, if this instance's node has quorum in it and groups need one.
fn quorate_cluster<'a>(reader: &'a Reader<'_>) -> Option<&'a crate::world::cluster::Cluster> {
    reader.world.cluster.as_ref().filter(|_| reader.world.quorate(reader.instance))
}

pub fn cluster(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("cluster_name", SYSNAME),
        ("quorum_type", Type::TinyInt),
        ("quorum_type_desc", Type::VarChar { length: 50 }),
        ("quorum_state", Type::TinyInt),
        ("quorum_state_desc", Type::VarChar { length: 50 }),
    ]);
    if let Some(cluster) = quorate_cluster(reader) {
        let witness = cluster.members.iter().any(|member| member.witness);
        rows.push(vec![
            text(&cluster.name),
            Value::TinyInt(if witness { 2 } else { 0 }),
            text(if witness { "NODE_AND_FILE_SHARE_MAJORITY" } else { "NODE_MAJORITY" }),
            Value::TinyInt(if cluster.forced { 2 } else { 1 }),
            text(if cluster.forced { "FORCED_QUORUM" } else { "NORMAL_QUORUM" }),
        ]);
    }
    Ok(rows)
}

pub fn cluster_members(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("member_name", SYSNAME),
        ("member_type", Type::TinyInt),
        ("member_type_desc", nvarchar(50)),
        ("member_state", Type::TinyInt),
        ("member_state_desc", nvarchar(60)),
        ("number_of_quorum_votes", Type::TinyInt),
    ]);
    for member in quorate_cluster(reader).into_iter().flat_map(|cluster| &cluster.members) {
        rows.push(vec![
            text(&member.name),
            Value::TinyInt(if member.witness { 2 } else { 0 }),
            text(if member.witness { "FILE_SHARE_WITNESS" } else { "CLUSTER_NODE" }),
            Value::TinyInt(u8::from(member.up)),
            text(if member.up { "UP" } else { "DOWN" }),
            Value::TinyInt(member.votes),
        ]);
    }
    Ok(rows)
}
