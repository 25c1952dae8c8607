//! Renews leases, and knows when one has certainly run out.
//!
//! A heartbeat of a host with leases is answered only after a majority has confirmed, later than the heartbeat came, that this node
//! leads. The agent counts from when it sent the heartbeat, which is earlier still; so no lease that an old leader renewed is alive
//! when a new one has led for the whole length of it. It must never renew from a state that may be old, and never call a lease over
//! on the word of a clock that may have jumped: it counts on a monotonic one, which at worst makes it wait longer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use baton_engine::{
    assign::{self, yielding},
    state::State,
};
use baton_log::Log;
use baton_model::{
    group::Lease,
    ids::{GroupName, HostName},
    time::Span,
};
use baton_platform::clock::Clock;
use baton_proto::v1::{HeartbeatReply, to_agent};
use baton_wire::assignment::{Renewal, renewal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    replica::Replica,
    sessions::{SessionId, Sessions},
};

/// Heartbeats that wait for the next confirmation; one that does not fit is answered without a renewal, and the next is in time.
const WAITING_MAX: usize = 8192;
/// Between two looks at who leads, where no heartbeat comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A cheap handle.
#[derive(Clone)]
pub struct Lessor {
    log: Log<Replica>,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
    memory: Arc<Mutex<Memory>>,
    waiting: mpsc::Sender<Beat>,
}

/// A heartbeat that came.
#[derive(Debug, Clone)]
pub struct Beat {
    host: HostName,
    session: SessionId,
    sequence: u64,
    sent_monotonic_ms: u64,
}

/// Of one reign.
#[derive(Debug, Default)]
struct Memory {
    term: u64,
    /// By the clock, in milliseconds: since when this node has known that it leads.
    leading_since: Option<u64>,
    /// Until when what was promised to a host may be relied on there.
    promised: HashMap<(GroupName, HostName), u64>,
    /// The longest lease of each group that this reign has known: a file that shortens it shortens nothing that was renewed before.
    longest: BTreeMap<GroupName, Span>,
}

impl Lessor {
    pub fn new(log: Log<Replica>, sessions: Sessions, clock: Arc<dyn Clock>) -> (Self, mpsc::Receiver<Beat>) {
        let (waiting, beats) = mpsc::channel(WAITING_MAX);
        (Self { log, sessions, clock, memory: Arc::default(), waiting }, beats)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("nothing panics while it holds the memory")
    }

    /// Answers a heartbeat: at once where no lease hangs on it or this node does not lead, else after the next confirmation.
    pub fn answer(&self, host: &HostName, session: SessionId, sequence: u64, sent_monotonic_ms: u64) {
        let beat = Beat { host: host.clone(), session, sequence, sent_monotonic_ms };
        let leads = self.log.leadership().borrow().is_self;
        let hangs = leads && self.log.with(|replica| is_leased(&replica.state, host));
        if !hangs || self.waiting.try_send(beat.clone()).is_err() {
            self.reply(&beat, 0, &[]);
        }
    }

    fn reply(&self, beat: &Beat, confirmed_term: u64, renewals: &[Renewal]) {
        let reply = HeartbeatReply {
            sequence: beat.sequence,
            sent_monotonic_ms: beat.sent_monotonic_ms,
            confirmed_term,
            renewals: renewals.iter().map(renewal).collect(),
        };
        self.sessions.send(&beat.host, beat.session, to_agent::Message::HeartbeatReply(reply));
    }

    /// Runs until `stop`.
    pub async fn run(self, mut beats: mpsc::Receiver<Beat>, stop: CancellationToken) {
        let mut leadership = self.log.leadership();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = leadership.changed() => if changed.is_err() { return },
                beat = beats.recv() => match beat {
                    Some(beat) => batch.push(beat),
                    None => return,
                },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let leading = leadership.borrow_and_update().clone();
            self.note_reign(leading.ready.then_some(leading.term));
            if batch.is_empty() {
                continue;
            }
            while let Ok(beat) = beats.try_recv() {
                batch.push(beat);
            }
            // Everything in the batch came before this question, so its answer is later than each.
            let confirmed = leading.ready && self.log.read_index().await.is_ok();
            let now = leadership.borrow_and_update().clone();
            let confirmed = confirmed && now.ready && now.term == leading.term;
            for beat in &batch {
                let renewals = if confirmed { self.renewals(&beat.host) } else { Vec::new() };
                self.reply(beat, if confirmed { leading.term } else { 0 }, &renewals);
            }
        }
    }

    /// What was promised in another reign is covered by this one's whole first lease.
    fn note_reign(&self, term: Option<u64>) {
        let mut memory = self.lock();
        match term {
            None => *memory = Memory::default(),
            Some(term) if memory.leading_since.is_none() || memory.term != term => {
                *memory = Memory { term, leading_since: Some(self.clock.monotonic_ms()), ..Memory::default() };
            }
            Some(_) => {}
        }
        let longest: Vec<(GroupName, Span)> = self.log.with(|replica| {
            let leased = replica.state.groups.iter();
            leased.filter_map(|(name, group)| Some((name.clone(), assign::surely_over(group)?))).collect()
        });
        for (name, span) in longest {
            let known = memory.longest.entry(name).or_insert(span);
            *known = (*known).max(span);
        }
    }

    /// The leases that this host holds by the state that was just confirmed. They count as promised before they are sent.
    fn renewals(&self, host: &HostName) -> Vec<Renewal> {
        let due: Vec<(GroupName, Lease, baton_model::ids::Epoch)> = self.log.with(|replica| {
            let state = &replica.state;
            let held = state.groups.iter().filter_map(|(name, group)| {
                let rule = group.definition.lease.as_ref()?;
                let holds = rule.holders.get(&group.primary).is_some_and(|hosts| hosts.contains(host));
                (holds && !yielding(state, name)).then(|| (name.clone(), rule.lease, group.epoch))
            });
            held.collect()
        });
        let mut renewals = Vec::new();
        for (group, lease, epoch) in due {
            // What the host goes by must be this epoch's; the rest the agent decides.
            let Some((tenure, _)) = self.sessions.tenure(host, &group).filter(|(tenure, _)| tenure.epoch == epoch)
            else {
                continue;
            };
            self.promise(&group, host, &lease);
            renewals.push(Renewal { group, epoch, index: tenure.index, lasts: lease.lasts });
        }
        renewals
    }

    /// From now on the host may rely on it for a lease's whole length: said before it is told.
    pub fn promise(&self, group: &GroupName, host: &HostName, lease: &Lease) {
        let until = self.clock.monotonic_ms().saturating_add(lease.surely_over().as_millis());
        let mut memory = self.lock();
        let known = memory.promised.entry((group.clone(), host.clone())).or_default();
        *known = (*known).max(until);
    }

    /// Whether nothing that any leader promised to this host can still be relied on there; else how long that may be.
    pub fn surely_over(&self, group: &GroupName, host: &HostName) -> Result<Span, Span> {
        let now = self.clock.monotonic_ms();
        let memory = self.lock();
        let Some(since) = memory.leading_since else { return Err(Span::from_secs(1)) };
        let inherited = since.saturating_add(memory.longest.get(group).map_or(0, |span| span.as_millis()));
        let promised = memory.promised.get(&(group.clone(), host.clone())).copied().unwrap_or(0);
        let end = inherited.max(promised);
        if now >= end { Ok(Span(now - end)) } else { Err(Span(end - now)) }
    }
}

/// Whether the host is of a group with a lease, whatever it is to it: standbys must hear that they are up to date, too.
fn is_leased(state: &State, host: &HostName) -> bool {
    let leased = state.groups.values().filter(|group| group.definition.lease.is_some());
    leased.into_iter().any(|group| group.definition.hosts.contains(host))
}
