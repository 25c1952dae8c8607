//! A host of a group with a lease: an agent, what it has on disk, and the one component that must not run on two hosts.
//!
//! Real: which reigns and assignments are taken (`decide`, `assignments`), and everything that follows from them and from renewals
//! (`standing`, and below it `lease` and `freshness`). A model of `guard/*`: it stops what must not run, some time after it must not,
//! and sees it stopped; and of a run's start, which begins whenever the agent lets it.

use std::sync::Arc;

use baton_agent::{
    assignments, decide, lease,
    ledger::{Change, Ledger},
    standing::{Duty, Key, Standing},
};
use baton_model::{
    assignment::{Assignment, Health, Part, Watched},
    fence::Fence,
    group::FIRST_WORD,
    ids::Epoch,
    outcome::Fault,
    time::{Moment, Span},
};
use baton_wire::assignment::{Assigning, Renewal};

use super::{
    Switch,
    record::{LEASE, Role},
};
use crate::{
    orders::{host::reign, message::Voice},
    procedure::{group_name, member, name},
};

/// So long after it must not run any more the component is stopped at the latest: the lateness that `Lease::surely_over` reckons with,
/// the time in which a dead agent is started again in it, and the stopping itself.
const LATE_MS: u64 = 3_000 + LEASE.stop_within.0;
/// As long as the lease: what is shorter happens within a tick.
const TICK_MS: u64 = LEASE.lasts.0;
/// What is seen of the component decides nothing but whether it runs, and each change of it would count.
const NOT_ASKED: &str = "not asked yet";
/// The clock is not at its very beginning.
const BEGINNING_MS: u64 = 100_000;

pub fn ms(tick: u8) -> u64 {
    BEGINNING_MS + u64::from(tick) * TICK_MS
}

#[derive(Debug, Clone)]
pub struct Host {
    number: usize,
    /// On disk.
    ledger: Ledger,
    /// Lost with the process.
    standing: Standing,
    /// The component runs, agent or no agent.
    pub serves: bool,
    /// Since when it has run although it must not any more.
    overdue_ms: Option<u64>,
}

/// What this host is, as one coordinator has told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Told {
    pub voice: Voice,
    pub host: usize,
    pub index: u64,
    pub role: Role,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Its coordinator says that it leads.
    Accede(Voice),
    Hear(Told),
    /// The answer to a heartbeat that was sent at this tick, with what it renews.
    Renew {
        voice: Voice,
        sent: u8,
        renews: Option<(Epoch, u64)>,
    },
    /// The guard stops what must not run, and sees it stopped.
    Stop,
    /// A run starts the component.
    Start,
    /// The agent dies, and is started again.
    Crash,
    /// A tick has passed.
    Pass,
}

/// What a heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenure {
    pub epoch: Epoch,
    pub index: u64,
    pub holds: bool,
    pub quiet: bool,
}

impl Host {
    /// As the first leader's first word has left it: `h1` serves, and waits for its first renewal.
    pub fn new(number: usize, told: Told) -> Self {
        let mut ledger = Ledger::default();
        let changes = decide::accede(&ledger, told.voice.coordinator, reign(told.voice), &[], &[]);
        changes.expect("nobody ruled before").into_iter().for_each(|change| ledger.apply(change));
        let mut host = Self { number, ledger, standing: Standing::default(), serves: number == 0, overdue_ms: None };
        host.start_agent(0);
        host.hear(told, 0);
        // The standby has looked: nothing runs there.
        host.after(Step::Stop, 0, Switch::Whole).unwrap_or(host)
    }

    fn key(&self) -> Key {
        (group_name(), name("worker"))
    }

    fn start_agent(&mut self, now: u8) {
        let waiting = lease::waiting(self.ledger.waiting.as_ref(), "machine", false, ms(now));
        let waiting = self.ledger.assigned.list.iter().any(lease::is_leased).then_some(waiting);
        let since_ms = waiting.as_ref().map_or(ms(now), |waiting| waiting.since_ms);
        self.ledger.apply(Change::Waiting(waiting));
        let (assigned, ruler) = (self.ledger.assigned.clone(), self.ledger.ruler.clone());
        self.standing = Standing::new(assigned, ruler, since_ms, ms(now), Moment(0));
    }

    fn hear(&mut self, told: Told, now: u8) {
        let fence = Fence { generation: 1, term: told.voice.term, index: told.index };
        let assigning = Assigning { request: 0, fence, assignments: vec![assignment(self.number, told)] };
        let Ok(changes) = assignments::admit(&self.ledger, told.voice.coordinator, &assigning) else { return };
        // Heard again, it changes nothing but a number of what was seen that would rise without end.
        if changes.is_empty() {
            return;
        }
        changes.into_iter().for_each(|change| self.ledger.apply(change));
        self.standing.assign(Arc::clone(&self.ledger.assigned), ms(now), Moment(0));
    }

    /// Neither now nor later: reigns and indices only rise here.
    pub fn takes_no_more(&self, told: Told) -> bool {
        self.obeys_later_than(told.voice) || told.index <= self.ledger.assigned.index
    }

    pub fn obeys_later_than(&self, voice: Voice) -> bool {
        self.ledger.ruler.reign > reign(voice)
    }

    /// None where it cannot happen now.
    pub fn after(&self, step: Step, now: u8, switch: Switch) -> Option<Self> {
        let mut next = self.clone();
        match step {
            Step::Accede(voice) => {
                let changes = decide::accede(&self.ledger, voice.coordinator, reign(voice), &[], &[]).ok()?;
                changes.into_iter().for_each(|change| next.ledger.apply(change));
                next.standing.accede(next.ledger.ruler.clone());
            }
            Step::Hear(told) => next.hear(told, now),
            Step::Renew { voice, sent, renews } => {
                let sent = if switch == Switch::CountedFromReceipt { now } else { sent };
                let renewal = |(epoch, index)| Renewal { group: group_name(), epoch, index, lasts: LEASE.lasts };
                let renewals: Vec<Renewal> = renews.map(renewal).into_iter().collect();
                next.standing.confirmed(voice.coordinator, voice.term, ms(sent), &renewals, ms(now))?;
            }
            Step::Stop => {
                let index = self.must_stop(now)?;
                next.serves = false;
                next.standing.saw(&self.key(), Health::Unknown, NOT_ASKED.to_owned(), Some(index), ms(now), Moment(0));
            }
            Step::Start => {
                let starts = !self.serves && self.must_stop(now).is_none();
                if !starts || self.standing.may_begin(&group_name(), Some(ms(now)), ms(now)).is_err() {
                    return None;
                }
                next.serves = true;
                next.standing.saw(&self.key(), Health::Unknown, NOT_ASKED.to_owned(), None, ms(now), Moment(0));
            }
            Step::Crash => {
                // It waits for a first word before it goes on to stop what it was about to.
                next.overdue_ms = self.overdue_ms.map(|since_ms| since_ms + FIRST_WORD.0);
                next.start_agent(now);
            }
            Step::Pass => next.pass(now)?,
        }
        // The first word has come, or is not waited for any more.
        if next.ledger.waiting.is_some() && !next.standing.wants_word(ms(now)) {
            next.ledger.apply(Change::Waiting(None));
        }
        Some(next)
    }

    /// A tick later, `now`. None where something would have to happen before.
    fn pass(&mut self, now: u8) -> Option<()> {
        let before = now - 1;
        let since_ms = match self.must_stop(before) {
            Some(_) => Some(ms(before)),
            None => self.standing.next_end(ms(before)).filter(|end_ms| *end_ms <= ms(now)),
        };
        self.overdue_ms = self.overdue_ms.or(since_ms).filter(|_| self.serves);
        if self.overdue_ms.is_some_and(|since_ms| ms(now) > since_ms + LATE_MS) {
            return None;
        }
        self.standing.tick(ms(now));
        if self.tenure(now).is_some_and(|tenure| tenure.holds) {
            self.overdue_ms = None;
        }
        Some(())
    }

    /// The index of the assignment under which the component must not run.
    fn must_stop(&self, now: u8) -> Option<u64> {
        let duties = self.standing.duties(ms(now));
        duties.into_iter().find_map(|(_, _, duty)| match duty {
            Duty::Stop(stopping) => Some(stopping.index),
            Duty::Ask(_) => None,
        })
    }

    pub fn tenure(&self, now: u8) -> Option<Tenure> {
        let tenure = self.standing.tenures(ms(now)).into_iter().next()?;
        let (epoch, index, quiet) = (tenure.epoch, tenure.index, tenure.quiet);
        Some(Tenure { epoch, index, holds: tenure.lease_left.0 > 0, quiet })
    }

    /// Somebody waits for what it says: it is primary by its disk, or about to stop being it.
    pub fn is_asked_for(&self) -> bool {
        self.serves || self.ledger.assigned.list.iter().any(|assignment| assignment.part != Part::Standby)
    }

    /// What its disk says that it is.
    pub fn believes_to_be_primary(&self) -> bool {
        self.ledger.assigned.list.iter().any(|assignment| assignment.part == Part::Primary)
    }
}

fn assignment(host: usize, told: Told) -> Assignment {
    let part = match told.role {
        Role::Primary => Part::Primary,
        Role::Yielding => Part::Yielding,
        Role::Standby => Part::Standby,
    };
    Assignment {
        group: group_name(),
        epoch: told.epoch,
        index: told.index,
        member: Some(member(host)),
        part,
        lease: Some(LEASE),
        components: vec![Watched {
            component: name("worker"),
            probe: Err(Fault::new("BTN-0174", "not asked here", "")),
            every: Span(TICK_MS),
            timeout: Span(TICK_MS),
            checks: 1,
            exclusive: true,
            stop: None,
        }],
    }
}
