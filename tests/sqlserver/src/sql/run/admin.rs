//! ALTER AVAILABILITY GROUP, ALTER DATABASE, CREATE and DROP DATABASE.

use super::super::batch::{Batch, Host, done};
use super::super::syntax::{DatabaseAction, GroupAction};
use crate::answer::{Answer, Value};
use crate::world::SqlError;
use crate::world::database::{Access, Database, RecoveryModel, State};
use crate::world::failover::ExternalCluster;
use crate::world::log::Log;
use crate::world::lsn::Lsn;
use crate::world::server::Right;

fn outside_transaction(batch: &Batch, host: &Host<'_>, statement: &str) -> Result<(), SqlError> {
    if batch.reader(host).session().in_transaction() {
        return Err(SqlError::new(574, &[statement]));
    }
    Ok(())
}

/// Rights, database and transaction, as every statement on groups demands them.
fn may_alter_group(batch: &Batch, host: &Host<'_>, group: &str) -> Result<(), SqlError> {
    let reader = batch.reader(host);
    if !reader.session().database.eq_ignore_ascii_case("master") {
        return Err(SqlError::new(35208, &[]));
    }
    outside_transaction(batch, host, "ALTER AVAILABILITY GROUP")?;
    if !reader.server().hadr_enabled {
        return Err(SqlError::new(35221, &[]));
    }
    if !reader.may(Right::AlterAnyAvailabilityGroup) {
        return Err(SqlError::new(15151, &["alter", "availability group", group]));
    }
    Ok(())
}

fn external_context(batch: &Batch, host: &Host<'_>) -> ExternalCluster {
    let session = batch.reader(host).session().context.get("external_cluster").cloned();
    ExternalCluster(matches!(session, Some(Value::Text(text)) if text.eq_ignore_ascii_case("yes")))
}

pub fn alter_group(
    batch: &Batch,
    host: &mut Host<'_>,
    group: &str,
    action: &GroupAction,
    line: i32,
) -> Result<Vec<Answer>, SqlError> {
    may_alter_group(batch, host, group)?;
    let context = external_context(batch, host);
    let (instance, alive) = (host.instance, host.alive);
    let mut said = Vec::new();
    match action {
        GroupAction::FailOver => host.world.fail_over(instance, group, context, alive)?,
        GroupAction::Force => host.world.force_failover(instance, group, context, alive)?,
        GroupAction::RoleSecondary => host.world.become_secondary_as_told(instance, group)?,
        GroupAction::Offline => host.world.take_offline(instance, group)?,
        GroupAction::Modify { replica, options } => {
            said.extend(host.world.modify_replica(instance, group, replica, options)?);
        }
        GroupAction::Set(options) => {
            for option in options {
                host.world.set_group_option(instance, group, option)?;
            }
        }
        GroupAction::WriteLease => {
            host.world.known_group(instance, group)?;
        }
        GroupAction::AddDatabases(names) => {
            for name in names {
                host.world.add_database(instance, group, name)?;
            }
        }
        GroupAction::RemoveDatabases(names) => {
            for name in names {
                host.world.remove_database(instance, group, name)?;
            }
        }
        GroupAction::RemoveReplica(replica) => host.world.remove_replica(instance, group, replica)?,
        GroupAction::Join => return Err(SqlError::unsupported("ALTER AVAILABILITY GROUP … JOIN")),
    }
    let said = said.iter().flat_map(|one| one.messages(line)).map(Answer::Said);
    Ok(said.chain([done(None)]).collect())
}

pub fn drop_group(batch: &Batch, host: &mut Host<'_>, group: &str) -> Result<Vec<Answer>, SqlError> {
    may_alter_group(batch, host, group)?;
    host.world.known_group(host.instance, group)?;
    Err(SqlError::unsupported("DROP AVAILABILITY GROUP"))
}

pub fn alter_database(
    batch: &Batch,
    host: &mut Host<'_>,
    name: &str,
    action: &DatabaseAction,
    line: i32,
) -> Result<Vec<Answer>, SqlError> {
    let name = if name.eq_ignore_ascii_case("current") {
        batch.reader(host).session().database.clone()
    } else {
        name.to_owned()
    };
    if host.world.database(host.instance, &name).is_none() || !batch.reader(host).may(Right::AlterAnyDatabase) {
        return Err(SqlError::new(5011, &[&name]).then(SqlError::new(5069, &[])));
    }
    let (instance, alive) = (host.instance, host.alive);
    let hadr = matches!(
        action,
        DatabaseAction::Suspend | DatabaseAction::Resume | DatabaseAction::Join(_) | DatabaseAction::Leave
    );
    if hadr {
        outside_transaction(batch, host, "ALTER DATABASE")?;
        match action {
            DatabaseAction::Suspend => host.world.suspend_movement(instance, &name)?,
            DatabaseAction::Resume => host.world.resume_movement(instance, &name)?,
            DatabaseAction::Leave => host.world.leave_group(instance, &name)?,
            DatabaseAction::Join(group) => match host.world.join_database(instance, &name, group, alive) {
                // 41145 is information.
                Err(said) if said.class <= 10 => {
                    return Ok(said.messages(line).into_iter().map(Answer::Said).chain([done(None)]).collect());
                }
                joined => joined?,
            },
            _ => {}
        }
        return Ok(vec![done(None)]);
    }
    set_options(host, &name, action).map_err(|error| error.then(SqlError::new(5069, &[])))?;
    Ok(vec![done(None)])
}

fn set_options(host: &mut Host<'_>, name: &str, action: &DatabaseAction) -> Result<(), SqlError> {
    let single_user_on_standby = host.world.doubts.single_user_on_standby;
    let database = host.world.database(host.instance, name).expect("the caller found it");
    let own_name = database.name.clone();
    if database.state == State::Restoring {
        return Err(SqlError::new(5052, &["ALTER DATABASE", "Restoring"]));
    }
    if database.hadr.is_some() && !matches!(action, DatabaseAction::Harmless) {
        return Err(SqlError::new(1468, &[&own_name]));
    }
    if database.standby.is_some() {
        let allowed = matches!(action, DatabaseAction::Access { .. }) && single_user_on_standby;
        if !allowed {
            return Err(SqlError::new(5063, &[&own_name]));
        }
    }
    let others = host.sessions.inside(&own_name, Some(host.spid));
    let single = database.access == Access::Single;
    match action {
        DatabaseAction::Access { access, rollback } => {
            if single && !others.is_empty() && !rollback {
                return Err(SqlError::new(5064, &[&own_name]));
            }
            if *access != Access::Multi && !others.is_empty() {
                if !rollback {
                    return Err(SqlError::new(5061, &[&own_name]));
                }
                host.cut.extend(others);
            }
            host.world.database_mut(host.instance, name).expect("the caller found it").access = *access;
        }
        DatabaseAction::Recovery(model) => {
            let database = host.world.database_mut(host.instance, name).expect("the caller found it");
            database.recovery = *model;
            if *model == RecoveryModel::Simple {
                database.log_backed_up_to = None;
            }
        }
        DatabaseAction::ReadOnly(read_only) => {
            host.world.database_mut(host.instance, name).expect("the caller found it").read_only = *read_only;
        }
        DatabaseAction::Online(online) => {
            let database = host.world.database_mut(host.instance, name).expect("the caller found it");
            database.state = if *online { State::Online } else { State::Offline };
            database.epoch += 1;
            host.cut.extend(others);
        }
        DatabaseAction::Rename(to) => {
            if host.world.database(host.instance, to).is_some() {
                return Err(SqlError::new(1801, &[to]));
            }
            let server = host.world.servers.get_mut(host.instance).expect("this instance is in its world");
            if let Some(mut database) = server.databases.remove(&name.to_lowercase()) {
                database.name.clone_from(to);
                server.databases.insert(to.to_lowercase(), database);
            }
        }
        _ => {}
    }
    Ok(())
}

pub fn create_database(batch: &Batch, host: &mut Host<'_>, name: &str) -> Result<Vec<Answer>, SqlError> {
    outside_transaction(batch, host, "CREATE DATABASE")?;
    if !batch.reader(host).may(Right::AlterAnyDatabase) {
        return Err(SqlError::new(262, &["CREATE DATABASE", "master"]));
    }
    if host.world.database(host.instance, name).is_some() {
        return Err(SqlError::new(1801, &[name]));
    }
    host.world.create_database(host.instance, name);
    Ok(vec![done(None)])
}

pub fn drop_database(
    batch: &Batch,
    host: &mut Host<'_>,
    names: &[String],
    if_exists: bool,
) -> Result<Vec<Answer>, SqlError> {
    outside_transaction(batch, host, "DROP DATABASE")?;
    for name in names {
        let Some(database) = host.world.database(host.instance, name) else {
            if if_exists {
                continue;
            }
            return Err(SqlError::new(3701, &["drop", "database", name]));
        };
        if database.id <= 4 || !batch.reader(host).may(Right::AlterAnyDatabase) {
            return Err(SqlError::new(3701, &["drop", "database", name]));
        }
        if database.hadr.is_some() {
            return Err(SqlError::new(3752, &[name]));
        }
        if !host.sessions.inside(name, None).is_empty() {
            return Err(SqlError::new(3702, &[name]));
        }
        let server = host.world.servers.get_mut(host.instance).expect("this instance is in its world");
        server.databases.remove(&name.to_lowercase());
    }
    Ok(vec![done(None)])
}

impl crate::world::World {
    /// A new, empty, writable database.
    pub fn create_database(&mut self, instance: &str, name: &str) {
        let (family, fork) = (self.guid(), self.guid());
        let at = self.clock;
        self.logs.insert(family, Log::new(family, fork, at));
        let server = self.servers.get_mut(instance).expect("the caller names an instance of this world");
        let id = match name {
            "master" => 1,
            "tempdb" => 2,
            "model" => 3,
            "msdb" => 4,
            _ => server.next_database_id(),
        };
        let database = Database {
            name: name.to_owned(),
            id,
            created: at,
            family,
            fork: 0,
            end: Lsn::START,
            redone: Lsn::START,
            state: State::Online,
            standby: None,
            ready_to_roll_forward: false,
            read_only: false,
            access: Access::Multi,
            recovery: if id <= 4 { RecoveryModel::Simple } else { RecoveryModel::Full },
            log_backed_up_to: None,
            last_full_backup: None,
            hadr: None,
            epoch: 0,
            owed: 0,
            redo_owed: 0,
        };
        server.databases.insert(name.to_lowercase(), database);
    }
}
