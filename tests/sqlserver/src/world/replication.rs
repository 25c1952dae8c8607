//! Log moves from a primary to its secondaries; who is connected, synchronized and fit to take over.
//!
//! Apart because it is the part that loses or keeps data. A copy must never be SYNCHRONIZED without holding every
//! acknowledged transaction, and what the primary knows of a secondary is only what that secondary last said.

use super::database::{Movement, State, SuspendReason, Suspension};
use super::group::{Availability, ClusterType, Operational, Report, Role, Session};
use super::lsn::Lsn;
use super::{Alive, Path, World};

impl World {
    /// Sessions between primaries and secondaries begin, fall silent, time out, end.
    pub(super) fn connect(&mut self, group: &str, now: i64, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        let instances: Vec<String> = found.replicas.keys().cloned().collect();
        for instance in &instances {
            let Some(replica) = self.replica(instance, group) else { continue };
            match replica.role {
                _ if !self.runs(alive, instance) => {}
                Role::Secondary => self.follow(group, instance, &instances, now, alive),
                // It still says PRIMARY and leads nobody.
                Role::Primary if replica.taken_offline => {
                    if let Some(replica) = self.replica_mut(instance, group) {
                        replica.sessions.clear();
                        replica.reports.clear();
                    }
                }
                Role::Primary => {
                    for other in &instances {
                        if other != instance {
                            self.hold(group, instance, other, now, alive);
                        }
                    }
                }
                Role::Resolving => {
                    if let Some(replica) = self.replica_mut(instance, group) {
                        replica.sessions.clear();
                    }
                    self.stop_group_movement(instance, group);
                }
            }
        }
    }

    /// A secondary looks for the primary that it should follow.
    fn follow(&mut self, group: &str, instance: &str, instances: &[String], now: i64, alive: &Alive) {
        let best = instances
            .iter()
            .filter(|other| *other != instance && self.path(alive, instance, other) == Path::Open)
            .filter_map(|other| self.replica(other, group).map(|replica| (other, replica)))
            .filter(|(_, replica)| {
                replica.leads() && !replica.taken_offline && replica.known.members.contains_key(instance)
            })
            .max_by_key(|(_, replica)| replica.known.sequence)
            .map(|(other, _)| other.clone());
        let Some(primary) = best else {
            let last = self.replica(instance, group).and_then(|replica| replica.primary.clone());
            if let Some(last) = last {
                let leads = self.replica(&last, group).is_some_and(super::group::Replica::leads);
                let path = if leads { self.path(alive, instance, &last) } else { Path::Closed };
                self.fade(group, instance, &last, path, now);
            }
            return;
        };
        let Some(replica) = self.replica_mut(instance, group) else { return };
        replica.primary = Some(primary.clone());
        replica.sessions.retain(|other, _| *other == primary);
        let met = Session { connected: true, silent_since: None, error: None };
        let newly = replica.sessions.insert(primary.clone(), met).is_none_or(|before| !before.connected);
        if newly {
            self.stop_group_movement(instance, group);
        }
        self.suspend_as_told(group, &primary, instance);
    }

    /// A primary and one of its secondaries.
    fn hold(&mut self, group: &str, primary: &str, other: &str, now: i64, alive: &Alive) {
        let path = match self.replica(other, group).map(|replica| replica.role) {
            // A replica that is resolving, or that leads itself, is no partner, whatever the network does.
            Some(Role::Secondary) => self.path(alive, primary, other),
            _ if self.path(alive, primary, other) == Path::Silent => Path::Silent,
            _ => Path::Closed,
        };
        let follows = self.replica(other, group).and_then(|replica| replica.primary.clone());
        if path == Path::Open && follows.as_deref().is_none_or(|name| name == primary) {
            if let Some(replica) = self.replica_mut(primary, group) {
                replica.sessions.insert(other.to_owned(), Session { connected: true, silent_since: None, error: None });
            }
        } else {
            self.fade(group, primary, other, if path == Path::Open { Path::Closed } else { path }, now);
        }
    }

    /// A session without answers: silent for the time of its timeout, then disconnected.
    fn fade(&mut self, group: &str, instance: &str, other: &str, path: Path, now: i64) {
        let Some(replica) = self.replica_mut(instance, group) else { return };
        let timeout_ms =
            replica.known.members.get(other).map_or(10_000, |one| i64::from(one.session_timeout_seconds) * 1000);
        let session = replica.sessions.entry(other.to_owned()).or_insert(Session {
            connected: false,
            silent_since: None,
            error: None,
        });
        if session.connected {
            let since = *session.silent_since.get_or_insert(now);
            if path == Path::Silent && now - since < timeout_ms {
                return;
            }
        }
        let (number, reason) = if path == Path::Silent {
            (
                35201,
                "A connection timeout has occurred while attempting to establish a connection to availability replica",
            )
        } else {
            (35206, "A connection timeout has occurred on a previously established connection to availability replica")
        };
        session.connected = false;
        session.silent_since = None;
        session.error.get_or_insert((number, format!("{reason} '{other}'."), now));
        let leads = replica.leads();
        if leads {
            for ((instance, _), report) in &mut replica.reports {
                if instance == other {
                    report.movement = Movement::NotSynchronizing;
                }
            }
            replica.known.ready.retain(|(instance, _)| instance != other);
        } else {
            self.stop_group_movement(instance, group);
        }
    }

    /// A forced failover happened: the secondary that hears of it suspends.
    fn suspend_as_told(&mut self, group: &str, primary: &str, instance: &str) {
        let Some(leader) = self.replica(primary, group) else { return };
        let told: Vec<String> = leader
            .known
            .pending_suspend
            .iter()
            .filter(|(other, _)| other == instance)
            .map(|(_, database)| database.clone())
            .collect();
        for database in told {
            if let Some(copy) = self.copy_mut(instance, group, &database) {
                copy.suspend(Suspension { reason: SuspendReason::Partner, by_primary: false });
            }
            if let Some(leader) = self.replica_mut(primary, group) {
                leader.known.pending_suspend.remove(&(instance.to_owned(), database));
            }
        }
    }

    pub(super) fn stop_group_movement(&mut self, instance: &str, group: &str) {
        if let Some(server) = self.servers.get_mut(instance) {
            for hadr in server.databases.values_mut().filter_map(|database| database.hadr.as_mut()) {
                if hadr.group == group {
                    hadr.movement = Movement::NotSynchronizing;
                }
            }
        }
    }

    pub(super) fn stop_movement(&mut self, instance: &str) {
        if let Some(server) = self.servers.get_mut(instance) {
            for hadr in server.databases.values_mut().filter_map(|database| database.hadr.as_mut()) {
                hadr.movement = Movement::NotSynchronizing;
            }
        }
    }

    /// Both ends commit synchronously.
    pub fn synchronous_pair(&self, group: &str, primary: &str, other: &str) -> bool {
        self.replica(primary, group).is_some_and(|replica| {
            [primary, other].iter().all(|name| {
                replica.known.members.get(*name).is_some_and(|member| member.availability == Availability::Synchronous)
            })
        })
    }

    pub(super) fn replicate(&mut self, group: &str, elapsed: i64, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        let primaries: Vec<String> = found
            .replicas
            .iter()
            .filter(|(name, replica)| replica.leads() && !replica.taken_offline && self.runs(alive, name))
            .map(|(name, _)| name.clone())
            .collect();
        for primary in primaries {
            let Some(leader) = self.replica(&primary, group) else { continue };
            let databases: Vec<String> = leader.known.databases.keys().cloned().collect();
            let members: Vec<String> = leader.known.members.keys().filter(|name| **name != primary).cloned().collect();
            for member in members {
                let with = self.replica(&primary, group).and_then(|leader| leader.sessions.get(&member)).cloned();
                let back = self.replica(&member, group).and_then(|replica| replica.sessions.get(&primary)).cloned();
                let open = [with, back].iter().all(|session| session.as_ref().is_some_and(|one| one.connected))
                    && self.path(alive, &primary, &member) == Path::Open;
                for database in &databases {
                    if open {
                        self.move_log(group, &primary, &member, database, elapsed);
                        self.report(group, &primary, &member, database);
                    }
                    self.wait_no_more(group, &primary, &member, database);
                    self.judge_readiness(group, &primary, &member, database);
                }
            }
            self.judge_own_readiness(group, &primary, &databases);
        }
    }

    fn move_log(&mut self, group: &str, primary: &str, member: &str, name: &str, elapsed: i64) {
        let now = self.clock;
        let Some(source) = self.copy(primary, group, name) else { return };
        if !source.is_online() {
            return;
        }
        let (family, fork, source_end) = (source.family, source.fork, source.end);
        let synchronous = self.synchronous_pair(group, primary, member);
        let options = self.options.clone();
        let send_limit = self.send_limit.get(member).copied();
        let redo_limit = self.redo_limit.get(member).copied();
        let World { logs, servers, .. } = self;
        let Some(log) = logs.get(&family) else { return };
        let Some(copy) = servers.get_mut(member).and_then(|server| server.databases.get_mut(&name.to_lowercase()))
        else {
            return;
        };
        if copy.family != family || !copy.is_online() {
            return;
        }
        let (held, end) = (copy.fork, copy.end);
        let Some(hadr) = copy.hadr.as_mut().filter(|hadr| hadr.group == group && hadr.suspended.is_none()) else {
            return;
        };
        // The primary went on along another path while this copy slept.
        if hadr.movement.moves() && held != fork {
            hadr.movement = Movement::NotSynchronizing;
        }
        match hadr.movement {
            Movement::NotSynchronizing => hadr.movement = Movement::Connecting { until: now + options.connect_ms },
            Movement::Connecting { until } | Movement::Initializing { until } if now >= until => {
                let common = log.common(held, end, fork);
                if common < end {
                    hadr.movement = Movement::Reverting { until: now + options.revert_ms, to: common };
                } else {
                    copy.fork = fork;
                    hadr.movement = Movement::Synchronizing { since: now };
                }
            }
            Movement::Reverting { until, to } if now >= until => {
                let to = to.min(log.common(held, end, fork));
                copy.end = to;
                copy.redone = copy.redone.min(to);
                copy.fork = fork;
                hadr.recovery = to;
                hadr.movement = Movement::Synchronizing { since: now };
            }
            _ => {}
        }
        if !hadr.movement.moves() {
            return;
        }
        let reach = if synchronous {
            source_end
        } else {
            log.committed_by(fork, source_end, now - options.asynchronous_lag_ms).max(copy.end)
        };
        let sent = limited(log, fork, copy.end, reach, send_limit, &mut copy.owed, elapsed);
        if sent > copy.end {
            copy.end = sent;
            hadr.times.sent = now;
            hadr.times.received = now;
            hadr.times.hardened = now;
        }
        let redo = log.committed_by(fork, copy.end, now - options.redo_lag_ms).max(copy.redone).min(copy.end);
        let redone = limited(log, fork, copy.redone, redo, redo_limit, &mut copy.redo_owed, elapsed);
        if redone > copy.redone {
            copy.redone = redone;
            hadr.times.redone = now;
        }
        hadr.movement = match hadr.movement {
            Movement::Synchronizing { since }
                if synchronous && copy.end == source_end && now - since >= options.synchronize_ms =>
            {
                Movement::Synchronized
            }
            Movement::Synchronized if !synchronous => Movement::Synchronizing { since: now },
            other => other,
        };
    }

    fn report(&mut self, group: &str, primary: &str, member: &str, name: &str) {
        let source = self.copy(primary, group, name).map(|source| (source.fork, source.end));
        let key = (member.to_owned(), name.to_owned());
        let made = self.copy(member, group, name).and_then(|copy| {
            let hadr = copy.hadr.as_ref()?;
            let log = self.log_of(copy);
            let unsent_kb = source.map_or(0, |(_, end)| end.kilobytes_since(copy.end));
            Some(Report {
                movement: hadr.movement,
                suspended: hadr.suspended,
                state: copy.state,
                fork: copy.fork,
                end: copy.end,
                redone: copy.redone,
                recovery: hadr.recovery,
                times: hadr.times,
                last_commit: log.last_commit(copy.fork, copy.end),
                redo_commit: log.last_commit(copy.fork, copy.redone),
                unsent_kb,
                unredone_kb: copy.end.kilobytes_since(copy.redone),
            })
        });
        let Some(leader) = self.replica_mut(primary, group) else { return };
        match made {
            Some(report) => {
                leader.known.joined.insert(key.clone());
                leader.reports.insert(key, report);
            }
            None => {
                leader.known.joined.remove(&key);
                leader.reports.remove(&key);
            }
        }
    }

    /// A primary does not count on a replica that it does not commit with synchronously, also while that does not answer.
    fn wait_no_more(&mut self, group: &str, primary: &str, member: &str, name: &str) {
        if self.synchronous_pair(group, primary, member) {
            return;
        }
        let since = self.clock;
        let Some(leader) = self.replica_mut(primary, group) else { return };
        if let Some(report) = leader.reports.get_mut(&(member.to_owned(), name.to_owned()))
            && report.movement == Movement::Synchronized
        {
            report.movement = Movement::Synchronizing { since };
        }
    }

    /// A secondary that learns that it commits asynchronously is not SYNCHRONIZED any more.
    fn heed_modes(&mut self, group: &str, instance: &str) {
        let since = self.clock;
        let Some(replica) = self.replica(instance, group) else { return };
        if replica.role != Role::Secondary {
            return;
        }
        let synchronous = [Some(instance), replica.primary.as_deref()].into_iter().flatten().all(|name| {
            replica.known.members.get(name).is_none_or(|member| member.availability == Availability::Synchronous)
        });
        if synchronous {
            return;
        }
        let Some(server) = self.servers.get_mut(instance) else { return };
        for hadr in server.databases.values_mut().filter_map(|database| database.hadr.as_mut()) {
            if hadr.group == group && hadr.movement == Movement::Synchronized {
                hadr.movement = Movement::Synchronizing { since };
            }
        }
    }

    /// `is_failover_ready` as the primary records it. Without quorum it can record nothing.
    fn judge_readiness(&mut self, group: &str, primary: &str, member: &str, name: &str) {
        if self.groups.get(group).is_some_and(|group| group.cluster == ClusterType::Wsfc) && !self.quorate(primary) {
            return;
        }
        let Some(leader) = self.replica_mut(primary, group) else { return };
        let key = (member.to_owned(), name.to_owned());
        let connected = leader.sessions.get(member).is_some_and(|session| session.connected);
        let synchronized = leader.reports.get(&key).is_some_and(|report| report.movement == Movement::Synchronized);
        if connected && synchronized {
            leader.known.ready.insert(key);
        } else {
            leader.known.ready.remove(&key);
        }
    }

    fn judge_own_readiness(&mut self, group: &str, primary: &str, databases: &[String]) {
        for name in databases {
            let online = self.copy(primary, group, name).is_some_and(|copy| copy.state == State::Online);
            let Some(leader) = self.replica_mut(primary, group) else { return };
            let synchronous = leader
                .known
                .members
                .get(primary)
                .is_some_and(|member| member.availability == Availability::Synchronous);
            let key = (primary.to_owned(), name.clone());
            leader.known.joined.insert(key.clone());
            leader.known.pending_suspend.remove(&key);
            if online && synchronous {
                leader.known.ready.insert(key);
            } else {
                leader.known.ready.remove(&key);
            }
        }
    }

    /// A commit would wait: for a silent replica, or for a number of synchronized replicas that is not there.
    pub fn commits_wait(&self, instance: &str, group: &str, name: &str) -> bool {
        let Some(replica) = self.replica(instance, group) else { return false };
        let synchronized = self.synchronized_with(instance, group, name);
        synchronized
            .iter()
            .any(|member| replica.sessions.get(*member).is_some_and(|session| session.silent_since.is_some()))
            || synchronized.len() < usize::try_from(replica.known.required_synchronized).unwrap_or(0)
    }

    /// The secondaries that a commit on `instance` waits for.
    pub fn synchronized_with(&self, instance: &str, group: &str, name: &str) -> Vec<&str> {
        let Some(replica) = self.replica(instance, group) else { return Vec::new() };
        replica
            .reports
            .iter()
            .filter(|((_, database), report)| {
                database.eq_ignore_ascii_case(name) && report.movement == Movement::Synchronized
            })
            .filter(|((member, _), _)| replica.sessions.get(member).is_some_and(|session| session.connected))
            .map(|((member, _), _)| member.as_str())
            .collect()
    }

    /// A primary's configuration reaches whom it can reach.
    pub(super) fn publish(&mut self, group: &str, alive: &Alive) {
        let Some(found) = self.groups.get(group) else { return };
        let instances: Vec<String> = found.replicas.keys().cloned().collect();
        if found.cluster == ClusterType::Wsfc {
            let owner = found.owner.clone().filter(|owner| self.runs(alive, owner) && self.quorate(owner));
            let leads = owner.filter(|owner| self.replica(owner, group).is_some_and(super::group::Replica::leads));
            let learners: Vec<String> =
                instances.iter().filter(|name| self.runs(alive, name) && self.quorate(name)).cloned().collect();
            let Some(found) = self.groups.get_mut(group) else { return };
            if let Some(owner) = &leads
                && let Some(leader) = found.replicas.get(owner)
            {
                found.store = leader.known.clone();
            }
            for learner in learners.iter().filter(|name| Some(*name) != leads.as_ref()) {
                if let Some(replica) = found.replicas.get_mut(learner) {
                    replica.known = found.store.clone();
                }
            }
            for learner in learners {
                self.heed_modes(group, &learner);
            }
            return;
        }
        for instance in &instances {
            let Some(replica) = self.replica(instance, group) else { continue };
            let primary =
                replica.sessions.iter().find(|(_, session)| session.connected && session.silent_since.is_none());
            let Some(primary) = primary.map(|(name, _)| name.clone()).filter(|_| replica.role == Role::Secondary)
            else {
                continue;
            };
            if self.path(alive, instance, &primary) != Path::Open {
                continue;
            }
            let Some(known) = self.replica(&primary, group).map(|leader| leader.known.clone()) else { continue };
            if let Some(replica) = self.replica_mut(instance, group)
                && known.sequence >= replica.known.sequence
            {
                replica.known = known;
            }
            self.heed_modes(group, instance);
        }
    }

    /// Is this replica's view of its group worth anything: it is neither resolving nor failed.
    pub fn settled(&self, instance: &str, group: &str) -> bool {
        self.replica(instance, group)
            .is_some_and(|replica| replica.role != Role::Resolving && replica.operational == Operational::Online)
    }
}

/// How far a stream comes in `elapsed` ms with a limit in KB per second; the rest of an allowance is kept for the next record.
fn limited(
    log: &super::log::Log,
    fork: usize,
    from: Lsn,
    reach: Lsn,
    limit: Option<u32>,
    owed: &mut u64,
    elapsed: i64,
) -> Lsn {
    let Some(limit) = limit else {
        *owed = 0;
        return reach;
    };
    if reach <= from {
        *owed = 0;
        return from;
    }
    *owed += u64::from(limit) * u64::try_from(elapsed).unwrap_or(0);
    let allowed = from.after(*owed / 500);
    let to = log.whole(fork, reach.min(allowed)).max(from);
    *owed -= (to.0 - from.0) * 500;
    to
}
