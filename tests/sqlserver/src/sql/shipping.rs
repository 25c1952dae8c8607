//! Log shipping's procedures, and the Agent's that start and stop its jobs.
//!
//! Apart from the jobs themselves. Deleting a secondary erases its metadata, as the real one does: nothing keeps a copy.

pub mod jobs;

use super::batch::{Batch, Host, done};
use super::procedure::{Call, need_administrator};
use super::run::result_set;
use super::value::read_guid;
use super::view;
use crate::answer::{Answer, Value};
use crate::world::SqlError;
use crate::world::log::Guid;
use crate::world::msdb::{Job, JobKind, Msdb, ShippedDatabase, ShippingPrimary, ShippingSecondary};

/// Nothing where the procedure is not one of these.
pub fn call(batch: &Batch, host: &mut Host<'_>, call: &Call) -> Result<Option<Vec<Answer>>, SqlError> {
    let run: fn(&mut Host<'_>, &Call) -> Result<Vec<Answer>, SqlError> = match call.procedure.as_str() {
        "sp_help_log_shipping_secondary_database" => help_secondary,
        "sp_help_log_shipping_secondary_primary" => help_secondary,
        "sp_help_log_shipping_primary_database" => help_primary,
        "sp_delete_log_shipping_secondary_database" => delete_secondary,
        "sp_delete_log_shipping_primary_database" => delete_primary,
        "sp_delete_log_shipping_primary_secondary" => delete_primary_secondary,
        "sp_add_log_shipping_primary_database" => add_primary,
        "sp_add_log_shipping_primary_secondary" => add_primary_secondary,
        "sp_add_log_shipping_secondary_primary" => add_secondary_primary,
        "sp_add_log_shipping_secondary_database" => add_secondary_database,
        "sp_change_log_shipping_secondary_database" => change_secondary,
        "sp_start_job" => start_job,
        "sp_stop_job" => stop_job,
        "sp_update_job" => update_job,
        "sp_add_jobschedule" => add_schedule,
        _ => return Ok(None),
    };
    need_administrator(batch, host)?;
    run(host, call).map(Some).map_err(|error| error.in_procedure(&call.procedure))
}

fn msdb<'a>(host: &'a mut Host<'_>) -> &'a mut Msdb {
    &mut host.world.servers.get_mut(host.instance).expect("this instance is in its world").msdb
}

fn guid_of(value: &Value) -> Option<Guid> {
    match value {
        Value::Guid(guid) => Some(*guid),
        Value::Text(text) => read_guid(text),
        _ => None,
    }
}

fn help_secondary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let id = call.get("@secondary_id", 1).and_then(guid_of);
    let name = call.text("@secondary_database", 0);
    let primary = call.text("@primary_database", 1);
    let msdb = msdb(host);
    let found = msdb.shipped_to.iter().flat_map(|one| one.databases.iter().map(move |database| (one, database))).find(
        |(one, database)| {
            id == Some(one.id)
                || name.as_ref().is_some_and(|name| database.name.eq_ignore_ascii_case(name))
                || primary.as_ref().is_some_and(|primary| one.primary_database.eq_ignore_ascii_case(primary))
        },
    );
    match found {
        Some((one, database)) => Ok(result_set(view::shipping_secondary(one, database))),
        None => Err(SqlError::new(32014, &[&name.or(primary).unwrap_or_default()])),
    }
}

fn help_primary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let name = call.needed("@database", 0)?;
    let found = msdb(host).shipped_from.iter().find(|one| one.database.eq_ignore_ascii_case(&name));
    match found {
        Some(one) => Ok(result_set(view::shipping_primary(one))),
        None => Err(SqlError::new(32009, &[&name])),
    }
}

fn delete_secondary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    call.only(&["@secondary_database", "@ignoreremotemonitor"])?;
    let name = call.needed("@secondary_database", 0)?;
    let msdb = msdb(host);
    let Some(secondary) = msdb
        .shipped_to
        .iter_mut()
        .find(|one| one.databases.iter().any(|database| database.name.eq_ignore_ascii_case(&name)))
    else {
        return Err(SqlError::new(32014, &[&name]));
    };
    secondary.databases.retain(|database| !database.name.eq_ignore_ascii_case(&name));
    let gone = secondary.databases.is_empty().then_some(secondary.id);
    let agent = secondary.id;
    msdb.history.retain(|one| one.agent != agent || !one.database.eq_ignore_ascii_case(&name));
    if let Some(id) = gone {
        msdb.shipped_to.retain(|one| one.id != id);
        msdb.jobs.retain(|job| job.what != JobKind::Copy(id) && job.what != JobKind::Restore(id));
    }
    Ok(vec![done(None)])
}

fn delete_primary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let name = call.needed("@database", 0)?;
    let msdb = msdb(host);
    let Some(at) = msdb.shipped_from.iter().position(|one| one.database.eq_ignore_ascii_case(&name)) else {
        return Err(SqlError::new(32009, &[&name]));
    };
    if !msdb.shipped_from[at].secondaries.is_empty() {
        return Err(SqlError::new(32025, &[&name]));
    }
    let gone = msdb.shipped_from.remove(at);
    msdb.jobs.retain(|job| job.id != gone.backup_job);
    Ok(vec![done(None)])
}

fn delete_primary_secondary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let name = call.needed("@primary_database", 0)?;
    let server = call.needed("@secondary_server", 1)?;
    let secondary = call.needed("@secondary_database", 2)?;
    let found = msdb(host).shipped_from.iter_mut().find(|one| one.database.eq_ignore_ascii_case(&name));
    let Some(primary) = found else { return Err(SqlError::new(32009, &[&name])) };
    primary
        .secondaries
        .retain(|(one, database)| !(one.eq_ignore_ascii_case(&server) && database.eq_ignore_ascii_case(&secondary)));
    Ok(vec![done(None)])
}

fn minutes(call: &Call, name: &str, otherwise: i32) -> i32 {
    call.number(name, usize::MAX).and_then(|number| i32::try_from(number).ok()).unwrap_or(otherwise)
}

fn add_job(host: &mut Host<'_>, name: &str, what: JobKind) -> Guid {
    let id = host.world.guid();
    let created = host.world.clock;
    let job = Job {
        id,
        name: name.to_owned(),
        // The real procedures leave their jobs to be scheduled and enabled by whoever called them.
        enabled: false,
        what,
        created,
        started: None,
        stopped: None,
        succeeded: false,
        runs: 0,
        schedules: Vec::new(),
    };
    msdb(host).jobs.push(job);
    id
}

fn add_primary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let database = call.needed("@database", 0)?;
    let directory = call.needed("@backup_directory", 1)?;
    let share = call.needed("@backup_share", 2)?;
    let job_name = call.text("@backup_job_name", 3).unwrap_or_else(|| format!("LSBackup_{database}"));
    match host.world.database(host.instance, &database) {
        None => return Err(SqlError::new(911, &[&database])),
        Some(found) if !found.is_online() || found.standby.is_some() => return Err(SqlError::new(32007, &[&database])),
        Some(_) => {}
    }
    if msdb(host).shipped_from.iter().any(|one| one.database.eq_ignore_ascii_case(&database)) {
        return Err(SqlError::unsupported("a second entry for the same log shipping primary"));
    }
    let id = host.world.guid();
    let job = add_job(host, &job_name, JobKind::Backup(database.clone()));
    let instance = host.instance.to_owned();
    msdb(host).shipped_from.push(ShippingPrimary {
        id,
        database,
        backup_directory: directory,
        backup_share: share,
        retention_minutes: minutes(call, "@backup_retention_period", 4320),
        backup_job: job,
        backup_job_name: job_name,
        monitor: call.text("@monitor_server", usize::MAX).unwrap_or(instance),
        last_backup_file: None,
        last_backup: None,
        threshold_minutes: minutes(call, "@backup_threshold", 60),
        history_retention_minutes: minutes(call, "@history_retention_period", 5760),
        secondaries: Vec::new(),
    });
    Ok(outputs(call, &[("@backup_job_id", job), ("@primary_id", id)]))
}

fn add_primary_secondary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let name = call.needed("@primary_database", 0)?;
    let server = call.needed("@secondary_server", 1)?;
    let secondary = call.needed("@secondary_database", 2)?;
    let found = msdb(host).shipped_from.iter_mut().find(|one| one.database.eq_ignore_ascii_case(&name));
    let Some(primary) = found else { return Err(SqlError::new(32009, &[&name])) };
    primary.secondaries.push((server, secondary));
    Ok(vec![done(None)])
}

fn add_secondary_primary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let primary_server = call.needed("@primary_server", 0)?;
    let primary_database = call.needed("@primary_database", 1)?;
    let source = call.needed("@backup_source_directory", 2)?;
    let destination = call.needed("@backup_destination_directory", 3)?;
    let copy_name =
        call.text("@copy_job_name", 4).unwrap_or_else(|| format!("LSCopy_{primary_server}_{primary_database}"));
    let restore_name =
        call.text("@restore_job_name", 5).unwrap_or_else(|| format!("LSRestore_{primary_server}_{primary_database}"));
    let id = host.world.guid();
    let copy = add_job(host, &copy_name, JobKind::Copy(id));
    let restore = add_job(host, &restore_name, JobKind::Restore(id));
    let instance = host.instance.to_owned();
    msdb(host).shipped_to.push(ShippingSecondary {
        id,
        primary_server,
        primary_database,
        source_directory: source,
        destination_directory: destination,
        retention_minutes: minutes(call, "@file_retention_period", 4320),
        copy_job: copy,
        restore_job: restore,
        copy_job_name: copy_name,
        restore_job_name: restore_name,
        monitor: call.text("@monitor_server", usize::MAX).unwrap_or(instance),
        last_copied_file: None,
        last_copied: None,
        databases: Vec::new(),
    });
    Ok(outputs(call, &[("@copy_job_id", copy), ("@restore_job_id", restore), ("@secondary_id", id)]))
}

fn add_secondary_database(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let name = call.needed("@secondary_database", 0)?;
    let primary_server = call.needed("@primary_server", 1)?;
    let primary_database = call.needed("@primary_database", 2)?;
    let found = msdb(host).shipped_to.iter_mut().find(|one| {
        one.primary_server.eq_ignore_ascii_case(&primary_server)
            && one.primary_database.eq_ignore_ascii_case(&primary_database)
    });
    let Some(secondary) = found else {
        return Err(SqlError::new(32023, &[&primary_server, &primary_database]));
    };
    secondary.databases.push(ShippedDatabase {
        name,
        restore_delay_minutes: minutes(call, "@restore_delay", 0),
        restore_all: minutes(call, "@restore_all", 1) != 0,
        standby: minutes(call, "@restore_mode", 0) != 0,
        disconnect_users: minutes(call, "@disconnect_users", 0) != 0,
        restore_threshold_minutes: minutes(call, "@restore_threshold", 45),
        history_retention_minutes: minutes(call, "@history_retention_period", 5760),
        last_restored_file: None,
        last_restored: None,
        last_restored_latency_minutes: 0,
    });
    Ok(vec![done(None)])
}

fn change_secondary(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let name = call.needed("@secondary_database", 0)?;
    let all = msdb(host).shipped_to.iter_mut().flat_map(|one| &mut one.databases);
    let Some(database) = all.into_iter().find(|one| one.name.eq_ignore_ascii_case(&name)) else {
        return Err(SqlError::new(32014, &[&name]));
    };
    database.restore_delay_minutes = minutes(call, "@restore_delay", database.restore_delay_minutes);
    database.restore_all = minutes(call, "@restore_all", i32::from(database.restore_all)) != 0;
    database.standby = minutes(call, "@restore_mode", i32::from(database.standby)) != 0;
    database.disconnect_users = minutes(call, "@disconnect_users", i32::from(database.disconnect_users)) != 0;
    database.restore_threshold_minutes = minutes(call, "@restore_threshold", database.restore_threshold_minutes);
    Ok(vec![done(None)])
}

/// OUTPUT parameters, in the order of the call.
fn outputs(call: &Call, made: &[(&str, Guid)]) -> Vec<Answer> {
    let mut answers = vec![done(None)];
    for (name, _) in &call.arguments {
        if let Some((name, guid)) = made.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            let value = Value::Guid(*guid);
            answers.push(Answer::Output(crate::answer::Parameter { name: (*name).to_owned(), value, output: true }));
        }
    }
    answers
}

fn job_of(host: &mut Host<'_>, call: &Call) -> Result<Guid, SqlError> {
    let id = call.get("@job_id", usize::MAX).and_then(guid_of);
    let name = call.text("@job_name", 0);
    let found = msdb(host).jobs.iter().find(|job| match (&id, &name) {
        (Some(id), _) => job.id == *id,
        (None, Some(name)) => job.name.eq_ignore_ascii_case(name),
        (None, None) => false,
    });
    found.map(|job| job.id).ok_or_else(|| SqlError::new(14262, &["@job_name", &name.unwrap_or_default()]))
}

fn start_job(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let job = job_of(host, call)?;
    if !host.world.servers[host.instance].agent_running {
        return Err(SqlError::new(
            22022,
            &["SQLServerAgent is not currently running so it cannot be notified of this action."],
        ));
    }
    // It returns at once and says nothing of the job's outcome: that is in sysjobactivity and sysjobhistory.
    let cut = jobs::run(host.world, host.instance, Some(host.sessions), job);
    host.cut.extend(cut);
    Ok(vec![done(None)])
}

fn stop_job(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    job_of(host, call)?;
    Err(SqlError::new(22022, &["The specified job is not currently running."]))
}

fn add_schedule(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    call.only(&[
        "@job_name",
        "@job_id",
        "@name",
        "@enabled",
        "@freq_type",
        "@freq_interval",
        "@freq_subday_type",
        "@freq_subday_interval",
    ])?;
    let id = job_of(host, call)?;
    call.needed("@name", usize::MAX)?;
    let next = msdb(host).jobs.iter().flat_map(|job| &job.schedules).max().copied().unwrap_or(0) + 1;
    if let Some(job) = msdb(host).jobs.iter_mut().find(|job| job.id == id) {
        job.schedules.push(next);
    }
    Ok(vec![done(None)])
}

fn update_job(host: &mut Host<'_>, call: &Call) -> Result<Vec<Answer>, SqlError> {
    let id = job_of(host, call)?;
    let enabled = call.number("@enabled", usize::MAX);
    let new_name = call.text("@new_name", usize::MAX);
    if let Some(job) = msdb(host).jobs.iter_mut().find(|job| job.id == id) {
        if let Some(enabled) = enabled {
            job.enabled = enabled != 0;
        }
        if let Some(name) = new_name {
            job.name = name;
        }
    }
    Ok(vec![done(None)])
}
