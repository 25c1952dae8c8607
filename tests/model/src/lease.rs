//! The lease, and the role that moves when it has ended: time in ticks, a leader that renews, one that was deposed and has not noticed,
//! two hosts whose agents die and come back, heartbeats and answers that are late or lost, sessions that end.
//!
//! The clocks of all run alike, and a tick is a second: that they do not quite is the one percent that the product adds. A guard is late
//! by as much as the product reckons with and no more. An operator moves the role whenever it pleases, reachable or not.
//!
//! Not in it: orders and their fences ([`orders`](crate::orders)), agents that stand still and go on, machines that restart, a lease
//! whose length is changed, an operator's override, entries that are proposed and not committed.

use std::collections::BTreeSet;

use baton_model::ids::Epoch;
use stateright::{Model, Property};

use crate::{
    interned::{Memo, Table},
    orders::message::Voice,
};

pub mod coordinator;
pub mod host;
pub mod record;

use coordinator::{Beat, Coordinator};
use host::{Host, Told};
use record::{Entry, Record, Role};

/// A safeguard that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Everything is as it is in the product.
    Whole,
    /// The role of a primary that is not heard moves at once.
    TransferWithoutWaiting,
    /// An agent counts from when the answer came.
    CountedFromReceipt,
    /// A new leader does not reckon with what an earlier one has promised.
    NewLeaderTrustsAtOnce,
    /// A leader renews without asking a quorum whether it is one.
    RenewedUnconfirmed,
}

/// Upper bounds, each for the whole exploration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub switch: Switch,
    pub ticks: u8,
    /// Terms in which somebody leads.
    pub terms: u64,
    pub runs: u64,
    /// Heartbeats are late too, not their answers alone.
    pub late_questions: bool,
    pub budget: Budget,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Deaths of agents.
    pub crashes: u8,
    /// Sessions that end.
    pub losses: u8,
    /// Heartbeats of each host.
    pub beats: [u8; 2],
}

/// One state of the world, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    now: u8,
    committed: u32,
    /// The last one leads; the others believe so.
    coordinators: Vec<Coordinator>,
    hosts: [u32; 2],
    /// Every assignment that was ever said, by its number.
    said: BTreeSet<u32>,
    left: Budget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A second.
    Pass,
    Host(usize, host::Step),
    /// A heartbeat is sent to this coordinator.
    Beat {
        host: usize,
        to: usize,
    },
    /// It came, a quorum says that this one leads, and it answers.
    Answer {
        host: usize,
        to: usize,
    },
    Lose(usize),
    Elect,
    Commit(Entry),
}

/// See the module.
#[derive(Debug)]
pub struct Lease {
    extent: Extent,
    records: Table<Record>,
    hosts: Table<Host>,
    said: Table<Told>,
    committing: Memo<(u32, Entry), Option<u32>>,
    acting: Memo<(u32, host::Step, u8), Option<u32>>,
}

const NAMES: [&str; 2] = ["c2", "c1"];

impl Lease {
    pub fn new(extent: Extent) -> Self {
        Self {
            extent,
            records: Table::default(),
            hosts: Table::default(),
            said: Table::default(),
            committing: Memo::default(),
            acting: Memo::default(),
        }
    }

    fn after(&self, record: u32, entry: &Entry) -> Option<u32> {
        let work = || self.records.get(record).after(entry).map(|next| self.records.number(next));
        self.committing.of(&(record, entry.clone()), work)
    }

    fn act(&self, world: &World, host: usize, step: host::Step, now: u8) -> Option<u32> {
        let before = world.hosts[host];
        let work = || {
            let next = self.hosts.get(before).after(step, now, self.extent.switch)?;
            Some(self.hosts.number(next))
        };
        self.acting.of(&(before, step, now), work)
    }

    /// Everybody who leads tells hosts what has changed by what it has applied.
    fn tell(&self, world: &mut World) {
        for coordinator in &mut world.coordinators {
            let record = self.records.get(coordinator.view);
            for host in 0..2 {
                let told = coordinator.tell(&record, host, world.now);
                world.said.extend(told.map(|told| self.said.number(told)));
            }
        }
    }

    fn elect(&self, world: &mut World) {
        let term = world.coordinators.len() as u64 + 1;
        let voice = Voice { coordinator: NAMES[(term % 2) as usize], term };
        let record = self.records.get(world.committed);
        world.coordinators.push(Coordinator::new(voice, world.committed, &record, world.now, self.extent.switch));
    }

    fn leader(world: &World) -> &Coordinator {
        world.coordinators.last().expect("somebody leads from the beginning")
    }

    /// What the leader may commit now.
    fn entries(&self, world: &World) -> Vec<Entry> {
        let record = self.records.get(world.committed);
        let leader = Self::leader(world);
        let mut entries = Vec::new();
        if (record.0.runs.len() as u64) < self.extent.runs {
            entries.push(Entry::Start);
        }
        let awaited = record.awaited();
        for (host, line) in leader.lines.iter().enumerate() {
            // Who takes over last is not taken from.
            let last = record.0.runs.len() as u64 == self.extent.runs;
            if let Some(tenure) = line.tenure.filter(|tenure| !last && tenure.holds && line.session) {
                entries.push(Entry::Hold(host, tenure.epoch));
            }
            let over = |index| leader.calls_over(&record, host, index, world.now, self.extent.switch);
            if awaited.as_ref().is_some_and(|due| over(due.index)) {
                entries.push(Entry::End(host));
            }
        }
        entries
    }

    fn answer(&self, world: &mut World, host: usize, to: usize) -> Option<()> {
        let coordinator = &mut world.coordinators[to];
        let Beat::Sent { at, tenure } = coordinator.lines[host].beat else { return None };
        let record = self.records.get(coordinator.view);
        coordinator.hears(&record, host, tenure);
        let renews = coordinator.renew(&record, host, world.now);
        coordinator.lines[host].beat = Beat::Answered { at, renews };
        Some(())
    }

    fn next(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let now = world.now;
        match step {
            Step::Pass => {
                next.now += 1;
                for host in 0..2 {
                    next.hosts[host] = self.act(world, host, host::Step::Pass, next.now)?;
                }
                next.coordinators.iter_mut().for_each(|coordinator| coordinator.pass(world.now + 1));
            }
            Step::Host(host, step) => {
                let after = self.act(world, host, step, now)?;
                match step {
                    host::Step::Accede(voice) => {
                        let coordinator = next.coordinators.iter_mut().find(|known| known.voice == voice)?;
                        coordinator.lines[host].acknowledged = true;
                    }
                    host::Step::Renew { voice, .. } => {
                        let coordinator = next.coordinators.iter_mut().find(|known| known.voice == voice)?;
                        coordinator.lines[host].beat = Beat::None;
                    }
                    host::Step::Crash => next.left.crashes = next.left.crashes.checked_sub(1)?,
                    _ => {}
                }
                next.hosts[host] = after;
            }
            Step::Beat { host, to } => {
                let tenure = self.hosts.get(world.hosts[host]).tenure(now)?;
                next.left.beats[host] = next.left.beats[host].checked_sub(1)?;
                next.coordinators[to].lines[host].beat = Beat::Sent { at: now, tenure };
                let answers = to + 1 == world.coordinators.len() || self.extent.switch == Switch::RenewedUnconfirmed;
                if answers && !self.extent.late_questions {
                    self.answer(&mut next, host, to)?;
                }
            }
            Step::Answer { host, to } => self.answer(&mut next, host, to)?,
            Step::Lose(host) => {
                next.left.losses = next.left.losses.checked_sub(1)?;
                next.coordinators.last_mut()?.loses(host);
            }
            Step::Elect => self.elect(&mut next),
            Step::Commit(entry) => {
                next.committed = self.after(world.committed, &entry)?;
                next.coordinators.last_mut()?.view = next.committed;
            }
        }
        self.tell(&mut next);
        self.rest(&mut next);
        (next != *world).then_some(next)
    }

    fn beats(&self, world: &World, host: usize, to: usize, steps: &mut Vec<Step>) {
        let coordinator = &world.coordinators[to];
        let leads = to + 1 == world.coordinators.len();
        let voice = coordinator.voice;
        let answers = leads || self.extent.switch == Switch::RenewedUnconfirmed;
        match coordinator.lines[host].beat {
            Beat::Sent { .. } if answers => steps.push(Step::Answer { host, to }),
            Beat::None | Beat::Sent { .. } => {}
            Beat::Answered { at, renews } => {
                steps.push(Step::Host(host, host::Step::Renew { voice, sent: at, renews }));
            }
        }
        if answers && world.left.beats[host] > 0 {
            steps.push(Step::Beat { host, to });
        }
    }

    /// Forgets what nothing can come of any more, so that states which differ in nothing else are one.
    fn rest(&self, world: &mut World) {
        // A deposed one commits nothing, whatever it believes of leases.
        world.coordinators.iter_mut().rev().skip(1).for_each(Coordinator::rest);
        for (number, id) in world.hosts.iter().enumerate() {
            let host = self.hosts.get(*id);
            let gone = |told: &Told| told.host == number && host.takes_no_more(*told);
            world.said.retain(|said| !gone(&self.said.get(*said)));
            let over = world.coordinators.iter_mut().filter(|known| host.obeys_later_than(known.voice));
            over.for_each(|coordinator| coordinator.is_over_for(number));
        }
        let record = self.records.get(world.committed);
        if self.extent.runs == 0 || !record.is_at_rest_after(self.extent.runs) {
            return;
        }
        // The last transfer is over: nobody asks the old primary for anything, and no session matters.
        world.coordinators.iter_mut().for_each(Coordinator::rest);
        let old = usize::from(record.role(0).0 == Role::Primary);
        world.left.losses = 0;
        world.left.beats[old] = 0;
    }

    /// The last transfer is over, the new primary serves, and the old one knows that it is none: nothing can come of it any more.
    fn is_settled(&self, world: &World) -> bool {
        let record = self.records.get(world.committed);
        let over = record.is_at_rest_after(self.extent.runs);
        let [h1, h2] = world.hosts.map(|host| self.hosts.get(host));
        let (old, new) = if record.role(0).0 == Role::Primary { (h2, h1) } else { (h1, h2) };
        over && self.extent.runs > 0 && new.serves && !old.serves && !old.believes_to_be_primary()
    }

    fn count(&self, world: &World, which: impl Fn(&Host) -> bool) -> usize {
        world.hosts.iter().filter(|host| which(&self.hosts.get(**host))).count()
    }
}

impl Model for Lease {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let record = Record::at_the_beginning();
        let voice = Voice { coordinator: NAMES[1], term: 1 };
        let mut coordinator = Coordinator::new(voice, 0, &record, 0, Switch::Whole);
        let hosts = [0, 1].map(|host| {
            coordinator.lines[host].acknowledged = true;
            let told = coordinator.tell(&record, host, 0).expect("a new session is told");
            self.hosts.number(Host::new(host, told))
        });
        let committed = self.records.number(record);
        let left = self.extent.budget;
        vec![World { now: 0, committed, coordinators: vec![coordinator], hosts, said: BTreeSet::new(), left }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if self.is_settled(world) {
            return;
        }
        let record = self.records.get(world.committed);
        if world.now < self.extent.ticks {
            steps.push(Step::Pass);
        }
        for number in 0..2 {
            let host = self.hosts.get(world.hosts[number]);
            steps.extend([host::Step::Stop, host::Step::Start].map(|step| Step::Host(number, step)));
            let said = world.said.iter().map(|said| *self.said.get(*said)).filter(|told| told.host == number);
            steps.extend(said.map(|told| Step::Host(number, host::Step::Hear(told))));
            for (to, coordinator) in world.coordinators.iter().enumerate() {
                // A standby needs to hear of no leader before it is to be more.
                let wanted = self.records.get(coordinator.view).role(number).0 != Role::Standby;
                if !coordinator.lines[number].acknowledged && (wanted || host.is_asked_for()) {
                    steps.push(Step::Host(number, host::Step::Accede(coordinator.voice)));
                }
                // What a standby hears, it needs for nothing here.
                if host.is_asked_for() {
                    self.beats(world, number, to, steps);
                }
            }
            if world.left.crashes > 0 && host.serves {
                steps.push(Step::Host(number, host::Step::Crash));
            }
            // Of who is not primary nobody asks how its lease is.
            let is_primary = record.role(number).0 != Role::Standby;
            if world.left.losses > 0 && is_primary && Self::leader(world).lines[number].session {
                steps.push(Step::Lose(number));
            }
        }
        if (world.coordinators.len() as u64) < self.extent.terms {
            steps.push(Step::Elect);
        }
        steps.extend(self.entries(world).into_iter().map(Step::Commit));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        self.next(world, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one host serves", |model: &Self, world: &World| {
                model.count(world, |host| host.serves) <= 1
            }),
            Property::always("at most one host holds a lease", |model: &Self, world: &World| {
                model.count(world, |host| host.tenure(world.now).is_some_and(|tenure| tenure.holds)) <= 1
            }),
            Property::sometimes(
                "the role moves after its host let go, and the other serves",
                |model: &Self, world: &World| {
                    let moved = model.records.get(world.committed).role(1) == (Role::Primary, Epoch(2));
                    moved && model.hosts.get(world.hosts[1]).serves && Self::leader(world).lines[0].session
                },
            ),
            Property::sometimes(
                "the role moves from a silent primary, and the other serves",
                |model: &Self, world: &World| {
                    let [old, new] = world.hosts.map(|host| model.hosts.get(host));
                    let moved = model.records.get(world.committed).role(1) == (Role::Primary, Epoch(2));
                    moved && new.serves && old.believes_to_be_primary()
                },
            ),
        ]
    }
}
