//! Time passes: what happens in a world without anybody asking for it.
//!
//! Apart because the order of the rules is the whole meaning. The same world, time and lives give the same result; a step
//! must be repeatable without harm (a second call at the same time changes nothing that matters).

use super::database::State;
use super::group::{ClusterType, Operational, Role};
use super::lsn::Lsn;
use super::{Alive, World};

/// A record of the write load, in blocks.
const LOAD_RECORD_BLOCKS: u64 = 2;

impl World {
    pub fn advance(&mut self, now: i64, alive: &Alive) {
        let now = now.max(self.clock);
        let elapsed = now - self.clock;
        self.clock = now;
        self.recover_databases(now, alive);
        let groups: Vec<String> = self.groups.keys().cloned().collect();
        for group in &groups {
            self.lose_quorum(group, now, alive);
            self.complete_role_changes(group, now, alive);
            self.elect(group, now, alive);
            self.connect(group, now, alive);
        }
        self.write_load(elapsed, alive);
        for group in &groups {
            self.replicate(group, elapsed, alive);
            self.publish(group, alive);
        }
        self.trim_logs();
    }

    /// An instance's process begins: nothing of its sessions is left, and its replicas ask again what they are.
    pub fn start(&mut self, instance: &str, now: i64) {
        let start_ms = self.options.start_ms;
        let Some(server) = self.servers.get_mut(instance) else { return };
        server.started_at = now;
        if !std::mem::replace(&mut server.begun, true) {
            return;
        }
        for database in server.databases.values_mut() {
            database.epoch += 1;
            if matches!(database.state, State::Online | State::Recovering { .. }) && database.id > 4 {
                database.state = State::Recovering { until: now + start_ms };
            }
        }
        for group in self.groups.values_mut() {
            if let Some(replica) = group.replicas.get_mut(instance) {
                replica.was_primary |=
                    replica.leads() || matches!(replica.change, Some(super::group::RoleChange::Handover { .. }));
                replica.role = Role::Resolving;
                replica.operational = Operational::Offline;
                replica.change = None;
                replica.starting_until = Some(now + start_ms);
                replica.sessions.clear();
                replica.reports.clear();
            }
        }
        self.stop_movement(instance);
    }

    fn recover_databases(&mut self, now: i64, alive: &Alive) {
        let running: Vec<String> = self.servers.keys().filter(|name| self.runs(alive, name)).cloned().collect();
        for name in running {
            for database in self.servers.get_mut(&name).into_iter().flat_map(|server| server.databases.values_mut()) {
                if let State::Recovering { until } = database.state
                    && now >= until
                {
                    database.state = State::Online;
                    if database.hadr.is_none() {
                        database.redone = database.end;
                    }
                }
            }
        }
    }

    fn write_load(&mut self, elapsed: i64, alive: &Alive) {
        let load = self.options.load.clone();
        for (name, rate) in load {
            let writable: Vec<String> = self
                .servers
                .keys()
                .filter(|server| self.runs(alive, server) && self.takes_writes(server, &name))
                .cloned()
                .collect();
            for server in writable {
                let now = self.clock;
                let Some(database) = self.database_mut(&server, &name) else { continue };
                database.owed += u64::from(rate) * u64::try_from(elapsed).unwrap_or(0);
                let records = database.owed / 1000;
                database.owed %= 1000;
                if records == 0 {
                    continue;
                }
                let (family, fork) = (database.family, database.fork);
                let log = self.logs.get_mut(&family).expect("every database has the log of its family");
                let end = log.append(fork, now, records * LOAD_RECORD_BLOCKS, Vec::new());
                if let Some(database) = self.database_mut(&server, &name) {
                    database.end = end;
                    database.redone = end;
                }
            }
        }
    }

    /// A write would be taken now, and acknowledged without waiting for a replica that is silent.
    pub fn takes_writes(&self, instance: &str, name: &str) -> bool {
        let Some(database) = self.database(instance, name) else { return false };
        if !database.is_online() || database.standby.is_some() || database.read_only {
            return false;
        }
        let Some(hadr) = &database.hadr else { return true };
        let Some(replica) = self.replica(instance, &hadr.group) else { return false };
        replica.leads()
            && !replica.taken_offline
            && replica.operational == Operational::Online
            && !self.commits_wait(instance, &hadr.group, name)
    }

    /// Drops idle records that every copy and every backup has behind it.
    fn trim_logs(&mut self) {
        for (family, log) in &mut self.logs {
            if log.forks.iter().map(|fork| fork.records.len()).sum::<usize>() < 512 {
                continue;
            }
            let needed = self
                .servers
                .values()
                .flat_map(|server| server.databases.values())
                .filter(|database| database.family == *family)
                .map(|database| database.end.min(database.redone))
                .min()
                .unwrap_or(Lsn(0));
            log.trim(needed);
        }
    }

    /// WSFC replicas without quorum are nothing; with quorum again they ask what they are.
    fn lose_quorum(&mut self, group: &str, now: i64, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        if found.cluster != ClusterType::Wsfc {
            return;
        }
        let instances: Vec<String> = found.replicas.keys().filter(|name| self.runs(alive, name)).cloned().collect();
        for instance in instances {
            let quorate = self.quorate(&instance);
            let start_ms = self.options.start_ms;
            let Some(replica) = self.replica_mut(&instance, group) else { continue };
            if !quorate && replica.operational != Operational::FailedNoQuorum {
                replica.was_primary |= replica.leads();
                replica.role = Role::Resolving;
                replica.operational = Operational::FailedNoQuorum;
                replica.change = None;
                replica.starting_until = None;
                replica.sessions.clear();
                replica.reports.clear();
                self.cut_sessions(&instance, group);
                self.stop_group_movement(&instance, group);
            } else if quorate && replica.operational == Operational::FailedNoQuorum {
                replica.operational = Operational::Offline;
                replica.starting_until = Some(now + start_ms);
            }
        }
    }

    /// Sessions in the group's databases on an instance end at its next look.
    pub(super) fn cut_sessions(&mut self, instance: &str, group: &str) {
        if let Some(server) = self.servers.get_mut(instance) {
            for database in server.databases.values_mut() {
                if database.hadr.as_ref().is_some_and(|hadr| hadr.group == group) {
                    database.epoch += 1;
                }
            }
        }
    }
}
