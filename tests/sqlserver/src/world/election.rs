//! What a replica becomes when nobody says it: after a start, after quorum, after the primary's death.
//!
//! Apart from `failover`, which is what people ask for. A replica must never be promoted here that could lose data.

use super::group::{Availability, ClusterType, FailoverMode, Operational, Role, RoleChange};
use super::{Alive, Path, World};

impl World {
    pub(super) fn elect(&mut self, group: &str, now: i64, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        let cluster = found.cluster;
        let instances: Vec<String> = found.replicas.keys().filter(|name| self.runs(alive, name)).cloned().collect();
        if cluster == ClusterType::Wsfc {
            self.watch_leader(group, &instances, now);
        }
        for instance in &instances {
            let Some(replica) = self.replica(instance, group) else { continue };
            let waits = replica.starting_until.is_some_and(|until| now < until);
            let decided = replica.role != Role::Resolving || replica.change.is_some() || replica.taken_offline;
            if waits || decided || replica.operational == Operational::FailedNoQuorum {
                continue;
            }
            match cluster {
                ClusterType::Wsfc => self.settle_in_cluster(group, instance, now),
                ClusterType::External | ClusterType::None => self.settle_alone(group, instance, &instances, now, alive),
            }
        }
        if cluster == ClusterType::Wsfc {
            self.fail_over_automatically(group, &instances, now);
        }
    }

    fn watch_leader(&mut self, group: &str, running: &[String], now: i64) {
        let led = running.iter().any(|name| {
            self.replica(name, group).is_some_and(|replica| {
                replica.leads()
                    || matches!(replica.change, Some(RoleChange::Promotion { .. } | RoleChange::Handover { .. }))
            })
        });
        let resolving = self.doubts.leaderless_resolving;
        let quorate = running.iter().any(|name| self.quorate(name));
        let Some(found) = self.groups.get_mut(group) else { return };
        if led {
            found.leaderless_since = None;
            return;
        }
        // A cluster that has just come back gives the old owner its time too.
        let since = found.leaderless_since.get_or_insert(now);
        if !quorate {
            *since = now;
        }
        if resolving {
            for name in running {
                if let Some(replica) = found.replicas.get_mut(name)
                    && replica.role == Role::Secondary
                {
                    replica.role = Role::Resolving;
                    replica.operational = Operational::Offline;
                }
            }
        }
    }

    fn settle_in_cluster(&mut self, group: &str, instance: &str, now: i64) {
        let Some(found) = self.groups.get(group) else { return };
        let leaderless = found.leaderless_since.is_some();
        if found.owner.as_deref() == Some(instance) {
            if leaderless {
                self.promote(group, instance, None, false, now);
            }
        } else if !(leaderless && self.doubts.leaderless_resolving) {
            self.become_secondary(group, instance);
        }
    }

    fn settle_alone(&mut self, group: &str, instance: &str, running: &[String], now: i64, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        let (cluster, was_primary) =
            (found.cluster, self.replica(instance, group).is_some_and(|replica| replica.was_primary));
        let led = running.iter().any(|other| {
            other != instance
                && self.path(alive, instance, other) == Path::Open
                && self.replica(other, group).is_some_and(super::group::Replica::leads)
        });
        if !was_primary || (cluster == ClusterType::External && led) {
            self.become_secondary(group, instance);
        } else if cluster == ClusterType::None && self.doubts.none_primary_returns {
            self.promote(group, instance, None, false, now);
        }
    }

    pub(super) fn become_secondary(&mut self, group: &str, instance: &str) {
        if let Some(replica) = self.replica_mut(instance, group) {
            replica.role = Role::Secondary;
            replica.operational = Operational::Online;
            replica.change = None;
            replica.starting_until = None;
            replica.was_primary = false;
            replica.taken_offline = false;
            replica.sessions.clear();
            replica.reports.clear();
        }
        self.cut_sessions(instance, group);
        self.stop_group_movement(instance, group);
    }

    fn fail_over_automatically(&mut self, group: &str, running: &[String], now: i64) {
        let detection_ms = self.options.failure_detection_ms;
        let Some(found) = self.groups.get(group) else { return };
        let due = found.leaderless_since.is_some_and(|since| now - since >= detection_ms);
        if !due || self.cluster.as_ref().is_none_or(|cluster| cluster.forced) {
            return;
        }
        let automatic = |name: &str| {
            found.store.members.get(name).is_some_and(|member| {
                member.availability == Availability::Synchronous && member.failover == FailoverMode::Automatic
            })
        };
        let Some(owner) = found.owner.as_deref().filter(|owner| automatic(owner)) else { return };
        let candidate = running.iter().find(|name| {
            *name != owner
                && automatic(name)
                && self.quorate(name)
                && found.store.all_ready(name)
                && self.replica(name, group).is_some_and(|replica| {
                    replica.change.is_none() && replica.starting_until.is_none() && !replica.taken_offline
                })
                && self.all_copies_fit(group, name)
        });
        if let Some(candidate) = candidate.cloned() {
            self.promote(group, &candidate, None, false, now);
        }
    }

    /// Every database of the group is here, joined and not suspended.
    pub(super) fn all_copies_fit(&self, group: &str, instance: &str) -> bool {
        let Some(replica) = self.replica(instance, group) else { return false };
        replica.known.databases.keys().all(|name| {
            self.copy(instance, group, name)
                .and_then(|copy| copy.hadr.as_ref())
                .is_some_and(|hadr| hadr.suspended.is_none())
        })
    }
}
