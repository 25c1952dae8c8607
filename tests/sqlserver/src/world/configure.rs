//! Changes of a group's configuration: modes and options of replicas, options of the group.
//!
//! Apart because all of it runs on the primary only and raises the sequence number. A combination that SQL Server refuses must
//! never be stored.

use super::group::{Availability, ClusterType, FailoverMode, Member};
use super::{SqlError, World};

/// One property of `MODIFY REPLICA ON … WITH (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaOption {
    Availability(Availability),
    Failover(FailoverMode),
    SessionTimeout(i32),
    BackupPriority(i32),
    PrimaryAllow(u8),
    SecondaryAllow(u8),
    RoutingUrl(String),
    RoutingList(Vec<String>),
    Endpoint(String),
    SeedingManual(bool),
}

/// One property of `SET (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupOption {
    RequiredSynchronized(i32),
    FailureConditionLevel(i32),
    HealthCheckTimeout(i32),
    DatabaseFailover(bool),
    BackupPreference(u8),
}

/// Synchronous replicas, the primary included, from 2019 on.
const SYNCHRONOUS_MAX: usize = 5;

impl World {
    /// The group, if this instance may change it.
    pub fn led_group(&self, instance: &str, group: &str) -> Result<String, SqlError> {
        let group = self.known_group(instance, group)?;
        let replica = self.replica(instance, &group).expect("known_group found this replica");
        if replica.leads() && !replica.taken_offline {
            return Ok(group);
        }
        Err(if replica.change.is_some() {
            SqlError::new(41190, &[&group, "ALTER"])
        } else {
            SqlError::new(41140, &[&group])
        })
    }

    /// What 41185 says comes back as `Ok(Some(information))`.
    pub fn modify_replica(
        &mut self,
        instance: &str,
        group: &str,
        replica: &str,
        options: &[ReplicaOption],
    ) -> Result<Option<SqlError>, SqlError> {
        let group = self.led_group(instance, group)?;
        let cluster = self.groups[&group].cluster;
        let config = &self.groups[&group].replicas[instance].known;
        let Some((name, before)) = config.members.iter().find(|(name, _)| name.eq_ignore_ascii_case(replica)) else {
            return Err(SqlError::new(35210, &[replica, &group, "41167"]));
        };
        let (name, before) = (name.clone(), before.clone());
        let mut after = before.clone();
        for option in options {
            set(&mut after, option);
        }
        match cluster {
            ClusterType::None if after.failover != FailoverMode::Manual => return Err(SqlError::new(47101, &[&name])),
            ClusterType::External if after.failover != FailoverMode::External => {
                return Err(SqlError::new(47102, &[&name]));
            }
            ClusterType::Wsfc if after.failover == FailoverMode::External => {
                return Err(SqlError::new(47103, &[&name]));
            }
            _ => {}
        }
        if after.availability == Availability::Asynchronous && after.failover == FailoverMode::Automatic {
            return Err(SqlError::new(35211, &["ALTER AVAILABILITY GROUP", &name]));
        }
        let synchronous = config
            .members
            .iter()
            .filter(|(other, member)| **other != name && member.availability == Availability::Synchronous)
            .count();
        if after.availability == Availability::Synchronous && synchronous >= SYNCHRONOUS_MAX {
            return Err(SqlError::new(35212, &["ALTER AVAILABILITY GROUP", "5", &group]));
        }
        if after == before {
            return Ok(Some(SqlError::new(41185, &[&group])));
        }
        after.modified = self.clock;
        self.reconfigure(instance, &group, |config| {
            config.members.insert(name, after);
        });
        Ok(None)
    }

    pub fn set_group_option(&mut self, instance: &str, group: &str, option: &GroupOption) -> Result<(), SqlError> {
        let group = self.led_group(instance, group)?;
        if let GroupOption::RequiredSynchronized(required) = option {
            let secondaries = self.groups[&group].replicas[instance].known.members.len() - 1;
            if usize::try_from(*required).map_or(true, |required| required > secondaries) {
                return Err(SqlError::new(35248, &[&required.to_string(), &group]));
            }
        }
        self.reconfigure(instance, &group, |config| match option {
            GroupOption::RequiredSynchronized(value) => config.required_synchronized = *value,
            GroupOption::FailureConditionLevel(value) => config.failure_condition_level = *value,
            GroupOption::HealthCheckTimeout(value) => config.health_check_timeout_ms = *value,
            GroupOption::DatabaseFailover(value) => config.database_failover = *value,
            GroupOption::BackupPreference(value) => config.backup_preference = *value,
        });
        Ok(())
    }

    /// `REMOVE REPLICA ON`: the replica's databases are RESTORING afterwards.
    pub fn remove_replica(&mut self, instance: &str, group: &str, replica: &str) -> Result<(), SqlError> {
        let group = self.led_group(instance, group)?;
        let config = &self.groups[&group].replicas[instance].known;
        let Some(name) = config.members.keys().find(|name| name.eq_ignore_ascii_case(replica)).cloned() else {
            return Err(SqlError::new(41167, &[replica, &group]));
        };
        let databases: Vec<String> = config.databases.keys().cloned().collect();
        for database in &databases {
            if let Some(copy) = self.copy_mut(&name, &group, database) {
                copy.hadr = None;
                copy.state = super::database::State::Restoring;
                copy.ready_to_roll_forward = true;
                copy.epoch += 1;
            }
        }
        if let Some(found) = self.groups.get_mut(&group) {
            found.replicas.remove(&name);
        }
        if let Some(leader) = self.replica_mut(instance, &group) {
            leader.reports.retain(|(member, _), _| *member != name);
            leader.sessions.remove(&name);
        }
        self.reconfigure(instance, &group, |config| {
            config.members.remove(&name);
            config.ready.retain(|(member, _)| *member != name);
            config.joined.retain(|(member, _)| *member != name);
        });
        Ok(())
    }
}

fn set(member: &mut Member, option: &ReplicaOption) {
    match option {
        ReplicaOption::Availability(value) => member.availability = *value,
        ReplicaOption::Failover(value) => member.failover = *value,
        ReplicaOption::SessionTimeout(seconds) => member.session_timeout_seconds = (*seconds).max(5),
        ReplicaOption::BackupPriority(value) => member.backup_priority = *value,
        ReplicaOption::PrimaryAllow(value) => member.primary_allow = *value,
        ReplicaOption::SecondaryAllow(value) => member.secondary_allow = *value,
        ReplicaOption::RoutingUrl(value) => member.routing_url = Some(value.clone()),
        ReplicaOption::RoutingList(value) => member.routing_list = value.clone(),
        ReplicaOption::Endpoint(value) => member.endpoint = value.clone(),
        ReplicaOption::SeedingManual(value) => member.seeding_manual = *value,
    }
}
