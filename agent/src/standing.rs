//! Where this host stands with its groups: assignments, leases, what was seen of components, and what follows from them.
//!
//! Pure, and apart because sessions, executor and guard must have one answer to who may serve here. Moments come in: `_ms` is a clock
//! that counts sleep, a [`Moment`] is for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use baton_model::{
    assignment::{Assignment, Health, Part, Seen, Tenure, Watched},
    ids::{ComponentName, Epoch, GroupName},
    outcome::Fault,
    time::{Moment, Span},
};
use baton_wire::assignment::Renewal;

use crate::{
    assignments::shortest,
    freshness::Freshness,
    lease::{Leases, is_leased},
    ledger::{Assigned, Ruler},
};

pub type Key = (GroupName, ComponentName);

/// See the module. Cloned by who explores what may become of it.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    assigned: Arc<Assigned>,
    ruler: Ruler,
    leases: Leases,
    freshness: Freshness,
    components: BTreeMap<Key, Known>,
    /// Groups whose exclusive components were allowed to run here, and have not all been seen stopped since.
    exposed: BTreeSet<GroupName>,
    /// Rises with each change of what was seen.
    version: u64,
    last_tick_ms: Option<u64>,
    /// The agent is about to end: what it could not stop any more afterwards must not run.
    retired: bool,
}

#[derive(Debug, Clone)]
struct Known {
    seen: Seen,
    version: u64,
    /// The index of the assignment under which it was seen stopped; none where it has been seen otherwise since.
    stopped_under: Option<u64>,
}

/// What the guard does about a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It may run: it is asked how it is. With the index of its assignment: a new one is a reason to ask at once.
    Ask(u64),
    /// It must not run.
    Stop(Stopping),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping {
    pub why: Why,
    pub epoch: Epoch,
    /// Of the assignment: what is seen counts for this one.
    pub index: u64,
    /// How long stopping may take, where the group says so.
    pub within: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Standby,
    Yielding,
    LeaseOver,
    AgentEnds,
}

/// What the host's watchdog is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vigil {
    /// Nothing here would have to be stopped.
    Off,
    /// Serving is allowed: the host lives as long as it is said so. Stopping may take so long.
    Alive(Span),
    /// What must not run has not been seen stopped: if that does not come about, the host resets.
    Fencing,
}

impl Standing {
    /// An agent that has just started: what it was is on disk, and it holds no lease. It has waited since then for a first word.
    pub fn new(assigned: Arc<Assigned>, ruler: Ruler, waiting_ms: u64, now_ms: u64, now: Moment) -> Self {
        let mut standing = Self { ruler, ..Self::default() };
        standing.leases.assigned(&assigned.list, waiting_ms);
        standing.assign(assigned, now_ms, now);
        standing
    }

    /// From now on nothing exclusive of a group with a lease may run here: nobody will be there to stop it.
    pub fn retire(&mut self, now_ms: u64) {
        self.retired = true;
        self.expose(now_ms);
    }

    pub fn accede(&mut self, ruler: Ruler) {
        self.ruler = ruler;
    }

    /// Goes by these from now on. They are on disk.
    pub fn assign(&mut self, assigned: Arc<Assigned>, now_ms: u64, now: Moment) {
        self.leases.assigned(&assigned.list, now_ms);
        let before = std::mem::take(&mut self.components);
        self.version += 1;
        for assignment in &assigned.list {
            let same = self.assigned.of(&assignment.group) == Some(assignment);
            for watched in &assignment.components {
                let key = (assignment.group.clone(), watched.component.clone());
                let known = before.get(&key);
                let seen = known.map(|known| known.seen.clone()).unwrap_or_else(|| Seen {
                    group: assignment.group.clone(),
                    component: watched.component.clone(),
                    health: Health::Unknown,
                    since: now,
                    at: now,
                    what: "not asked yet".to_owned(),
                });
                // All of them are said again; what was seen before this word counts no more, unless it is the same word.
                let stopped_under = known.and_then(|known| known.stopped_under).filter(|_| same);
                self.components.insert(key, Known { seen, version: self.version, stopped_under });
            }
        }
        self.assigned = assigned;
        self.expose(now_ms);
    }

    /// The answer to a heartbeat that was sent then, by a leader that was confirmed. `None` where it is not who rules; else since when, where it
    /// ends a gap in what was heard.
    pub fn confirmed(
        &mut self,
        from: &str,
        term: u64,
        sent_ms: u64,
        renewals: &[Renewal],
        now_ms: u64,
    ) -> Option<Option<u64>> {
        if term == 0 || from != self.ruler.coordinator || term != self.ruler.reign.term {
            return None;
        }
        let gap = self.freshness.confirm(&self.ruler, sent_ms, self.shortest());
        for renewal in renewals {
            if let Some(assignment) = self.assigned.of(&renewal.group) {
                self.leases.renew(assignment, renewal, sent_ms);
            }
        }
        self.expose(now_ms);
        Some(gap)
    }

    /// The guard is at work. True where it, or the machine, stood still for longer than a lease: what was said before counts no
    /// more.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        let shortest = self.shortest();
        // Without a lease the guard looks seldom, and nothing follows from it.
        let before = std::mem::replace(&mut self.last_tick_ms, shortest.map(|_| now_ms));
        let paused = match (before, shortest) {
            (Some(before), Some(lasts)) => now_ms.saturating_sub(before) > lasts.0,
            _ => false,
        };
        if paused {
            self.freshness.paused(now_ms);
        }
        self.expose(now_ms);
        paused
    }

    /// What was seen of a component. `stopped_under`: it does not run, seen after the assignment of this index came.
    pub fn saw(
        &mut self,
        key: &Key,
        health: Health,
        what: String,
        stopped_under: Option<u64>,
        now_ms: u64,
        now: Moment,
    ) {
        let Some(known) = self.components.get_mut(key) else { return };
        if known.seen.health != health || known.seen.what != what {
            self.version += 1;
            known.version = self.version;
        }
        if known.seen.health != health {
            known.seen.since = now;
        }
        known.seen = Seen { health, what, at: now, ..known.seen.clone() };
        known.stopped_under = stopped_under;
        self.expose(now_ms);
    }

    /// Whether an order for this group may begin.
    pub fn may_begin(&self, group: &GroupName, told_ms: Option<u64>, now_ms: u64) -> Result<(), Fault> {
        let Some(lease) = self.assigned.lease(group) else { return Ok(()) };
        self.freshness.may_begin(&self.ruler, lease.lasts, told_ms, now_ms)?;
        // What a run starts before the first renewal would be stopped again when that is late.
        let holds = self.assigned.of(group).is_some_and(is_leased);
        if holds && self.leases.left(group, now_ms).0 == 0 {
            let message = format!("this host is primary of {group} and holds no lease yet");
            return Err(Fault::new(
                "BTN-0445",
                message,
                "See whether this host reaches the leader; retry the step when it does.",
            ));
        }
        Ok(())
    }

    pub fn shortest(&self) -> Option<Span> {
        shortest(&self.assigned.list)
    }

    /// It is primary by its assignment, and may not serve before a leader says a word.
    pub fn wants_word(&self, now_ms: u64) -> bool {
        let primary = self.assigned.list.iter().filter(|of| is_leased(of));
        primary.into_iter().any(|of| self.leases.left(&of.group, now_ms).0 == 0)
    }

    pub fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    /// Every component of this host, and what is to be done about it now.
    pub fn duties(&self, now_ms: u64) -> Vec<(Key, Watched, Duty)> {
        let of = |assignment: &Assignment| {
            let stopping = self.stopping(assignment, now_ms);
            let duty = move |watched: &Watched| match stopping {
                Some(stopping) if watched.exclusive => Duty::Stop(stopping),
                _ => Duty::Ask(assignment.index),
            };
            let key = |watched: &Watched| (assignment.group.clone(), watched.component.clone());
            assignment.components.iter().map(|w| (key(w), w.clone(), duty(w))).collect::<Vec<_>>()
        };
        self.assigned.list.iter().flat_map(of).collect()
    }

    /// The next moment at which somebody must stop by the clock alone.
    pub fn next_end(&self, now_ms: u64) -> Option<u64> {
        self.leases.next_end(now_ms)
    }

    /// What a heartbeat says.
    pub fn tenures(&self, now_ms: u64) -> Vec<Tenure> {
        let of = |assignment: &Assignment| Tenure {
            group: assignment.group.clone(),
            epoch: assignment.epoch,
            index: assignment.index,
            lease_left: self.leases.left(&assignment.group, now_ms),
            // A renewal on its way would let a primary serve again: it is quiet only once it was told to be.
            quiet: !assignment.part.may_serve() && self.all_stopped(assignment),
        };
        self.assigned.list.iter().map(of).collect()
    }

    /// What a heartbeat says that does not change by itself from one moment to the next.
    pub fn told(&self, now_ms: u64) -> Vec<Tenure> {
        let mut tenures = self.tenures(now_ms);
        tenures.iter_mut().for_each(|tenure| tenure.lease_left = Span(u64::from(tenure.lease_left.0 > 0)));
        tenures
    }

    /// What has changed since a version, and the version now.
    pub fn seen_since(&self, version: u64) -> (Vec<Seen>, u64) {
        let new = self.components.values().filter(|known| known.version > version);
        (new.map(|known| known.seen.clone()).collect(), self.version)
    }

    pub fn vigil(&self, now_ms: u64) -> Vigil {
        let exposed = self.exposed.iter().filter_map(|group| self.assigned.of(group));
        let exposed: Vec<&Assignment> = exposed.collect();
        let within = exposed.iter().filter_map(|assignment| assignment.lease).map(|lease| lease.stop_within).min();
        match within {
            None => Vigil::Off,
            Some(within) if exposed.iter().all(|assignment| self.stopping(assignment, now_ms).is_none()) => {
                Vigil::Alive(within)
            }
            Some(_) => Vigil::Fencing,
        }
    }

    fn stopping(&self, assignment: &Assignment, now_ms: u64) -> Option<Stopping> {
        let why = match assignment.part {
            Part::Standby => Why::Standby,
            Part::Yielding => Why::Yielding,
            Part::Primary if assignment.lease.is_some() && self.retired => Why::AgentEnds,
            Part::Primary if assignment.lease.is_some() && !self.leases.allows(&assignment.group, now_ms) => {
                Why::LeaseOver
            }
            Part::Primary | Part::Shared => return None,
        };
        let within = assignment.lease.map(|lease| lease.stop_within);
        Some(Stopping { why, epoch: assignment.epoch, index: assignment.index, within })
    }

    fn all_stopped(&self, assignment: &Assignment) -> bool {
        assignment.components.iter().filter(|watched| watched.exclusive).all(|watched| {
            let key = (assignment.group.clone(), watched.component.clone());
            self.components.get(&key).is_some_and(|known| known.stopped_under == Some(assignment.index))
        })
    }

    fn expose(&mut self, now_ms: u64) {
        let mut exposed = BTreeSet::new();
        for assignment in self.assigned.list.iter().filter(|assignment| assignment.lease.is_some()) {
            let group = &assignment.group;
            let serves = assignment.part == Part::Primary && self.stopping(assignment, now_ms).is_none();
            let was = self.exposed.contains(group);
            let exclusive = assignment.components.iter().any(|watched| watched.exclusive);
            if exclusive && (serves || was && !self.all_stopped(assignment)) {
                exposed.insert(group.clone());
            }
            if serves {
                // It may be started at any moment now: that it did not run before says nothing.
                let of = self.components.iter_mut().filter(|((of, _), _)| of == group);
                of.for_each(|(_, known)| known.stopped_under = None);
            }
        }
        self.exposed = exposed;
    }
}

#[cfg(test)]
mod tests;
