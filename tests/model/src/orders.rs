//! Fencing and dispatch: a leader that commits, deposed ones that do not know it, two hosts whose agents crash, and messages that come
//! late, twice, in any order or never; an operator aborts, skips and retries.
//!
//! Raft itself is taken at its word: one coordinator a term commits, and a new one has everything that was committed; what was only
//! proposed survives an election or does not. The real parts are named in [`record`], [`host`] and [`leader`].
//!
//! Not in it: time (a task or a fence is given up at any moment, in [`lease`](crate::lease) there is time), `parallel`, `retry` of a
//! step, windows, leases that let what was ordered be left out, steps of several hosts, effects that outlive their agent, torn writes.

use std::collections::BTreeSet;

use baton_engine::state::Phase;
use baton_model::plan::Unreachable;
use stateright::{Model, Property};

use crate::{
    interned::{Memo, Table},
    procedure::host_name,
};

pub mod extent;
pub mod host;
pub mod judge;
pub mod leader;
pub mod message;
mod proposals;
pub mod record;

pub use extent::{Actions, Budget, Extent, Switch};
use host::{Host, Rules, Said};
use judge::Broken;
use leader::{Given, Leader, Line};
use message::{Down, Message, Voice};
use record::{Entry, Record};

/// One state of the world, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    committed: u32,
    /// The leader's entry that is on its way to a majority.
    proposed: Option<u32>,
    /// The last one can commit; the others believe so.
    leaders: Vec<Leader>,
    hosts: [u32; 2],
    /// Everything that was ever said.
    said: BTreeSet<u32>,
    left: Budget,
    broken: Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Host(usize, host::Step),
    Propose(Entry),
    Commit,
    /// The next term; what was proposed has survived, or has not.
    Elect {
        survives: bool,
    },
    /// The host's sessions end, and begin anew.
    Cut(usize),
}

/// Who speaks, over which record, to which host, with which given.
type Speech = (Voice, u32, usize, u32);

/// See the module.
#[derive(Debug)]
pub struct Orders {
    extent: Extent,
    records: Table<Record>,
    entries: Table<Entry>,
    hosts: Table<Host>,
    messages: Table<Message>,
    given: Table<Given>,
    committing: Memo<(u32, Entry), Option<u32>>,
    acting: Memo<(u32, host::Step), (u32, Vec<Said>)>,
    speaking: Memo<Speech, (Vec<u32>, u32)>,
}

impl Orders {
    pub fn new(extent: Extent) -> Self {
        Self {
            extent,
            records: Table::default(),
            entries: Table::default(),
            hosts: Table::default(),
            messages: Table::default(),
            given: Table::default(),
            committing: Memo::default(),
            acting: Memo::default(),
            speaking: Memo::default(),
        }
    }

    fn unreachable(&self) -> Unreachable {
        if self.extent.budget.left_out > 0 { Unreachable::Skip } else { Unreachable::Fail }
    }

    fn rules(&self) -> Rules {
        Rules { switch: self.extent.switch, actions: self.extent.actions }
    }

    /// The number of the record that the entry makes; none where it changes nothing.
    fn after(&self, record: u32, entry: &Entry) -> Option<u32> {
        let work = || self.records.get(record).after(entry).map(|next| self.records.number(next));
        self.committing.of(&(record, entry.clone()), work)
    }

    /// What this leader says by what it has applied.
    fn speak(&self, world: &mut World, at: usize, view: u32) {
        for host in 0..2 {
            let Leader { voice, lines, .. } = world.leaders[at];
            if !lines[host].acknowledged {
                continue;
            }
            let (said, given) = self.speaking.of(&(voice, view, host, lines[host].given), || {
                let known = self.given.get(lines[host].given);
                let unrecorded = self.extent.switch == Switch::OrderedUnrecorded;
                let (messages, given) = leader::orders(voice, &self.records.get(view), host, &known, unrecorded);
                let messages = messages.into_iter().map(|message| self.messages.number(message)).collect();
                (messages, self.given.number(given))
            });
            world.said.extend(said);
            world.leaders[at].lines[host].given = given;
        }
    }

    /// A new session of a host with each that leads.
    fn reopen(&self, world: &mut World, at: usize, host: usize) {
        let unasked = self.extent.switch == Switch::ReignNotAnnounced;
        let leader = &mut world.leaders[at];
        let request = leader.lines[host].request + 1;
        leader.lines[host] = Line { request, acknowledged: unasked, given: self.given.number(Given::new()) };
        if unasked {
            let view = leader.view;
            return self.speak(world, at, view);
        }
        let message = leader::announcement(leader.voice, &self.records.get(leader.view), host, request);
        world.said.insert(self.messages.number(message));
    }

    fn lead(&self, world: &mut World, voice: Voice) {
        let line = Line { request: 0, acknowledged: false, given: 0 };
        world.leaders.push(Leader { voice, view: world.committed, lines: [line; 2] });
        for host in 0..2 {
            let at = world.leaders.len() - 1;
            self.reopen(world, at, host);
        }
    }

    fn elect(&self, world: &mut World) {
        let term = world.leaders.last().map_or(0, |leader| leader.voice.term) + 1;
        if self.extent.twin && term == 2 {
            self.lead(world, Voice { coordinator: "c3", term });
        }
        self.lead(world, Voice { coordinator: if term % 2 == 1 { "c1" } else { "c2" }, term });
    }

    fn commit(&self, world: &mut World, entry: &Entry) -> Option<()> {
        world.committed = self.after(world.committed, entry)?;
        Some(())
    }

    fn current(world: &World) -> &Leader {
        world.leaders.last().expect("somebody leads from the beginning")
    }

    /// The outcome is in the log: the agent may forget it.
    fn forget(&self, world: &mut World, entry: &Entry) -> bool {
        let Entry::Report(task, _) = entry else { return false };
        let voice = Self::current(world).voice;
        let what = Down::Forget(task.clone());
        world.said.insert(self.messages.number(Message::Down { voice, host: task.host.clone(), what }))
    }

    fn act(&self, world: &mut World, host: usize, step: &host::Step) -> Option<()> {
        let before = world.hosts[host];
        let work = || {
            let (next, said) = self.hosts.get(before).after(step, self.rules());
            (self.hosts.number(next), said)
        };
        let (after, said) = self.acting.of(&(before, step.clone()), work);
        if self.hosts.get(before).is_fault(step) {
            world.left.faults = world.left.faults.checked_sub(1)?;
        }
        let silent = said.iter().all(|said| match said {
            Said::Up(message) => world.said.contains(&self.messages.number(message.clone())),
            _ => false,
        });
        if after == before && silent {
            return None;
        }
        world.hosts[host] = after;
        for said in said {
            self.take(world, host, said);
        }
        if *step == host::Step::Crash {
            (0..world.leaders.len()).for_each(|at| self.reopen(world, at, host));
        }
        Some(())
    }

    fn take(&self, world: &mut World, host: usize, said: Said) {
        match said {
            Said::Up(message) => {
                world.said.insert(self.messages.number(message));
            }
            Said::Acknowledged { voice, request } => {
                let Some(at) = world.leaders.iter().position(|leader| leader.voice == voice) else { return };
                if world.leaders[at].lines[host].request == request {
                    world.leaders[at].lines[host].acknowledged = true;
                    let view = world.leaders[at].view;
                    self.speak(world, at, view);
                }
            }
            Said::Began(task, index) => world.broken.began(&self.records.get(world.committed), &task, index),
            Said::Acted(task, index) => world.broken.acted(&self.records.get(world.committed), &task, index),
        }
    }

    fn propose(&self, world: &mut World, entry: &Entry) -> Option<()> {
        let Some(after) = self.after(world.committed, entry) else {
            // It is in the log already, and is answered again.
            return self.forget(world, entry).then_some(());
        };
        match entry {
            Entry::Abort(_) | Entry::Skip(..) | Entry::Retry(_) | Entry::Resume(_) => {
                world.left.words = world.left.words.checked_sub(1)?;
            }
            Entry::Expire(_) => world.left.expiries = world.left.expiries.checked_sub(1)?,
            Entry::LeaveOut(_) => world.left.left_out = world.left.left_out.checked_sub(1)?,
            Entry::Start | Entry::Report(..) | Entry::Decline(_) | Entry::Dispatch(_) | Entry::Fenced { .. } => {}
        }
        world.proposed = Some(self.entries.number(entry.clone()));
        if self.extent.switch == Switch::DispatchBeforeCommit {
            let at = world.leaders.len() - 1;
            self.speak(world, at, after);
        }
        Some(())
    }
}

impl Model for Orders {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let nothing = self.given.number(Given::new());
        assert_eq!(nothing, 0, "the first content");
        let begun = Record::initial(self.unreachable()).after(&Entry::Start).expect("the first run starts");
        let hosts = [0, 1].map(|host| self.hosts.number(Host::new(host_name(host), host == 0)));
        let mut world = World {
            committed: self.records.number(begun),
            proposed: None,
            leaders: Vec::new(),
            hosts,
            said: BTreeSet::new(),
            left: self.extent.budget,
            broken: Broken::default(),
        };
        self.elect(&mut world);
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for (number, id) in world.hosts.iter().enumerate() {
            let host = self.hosts.get(*id);
            steps.extend(host.own_steps().into_iter().map(|step| Step::Host(number, step)));
            for message in &world.said {
                let message = self.messages.get(*message);
                if matches!(&*message, Message::Down { host: to, .. } if *to == host.name) {
                    steps.push(Step::Host(number, host::Step::Hear((*message).clone())));
                }
            }
            if world.left.faults > 0 && host.has_something_to_lose() {
                steps.push(Step::Host(number, host::Step::Crash));
            }
            if world.left.cuts > 0 {
                steps.push(Step::Cut(number));
            }
        }
        match world.proposed {
            None => steps.extend(self.proposals(world).into_iter().map(Step::Propose)),
            Some(_) => steps.push(Step::Commit),
        }
        if Self::current(world).voice.term < self.extent.terms {
            steps.push(Step::Elect { survives: false });
            if world.proposed.is_some() {
                steps.push(Step::Elect { survives: true });
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Host(host, step) => self.act(&mut next, host, &step)?,
            Step::Propose(entry) => self.propose(&mut next, &entry)?,
            Step::Commit => {
                let entry = self.entries.get(next.proposed.take()?);
                self.commit(&mut next, &entry)?;
                let at = next.leaders.len() - 1;
                next.leaders[at].view = next.committed;
                self.forget(&mut next, &entry);
                let view = next.committed;
                self.speak(&mut next, at, view);
            }
            Step::Elect { survives } => {
                let proposed = next.proposed.take();
                if let Some(entry) = proposed.filter(|_| survives) {
                    self.commit(&mut next, &self.entries.get(entry))?;
                }
                self.elect(&mut next);
            }
            Step::Cut(host) => {
                next.left.cuts = next.left.cuts.checked_sub(1)?;
                (0..next.leaders.len()).for_each(|at| self.reopen(&mut next, at, host));
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one host serves", |model: &Self, world: &World| {
                let serving = world.hosts.iter().filter(|host| model.hosts.get(**host).serves).count();
                serving <= 1 || model.records.get(world.committed).stop_was_left_out()
            }),
            Property::always("a task has its effect at most once", |model: &Self, world: &World| {
                world.hosts.iter().all(|host| model.hosts.get(*host).effects.values().all(|times| *times <= 1))
            }),
            Property::always("nothing begins without committed authority", |_, world: &World| {
                !world.broken.without_authority
            }),
            Property::always("nothing acts below a fence that was acknowledged", |_, world: &World| {
                !world.broken.below_a_fence
            }),
            Property::always("nothing acts that is known to be over", |_, world: &World| !world.broken.over),
            Property::always("no two leaders are obeyed in one reign", |model: &Self, world: &World| {
                world.hosts.iter().all(|host| model.hosts.get(*host).obeys_one_leader_a_reign())
            }),
            Property::sometimes("a run succeeds", |model: &Self, world: &World| {
                let record = model.records.get(world.committed);
                record.state.runs.values().any(|run| run.phase == Phase::Succeeded)
            }),
            Property::sometimes("the last run succeeds under the last leader", |model: &Self, world: &World| {
                let record = model.records.get(world.committed);
                let all = record.state.runs.len() as u64 == model.extent.runs;
                let over = record.state.runs.values().all(|run| run.phase == Phase::Succeeded);
                all && over && Self::current(world).voice.term == model.extent.terms
            }),
            Property::sometimes(
                "a deposed leader's order is on its way to who obeys another",
                |model: &Self, world: &World| {
                    world.said.iter().any(|message| match &*model.messages.get(*message) {
                        Message::Down { voice, host, what: Down::Execute(..) } => {
                            let at = if *host == host_name(0) { 0 } else { 1 };
                            host::reign(*voice) < model.hosts.get(world.hosts[at]).ledger.ruler.reign
                        }
                        _ => false,
                    })
                },
            ),
            Property::sometimes("an abort ends, with all undone", |model: &Self, world: &World| {
                let record = model.records.get(world.committed);
                record.state.runs.values().any(|run| run.phase == Phase::RolledBack)
            }),
        ]
    }
}
