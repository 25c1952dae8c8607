//! Availability groups as they are: who is what, how far each copy has come. Each instance sees only what it would really see.

use super::{GUID, LSN, SYSNAME, nvarchar};
use crate::answer::{Type, Value};
use crate::sql::reader::Reader;
use crate::sql::rows::{Rows, maybe, moment, text};
use crate::world::SqlError;
use crate::world::database::{Database, Movement, State, Suspension, Times, movement_words};
use crate::world::group::{Availability, ClusterType, Group, Operational, Replica, Role};
use crate::world::lsn::Lsn;

fn health_words(health: u8) -> &'static str {
    ["NOT_HEALTHY", "PARTIALLY_HEALTHY", "HEALTHY"][usize::from(health.min(2))]
}

/// Of one copy, by the movement that it shows and how it is meant to commit.
fn health_of(movement: u8, suspended: bool, mode: Availability) -> u8 {
    match (movement, mode) {
        _ if suspended => 0,
        (2, _) | (1, Availability::Asynchronous | Availability::ConfigurationOnly) => 2,
        (1, Availability::Synchronous) => 1,
        _ => 0,
    }
}

/// What one instance shows of one copy.
struct Copy<'a> {
    database: &'a str,
    id: [u8; 16],
    instance: &'a str,
    is_local: bool,
    is_primary: bool,
    movement: u8,
    mode: Availability,
    state: State,
    suspended: Option<Suspension>,
    end: Lsn,
    redone: Lsn,
    recovery: Lsn,
    times: Times,
    last_commit: Option<(Lsn, i64)>,
    /// None where the other side does not answer.
    unsent_kb: Option<i64>,
    unredone_kb: Option<i64>,
}

fn mode_of(replica: &Replica, instance: &str) -> Availability {
    replica.known.members.get(instance).map_or(Availability::Asynchronous, |member| member.availability)
}

fn local_copy<'a>(
    reader: &'a Reader<'_>,
    replica: &'a Replica,
    name: &'a str,
    database: &'a Database,
) -> Option<Copy<'a>> {
    let hadr = database.hadr.as_ref()?;
    let leads = replica.role == Role::Primary;
    let mode = mode_of(replica, reader.instance);
    // A primary's own copy is what its mode makes of it.
    let movement = match (leads, database.state) {
        (true, State::Online) if replica.taken_offline => 0,
        (true, State::Online) => {
            if mode == Availability::Synchronous {
                2
            } else {
                1
            }
        }
        (true, _) => 0,
        (false, _) => hadr.movement.code(),
    };
    let log = reader.world.log_of(database);
    Some(Copy {
        database: name,
        id: hadr.database,
        instance: reader.instance,
        is_local: true,
        is_primary: leads,
        movement,
        mode,
        state: database.state,
        suspended: hadr.suspended,
        end: database.end,
        redone: database.redone,
        recovery: hadr.recovery,
        times: hadr.times,
        last_commit: log.last_commit(database.fork, if leads { database.end } else { database.redone }),
        unsent_kb: if leads { None } else { Some(0) },
        unredone_kb: if leads { None } else { Some(database.end.kilobytes_since(database.redone)) },
    })
}

/// What the group's views on this instance show: its own copies, and on the primary those that secondaries report.
fn copies<'a>(reader: &'a Reader<'_>, group: &'a Group, replica: &'a Replica) -> Vec<Copy<'a>> {
    let mut found = Vec::new();
    for name in replica.known.databases.keys() {
        if let Some(database) = reader.world.copy(reader.instance, &group.name, name) {
            found.extend(local_copy(reader, replica, name, database));
        }
        if replica.role != Role::Primary {
            continue;
        }
        for ((member, database), report) in &replica.reports {
            if database != name {
                continue;
            }
            let connected = replica.sessions.get(member).is_some_and(|session| session.connected);
            let end = reader.world.copy(reader.instance, &group.name, name).map(|own| own.end);
            found.push(Copy {
                database: name,
                id: replica.known.databases[name],
                instance: member,
                is_local: false,
                is_primary: false,
                movement: if connected { report.movement.code() } else { 0 },
                mode: mode_of(replica, member),
                state: report.state,
                suspended: report.suspended,
                end: report.end,
                redone: report.redone,
                recovery: report.recovery,
                times: report.times,
                last_commit: report.redo_commit,
                unsent_kb: if connected { end.map(|end| end.kilobytes_since(report.end)) } else { None },
                unredone_kb: Some(report.unredone_kb),
            });
        }
    }
    found
}

/// Of one replica, as this instance sees it: the worst of its databases; a replica that is not there is not healthy.
fn replica_health(reader: &Reader<'_>, group: &Group, replica: &Replica, instance: &str) -> u8 {
    let own = instance == reader.instance;
    if own && replica.role == Role::Resolving {
        let kept = reader.world.doubts.resolving_health_kept && replica.known.all_ready(instance);
        return if kept { 2 } else { 0 };
    }
    if !own && !replica.sessions.get(instance).is_some_and(|session| session.connected) {
        return 0;
    }
    let seen = copies(reader, group, replica);
    replica
        .known
        .databases
        .keys()
        .map(|name| {
            seen.iter()
                .find(|copy| copy.instance == instance && copy.database == name)
                .map_or(0, |copy| health_of(copy.movement, copy.suspended.is_some(), copy.mode))
        })
        .min()
        .unwrap_or(2)
}

pub fn replica_states(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("replica_id", GUID),
        ("group_id", GUID),
        ("is_local", Type::Bit),
        ("role", Type::TinyInt),
        ("role_desc", nvarchar(60)),
        ("operational_state", Type::TinyInt),
        ("operational_state_desc", nvarchar(60)),
        ("recovery_health", Type::TinyInt),
        ("recovery_health_desc", nvarchar(60)),
        ("synchronization_health", Type::TinyInt),
        ("synchronization_health_desc", nvarchar(60)),
        ("connected_state", Type::TinyInt),
        ("connected_state_desc", nvarchar(60)),
        ("last_connect_error_number", Type::Int),
        ("last_connect_error_description", nvarchar(1024)),
        ("last_connect_error_timestamp", Type::DateTime),
        ("write_lease_remaining_ticks", Type::BigInt),
        ("current_configuration_commit_start_time_utc", Type::DateTime),
    ]);
    for group in reader.world.groups.values() {
        let Some(replica) = group.replicas.get(reader.instance) else { continue };
        for (name, member) in &replica.known.members {
            let local = name == reader.instance;
            if !local && replica.role != Role::Primary {
                continue;
            }
            let session = if local {
                replica.primary.as_ref().and_then(|one| replica.sessions.get(one))
            } else {
                replica.sessions.get(name)
            };
            let connected = match (local, replica.role) {
                (true, Role::Primary) => true,
                (true, Role::Resolving) => replica.change.is_some(),
                _ => session.is_some_and(|session| session.connected),
            };
            let health = replica_health(reader, group, replica, name);
            let role = if local { Some(replica.role) } else { connected.then_some(Role::Secondary) };
            let operational = local.then_some(replica.operational);
            let recovery = local.then(|| u8::from(local_online(reader, group, replica)));
            let error = session.filter(|_| !connected).and_then(|session| session.error.as_ref());
            rows.push(vec![
                Value::Guid(member.id),
                Value::Guid(group.id),
                Value::Bit(local),
                maybe(role, |role| Value::TinyInt(role.code())),
                maybe(role, |role| text(role.words())),
                maybe(operational, |state: Operational| Value::TinyInt(state.code())),
                maybe(operational, |state: Operational| text(state.words())),
                maybe(recovery, Value::TinyInt),
                maybe(recovery, |online| text(if online == 1 { "ONLINE" } else { "ONLINE_IN_PROGRESS" })),
                Value::TinyInt(health),
                text(health_words(health)),
                Value::TinyInt(u8::from(connected)),
                text(if connected { "CONNECTED" } else { "DISCONNECTED" }),
                maybe(error, |error| Value::Int(error.0)),
                maybe(error, |error| text(&error.1)),
                maybe(error, |error| Value::DateTime(error.2)),
                Value::Null,
                Value::Null,
            ]);
        }
    }
    Ok(rows)
}

fn local_online(reader: &Reader<'_>, group: &Group, replica: &Replica) -> bool {
    replica
        .known
        .databases
        .keys()
        .all(|name| reader.world.copy(reader.instance, &group.name, name).is_some_and(Database::is_online))
}

pub fn group_states(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("group_id", GUID),
        ("primary_replica", SYSNAME),
        ("primary_recovery_health", Type::TinyInt),
        ("primary_recovery_health_desc", nvarchar(60)),
        ("secondary_recovery_health", Type::TinyInt),
        ("secondary_recovery_health_desc", nvarchar(60)),
        ("synchronization_health", Type::TinyInt),
        ("synchronization_health_desc", nvarchar(60)),
    ]);
    for group in reader.world.groups.values() {
        let Some(replica) = group.replicas.get(reader.instance) else { continue };
        let leads = replica.role == Role::Primary;
        let connected =
            replica.primary.as_ref().is_some_and(|name| replica.sessions.get(name).is_some_and(|one| one.connected));
        let known = leads || connected || reader.world.doubts.stale_primary_name;
        let primary = if leads { Some(reader.instance) } else { replica.primary.as_deref().filter(|_| known) };
        let online = u8::from(local_online(reader, group, replica));
        let online_words = if online == 1 { "ONLINE" } else { "ONLINE_IN_PROGRESS" };
        let health = if leads {
            replica.known.members.keys().map(|name| replica_health(reader, group, replica, name)).min().unwrap_or(0)
        } else {
            replica_health(reader, group, replica, reader.instance)
        };
        let (of_primary, of_secondary) = if leads { (Some(online), None) } else { (None, Some(online)) };
        rows.push(vec![
            Value::Guid(group.id),
            maybe(primary, text),
            maybe(of_primary, Value::TinyInt),
            maybe(of_primary, |_| text(online_words)),
            maybe(of_secondary, Value::TinyInt),
            maybe(of_secondary, |_| text(online_words)),
            Value::TinyInt(health),
            text(health_words(health)),
        ]);
    }
    Ok(rows)
}

/// Without quorum, or with a forced one, the cluster's columns are unknown.
fn cluster_unknown(reader: &Reader<'_>, group: &Group) -> bool {
    group.cluster == ClusterType::Wsfc
        && (!reader.world.quorate(reader.instance)
            || reader.world.cluster.as_ref().is_some_and(|cluster| cluster.forced))
}

pub fn database_cluster_states(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let mut rows = Rows::of(&[
        ("replica_id", GUID),
        ("group_database_id", GUID),
        ("database_name", SYSNAME),
        ("is_failover_ready", Type::Bit),
        ("is_pending_secondary_suspend", Type::Bit),
        ("is_database_joined", Type::Bit),
        ("recovery_lsn", LSN),
        ("truncation_lsn", LSN),
    ]);
    for group in reader.world.groups.values() {
        let Some(replica) = group.replicas.get(reader.instance) else { continue };
        let unknown = group.cluster == ClusterType::Wsfc && !reader.world.quorate(reader.instance);
        let config = &replica.known;
        for (name, member) in &config.members {
            for (database, id) in &config.databases {
                let key = (name.clone(), database.clone());
                let flag = |set: &std::collections::BTreeSet<(String, String)>| {
                    if unknown { Value::Null } else { Value::Bit(set.contains(&key)) }
                };
                let own = reader
                    .world
                    .copy(reader.instance, &group.name, database)
                    .filter(|_| replica.leads() && name == reader.instance);
                rows.push(vec![
                    Value::Guid(member.id),
                    Value::Guid(*id),
                    text(database),
                    Value::Bit(config.ready.contains(&key)),
                    flag(&config.pending_suspend),
                    flag(&config.joined),
                    maybe(own.and_then(|own| own.hadr.as_ref()), |hadr| Value::Numeric(hadr.recovery.block())),
                    maybe(own, |own| Value::Numeric(own.log_backed_up_to.unwrap_or(own.end).block())),
                ]);
            }
        }
    }
    Ok(rows)
}

pub fn database_states(reader: &Reader<'_>) -> Result<Rows, SqlError> {
    reader.need_server_state()?;
    let lsn_columns = [
        ("recovery_lsn", LSN),
        ("truncation_lsn", LSN),
        ("last_sent_lsn", LSN),
        ("last_sent_time", Type::DateTime),
        ("last_received_lsn", LSN),
        ("last_received_time", Type::DateTime),
        ("last_hardened_lsn", LSN),
        ("last_hardened_time", Type::DateTime),
        ("last_redone_lsn", LSN),
        ("last_redone_time", Type::DateTime),
        ("log_send_queue_size", Type::BigInt),
        ("log_send_rate", Type::BigInt),
        ("redo_queue_size", Type::BigInt),
        ("redo_rate", Type::BigInt),
        ("filestream_send_rate", Type::BigInt),
        ("end_of_log_lsn", LSN),
        ("last_commit_lsn", LSN),
        ("last_commit_time", Type::DateTime),
        ("low_water_mark_for_ghosts", Type::BigInt),
        ("secondary_lag_seconds", Type::BigInt),
        ("quorum_commit_lsn", LSN),
        ("quorum_commit_time", Type::DateTime),
    ];
    let mut columns = vec![
        ("database_id", Type::Int),
        ("group_id", GUID),
        ("replica_id", GUID),
        ("group_database_id", GUID),
        ("is_local", Type::Bit),
        ("is_primary_replica", Type::Bit),
        ("synchronization_state", Type::TinyInt),
        ("synchronization_state_desc", nvarchar(60)),
        ("is_commit_participant", Type::Bit),
        ("synchronization_health", Type::TinyInt),
        ("synchronization_health_desc", nvarchar(60)),
        ("database_state", Type::TinyInt),
        ("database_state_desc", nvarchar(60)),
        ("is_suspended", Type::Bit),
        ("suspend_reason", Type::TinyInt),
        ("suspend_reason_desc", nvarchar(60)),
    ];
    columns.extend(lsn_columns);
    let mut rows = Rows::of(&columns);
    for group in reader.world.groups.values() {
        let Some(replica) = group.replicas.get(reader.instance) else { continue };
        let unknown = cluster_unknown(reader, group);
        let own_asynchronous = mode_of(replica, reader.instance) == Availability::Asynchronous;
        for copy in copies(reader, group, replica) {
            let member = replica.known.members.get(copy.instance);
            let health = health_of(copy.movement, copy.suspended.is_some(), copy.mode);
            let id = reader.world.database(reader.instance, copy.database).map(|database| database.id);
            // NULL for secondaries where the primary does not wait for anybody.
            let hardened = (copy.is_local || !own_asynchronous).then_some(copy.end);
            let commit = copy.last_commit.filter(|_| !unknown);
            let block = |lsn: Lsn| Value::Numeric(lsn.block());
            let secondary = !copy.is_primary;
            rows.push(vec![
                maybe(id.filter(|_| copy.is_local || replica.leads()), Value::Int),
                Value::Guid(group.id),
                maybe(member, |member| Value::Guid(member.id)),
                Value::Guid(copy.id),
                Value::Bit(copy.is_local),
                Value::Bit(copy.is_primary),
                Value::TinyInt(copy.movement),
                text(movement_words(copy.movement)),
                Value::Bit(replica.leads() && copy.movement == Movement::Synchronized.code()),
                Value::TinyInt(health),
                text(health_words(health)),
                maybe(copy.is_local.then_some(copy.state), |state: State| Value::TinyInt(state.code())),
                maybe(copy.is_local.then_some(copy.state), |state: State| text(state.words())),
                Value::Bit(copy.suspended.is_some()),
                maybe(copy.suspended, |one: Suspension| Value::TinyInt(one.reason.code())),
                maybe(copy.suspended, |one: Suspension| text(one.reason.words())),
                block(copy.recovery),
                block(copy.recovery),
                if secondary { block(copy.end) } else { Value::Null },
                if secondary { moment(copy.times.sent) } else { Value::Null },
                if secondary { block(copy.end) } else { Value::Null },
                if secondary { moment(copy.times.received) } else { Value::Null },
                maybe(hardened, block),
                if secondary { moment(copy.times.hardened) } else { Value::Null },
                if secondary { Value::Numeric(copy.redone.record()) } else { Value::Null },
                if secondary { moment(copy.times.redone) } else { Value::Null },
                maybe(copy.unsent_kb, Value::BigInt),
                maybe(copy.unsent_kb, |_| {
                    Value::BigInt(i64::from(reader.world.send_limit.get(copy.instance).copied().unwrap_or(10_000)))
                }),
                maybe(copy.unredone_kb, Value::BigInt),
                maybe(copy.unredone_kb, |_| {
                    Value::BigInt(i64::from(reader.world.redo_limit.get(copy.instance).copied().unwrap_or(10_000)))
                }),
                Value::Null,
                block(copy.end),
                maybe(commit, |(lsn, _)| Value::Numeric(lsn.record())),
                maybe(commit, |(_, time)| Value::DateTime(time)),
                Value::Null,
                if secondary && replica.leads() { lag(reader, group, &copy) } else { Value::Null },
                Value::Null,
                Value::Null,
            ]);
        }
    }
    Ok(rows)
}

/// How far redo is behind the primary, in seconds.
fn lag(reader: &Reader<'_>, group: &Group, copy: &Copy<'_>) -> Value {
    let own = reader.world.copy(reader.instance, &group.name, copy.database);
    let newest = own.and_then(|own| reader.world.log_of(own).last_commit(own.fork, own.end));
    match (newest, copy.last_commit) {
        (Some((_, newest)), Some((_, redone))) => Value::BigInt((newest - redone).max(0) / 1000),
        _ => Value::Null,
    }
}
