//! FAILOVER, FORCE_FAILOVER_ALLOW_DATA_LOSS, SET (ROLE = SECONDARY), OFFLINE: what they demand, what they begin, how it ends.
//!
//! Apart because the statement only begins; `complete_role_changes` ends it later. A planned failover must never lose a record.

use super::database::{Movement, State, SuspendReason, Suspension};
use super::group::{Availability, ClusterType, Operational, Role, RoleChange};
use super::{Alive, Path, SqlError, World};

/// `sp_set_session_context external_cluster = yes` was said in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalCluster(pub bool);

impl World {
    /// The group's own name, if the instance has it.
    pub fn known_group(&self, instance: &str, group: &str) -> Result<String, SqlError> {
        match self.group_on(instance, group) {
            Some(found) => Ok(found.name.clone()),
            None if self.doubts.unknown_group == 41100 => Err(SqlError::new(41100, &[group])),
            None => Err(SqlError::new(15151, &["alter", "availability group", group])),
        }
    }

    pub fn fail_over(
        &mut self,
        instance: &str,
        group: &str,
        context: ExternalCluster,
        alive: &Alive,
    ) -> Result<(), SqlError> {
        let group = self.known_group(instance, group)?;
        let cluster = self.groups[&group].cluster;
        if cluster == ClusterType::None {
            return Err(SqlError::new(47122, &[&group]));
        }
        self.may_become_primary(instance, &group, cluster, context)?;
        if cluster == ClusterType::Wsfc && self.cluster.as_ref().is_some_and(|cluster| cluster.forced) {
            return Err(SqlError::new(41125, &[&group]));
        }
        let primary = self.reachable_primary(instance, &group, alive);
        if !self.fit_without_loss(instance, &group, primary.as_deref()) {
            return Err(SqlError::new(41142, &[&group]));
        }
        if let Some(primary) = &primary
            && !self.settled(primary, &group)
        {
            return Err(SqlError::new(41138, &[]));
        }
        self.promote(&group, instance, primary, false, self.clock);
        Ok(())
    }

    pub fn force_failover(
        &mut self,
        instance: &str,
        group: &str,
        context: ExternalCluster,
        alive: &Alive,
    ) -> Result<(), SqlError> {
        let group = self.known_group(instance, group)?;
        let cluster = self.groups[&group].cluster;
        self.may_become_primary(instance, &group, cluster, context)?;
        let primary = self.reachable_primary(instance, &group, alive);
        let synchronized = primary.is_some() && self.fit_without_loss(instance, &group, primary.as_deref());
        let forced_quorum = self.cluster.as_ref().is_some_and(|cluster| cluster.forced);
        match cluster {
            ClusterType::Wsfc if synchronized && !forced_quorum => {
                self.promote(&group, instance, primary, false, self.clock);
            }
            ClusterType::Wsfc => self.promote(&group, instance, primary, true, self.clock),
            ClusterType::None if synchronized && self.doubts.none_force_swaps_roles => {
                self.promote(&group, instance, primary, true, self.clock);
            }
            // Nobody tells the old primary.
            ClusterType::None | ClusterType::External => self.promote(&group, instance, None, true, self.clock),
        }
        Ok(())
    }

    fn may_become_primary(
        &self,
        instance: &str,
        group: &str,
        cluster: ClusterType,
        context: ExternalCluster,
    ) -> Result<(), SqlError> {
        let doubts = &self.doubts;
        if cluster == ClusterType::External && !context.0 {
            return Err(SqlError::new(doubts.without_context, &[group, "SQL Server Availability Group"]));
        }
        if cluster == ClusterType::Wsfc && !self.quorate(instance) {
            return Err(SqlError::new(doubts.without_quorum, &[group]));
        }
        let replica = self.replica(instance, group).expect("known_group found this replica");
        if matches!(replica.change, Some(RoleChange::Promotion { .. } | RoleChange::Recovery { .. })) {
            return Err(SqlError::new(41113, &[group]));
        }
        if replica.leads() {
            return Err(SqlError::new(41122, &[group]));
        }
        if replica.change.is_some() || replica.starting_until.is_some() {
            return Err(SqlError::new(41190, &[group, "ALTER"]));
        }
        let configuration_only = replica
            .known
            .members
            .get(instance)
            .is_some_and(|member| member.availability == Availability::ConfigurationOnly);
        if configuration_only {
            return Err(SqlError::new(47109, &[group]));
        }
        Ok(())
    }

    /// A running primary that this instance reaches.
    pub fn reachable_primary(&self, instance: &str, group: &str, alive: &Alive) -> Option<String> {
        let found = self.groups.get(group)?;
        found
            .replicas
            .iter()
            .filter(|(name, replica)| {
                *name != instance
                    && replica.leads()
                    && !replica.taken_offline
                    && self.path(alive, instance, name) == Path::Open
            })
            .max_by_key(|(_, replica)| replica.known.sequence)
            .map(|(name, _)| name.clone())
    }

    /// Whether `instance` could take over now and lose nothing: what the primary says while it lives, else the cluster's word.
    fn fit_without_loss(&self, instance: &str, group: &str, primary: Option<&str>) -> bool {
        let Some(replica) = self.replica(instance, group) else { return false };
        if !self.all_copies_fit(group, instance) || !replica.known.all_ready(instance) {
            return false;
        }
        let synchronous = |name: &str| {
            replica.known.members.get(name).is_some_and(|member| member.availability == Availability::Synchronous)
        };
        let last = primary.map(str::to_owned).or_else(|| replica.primary.clone());
        if !synchronous(instance) || last.is_some_and(|last| !synchronous(&last)) {
            return false;
        }
        let Some(primary) = primary else { return true };
        // What the primary has just committed counts, also before the next report.
        replica.known.databases.keys().all(|name| {
            let source = self.copy(primary, group, name).map(|source| (source.fork, source.end));
            self.copy(instance, group, name).is_some_and(|copy| {
                copy.hadr.as_ref().is_some_and(|hadr| hadr.movement == Movement::Synchronized)
                    && source == Some((copy.fork, copy.end))
            })
        })
    }

    /// Begins the change; `from` hands over.
    pub(super) fn promote(&mut self, group: &str, instance: &str, from: Option<String>, forced: bool, now: i64) {
        let resolving_ms = self.jittered(self.options.failover_resolving_ms);
        let recovering_ms = self.jittered(self.options.failover_recovering_ms);
        let cluster = self.groups.get(group).map(|found| found.cluster);
        let stays = cluster == Some(ClusterType::External) && self.doubts.external_old_primary_stays;
        // A cluster takes the role away also where the replicas do not reach each other.
        let gives: Vec<String> = self
            .groups
            .get(group)
            .into_iter()
            .flat_map(|found| &found.replicas)
            .filter(|(name, replica)| {
                name.as_str() != instance
                    && replica.leads()
                    && (from.as_ref() == Some(*name) || cluster == Some(ClusterType::Wsfc))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for old in &gives {
            if let Some(old) = self.replica_mut(old, group) {
                old.taken_offline = stays;
                if !stays {
                    old.role = Role::Resolving;
                    old.operational = Operational::PendingFailover;
                    old.change = Some(RoleChange::Handover { to: instance.to_owned() });
                }
            }
            self.cut_sessions(old, group);
        }
        if let Some(replica) = self.replica_mut(instance, group) {
            replica.role = Role::Resolving;
            replica.operational = Operational::PendingFailover;
            replica.starting_until = None;
            replica.taken_offline = false;
            replica.change = Some(RoleChange::Promotion { until: now + resolving_ms, recovering_ms, from, forced });
        }
        self.cut_sessions(instance, group);
    }

    pub fn take_offline(&mut self, instance: &str, group: &str) -> Result<(), SqlError> {
        let group = self.known_group(instance, group)?;
        if self.groups[&group].cluster == ClusterType::Wsfc {
            return Err(SqlError::new(47115, &["OFFLINE", &group]));
        }
        let replica = self.replica_mut(instance, &group).expect("known_group found this replica");
        if replica.role == Role::Secondary {
            return Err(SqlError::new(41140, &[&group]));
        }
        replica.role = Role::Resolving;
        replica.operational = Operational::Offline;
        replica.change = None;
        replica.starting_until = None;
        replica.taken_offline = true;
        replica.sessions.clear();
        replica.reports.clear();
        self.cut_sessions(instance, &group);
        Ok(())
    }

    pub fn become_secondary_as_told(&mut self, instance: &str, group: &str) -> Result<(), SqlError> {
        let group = self.known_group(instance, group)?;
        if self.groups[&group].cluster == ClusterType::Wsfc {
            return Err(SqlError::new(47115, &["ROLE", &group]));
        }
        let until = self.clock + self.jittered(self.options.failover_resolving_ms) / 2;
        let replica = self.replica_mut(instance, &group).expect("known_group found this replica");
        match replica.role {
            Role::Secondary => return Ok(()),
            Role::Primary if replica.taken_offline => return Err(SqlError::new(41104, &[&group])),
            Role::Resolving if matches!(replica.change, Some(RoleChange::Promotion { .. })) => {
                return Err(SqlError::new(41104, &[&group]));
            }
            Role::Primary | Role::Resolving => {}
        }
        replica.role = Role::Resolving;
        replica.operational = Operational::Offline;
        replica.change = Some(RoleChange::Demotion { until });
        self.cut_sessions(instance, &group);
        Ok(())
    }

    pub(super) fn complete_role_changes(&mut self, group: &str, now: i64, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        let changing: Vec<(String, RoleChange)> = found
            .replicas
            .iter()
            .filter(|(name, _)| self.runs(alive, name))
            .filter_map(|(name, replica)| Some((name.clone(), replica.change.clone()?)))
            .collect();
        for (instance, change) in changing {
            match change {
                RoleChange::Promotion { until, recovering_ms, from, forced } if now >= until => {
                    self.complete_promotion(group, &instance, from.as_deref(), forced, now + recovering_ms);
                }
                RoleChange::Recovery { until } if now >= until => {
                    if let Some(replica) = self.replica_mut(&instance, group) {
                        replica.operational = Operational::Online;
                        replica.change = None;
                    }
                }
                RoleChange::Handover { to } => self.take_back(group, &instance, &to, now, alive),
                RoleChange::Demotion { until } if now >= until => self.become_secondary(group, &instance),
                _ => {}
            }
        }
    }

    fn complete_promotion(&mut self, group: &str, instance: &str, from: Option<&str>, forced: bool, online_at: i64) {
        let Some(replica) = self.replica_mut(instance, group) else { return };
        replica.role = Role::Primary;
        replica.operational = Operational::Pending;
        replica.change = Some(RoleChange::Recovery { until: online_at });
        replica.primary = Some(instance.to_owned());
        replica.was_primary = false;
        replica.sessions.clear();
        replica.reports.clear();
        replica.known.raise_epoch();
        let databases: Vec<String> = replica.known.databases.keys().cloned().collect();
        let others: Vec<String> = replica.known.members.keys().filter(|name| *name != instance).cloned().collect();
        replica.known.ready.clear();
        replica.known.pending_suspend.clear();
        if forced {
            replica.known.pending_suspend = others
                .iter()
                .flat_map(|other| databases.iter().map(move |database| (other.clone(), database.clone())))
                .collect();
        }
        for name in &databases {
            self.open_as_primary(group, instance, name, online_at);
        }
        self.cut_sessions(instance, group);
        let in_cluster = self.groups.get(group).is_some_and(|found| found.cluster == ClusterType::Wsfc);
        for other in &others {
            let told = Some(other.as_str()) == from;
            let Some(replica) = self.replica(other, group) else { continue };
            let gives_way = matches!(&replica.change, Some(RoleChange::Handover { to }) if to == instance)
                || (in_cluster && (replica.leads() || replica.change.is_some()));
            if gives_way {
                self.become_secondary(group, other);
                if told && !forced && self.doubts.planned_failover_suspends_old_primary {
                    for name in &databases {
                        if let Some(copy) = self.copy_mut(other, group, name) {
                            copy.suspend(Suspension { reason: SuspendReason::Partner, by_primary: false });
                        }
                    }
                }
            }
        }
        if in_cluster && let Some(found) = self.groups.get_mut(group) {
            found.owner = Some(instance.to_owned());
            found.leaderless_since = None;
        }
    }

    /// The copy's log goes on as a fork of its own, from what it has hardened.
    fn open_as_primary(&mut self, group: &str, instance: &str, name: &str, online_at: i64) {
        let fork_id = self.guid();
        let World { logs, servers, .. } = self;
        let Some(copy) = servers.get_mut(instance).and_then(|server| server.databases.get_mut(&name.to_lowercase()))
        else {
            return;
        };
        let Some(hadr) = copy.hadr.as_mut().filter(|hadr| hadr.group == group) else { return };
        let Some(log) = logs.get_mut(&copy.family) else { return };
        let unfit = matches!(hadr.movement, Movement::Reverting { .. } | Movement::Initializing { .. });
        copy.fork = log.fork(copy.fork, copy.end, fork_id);
        copy.redone = copy.end;
        copy.owed = 0;
        copy.redo_owed = 0;
        copy.state = if unfit { State::RecoveryPending } else { State::Recovering { until: online_at } };
        hadr.recovery = copy.end;
        hadr.suspended = None;
        hadr.movement = Movement::NotSynchronizing;
    }

    /// The replica that should have taken over is gone: in a cluster the old primary goes on.
    fn take_back(&mut self, group: &str, instance: &str, to: &str, now: i64, alive: &Alive) {
        let goes_on = self.runs(alive, to)
            && self
                .replica(to, group)
                .is_some_and(|replica| matches!(replica.change, Some(RoleChange::Promotion { .. })) || replica.leads());
        if goes_on {
            return;
        }
        if self.groups.get(group).is_some_and(|found| found.cluster == ClusterType::Wsfc) {
            // What the other had begun ends with its process.
            if let Some(replica) = self.replica_mut(to, group) {
                replica.change = None;
            }
            self.promote(group, instance, None, false, now);
        } else if let Some(replica) = self.replica_mut(instance, group) {
            replica.operational = Operational::Offline;
            replica.change = None;
            replica.was_primary = true;
        }
    }
}
