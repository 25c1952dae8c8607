//! A coordinator that leads, or still believes so: what it tells hosts, what it promises them, and when it calls a lease over.
//!
//! A model of `leader/lessor.rs`, of `leader/assigner.rs`, and of `ended` in `leader/dispatcher.rs`, which are bound to their sessions and
//! clocks; how long a promise may be relied on is the engine's (`assign::surely_over`).

use baton_model::ids::Epoch;

use super::{
    Switch,
    host::{Tenure, Told, ms},
    record::{Record, Role},
};
use crate::orders::message::Voice;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coordinator {
    pub voice: Voice,
    /// The record that it has applied, by its number.
    pub view: u32,
    /// Until when a promise of an earlier reign may be relied on; zero once that is past.
    inherited_until_ms: u64,
    pub lines: [Line; 2],
}

/// To one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Line {
    /// It hears the host.
    pub session: bool,
    /// In this session the host has acknowledged its reign.
    pub acknowledged: bool,
    told: Option<(Role, Epoch)>,
    /// What this session's last heartbeat said.
    pub tenure: Option<Tenure>,
    /// Zero once it is past.
    promised_until_ms: u64,
    /// Heard to run what it must not, while a transfer that began with this entry waits for it.
    unquiet: Option<u64>,
    pub beat: Beat,
}

/// The host's last heartbeat to this coordinator. A new one takes the place of one that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beat {
    None,
    Sent {
        at: u8,
        tenure: Tenure,
    },
    /// It came, a quorum has said since that this coordinator leads, and the answer is on its way.
    Answered {
        at: u8,
        renews: Option<(Epoch, u64)>,
    },
}

impl Line {
    const NEW: Self = Self {
        session: true,
        acknowledged: false,
        told: None,
        tenure: None,
        promised_until_ms: 0,
        unquiet: None,
        beat: Beat::None,
    };
}

impl Coordinator {
    pub fn new(voice: Voice, view: u32, record: &Record, now: u8, switch: Switch) -> Self {
        let waits = if switch == Switch::NewLeaderTrustsAtOnce { 0 } else { record.surely_over().0 };
        Self { voice, view, inherited_until_ms: ms(now) + waits, lines: [Line::NEW; 2] }
    }

    /// What has changed for a host that has acknowledged the reign. A primary is promised its lease before it is told.
    pub fn tell(&mut self, record: &Record, host: usize, now: u8) -> Option<Told> {
        let line = &mut self.lines[host];
        let (role, epoch) = record.role(host);
        if !line.session || !line.acknowledged || line.told == Some((role, epoch)) {
            return None;
        }
        line.told = Some((role, epoch));
        if role == Role::Primary {
            self.promise(record, host, now);
        }
        Some(Told { voice: self.voice, host, index: record.0.index, role, epoch })
    }

    fn promise(&mut self, record: &Record, host: usize, now: u8) {
        let promised = &mut self.lines[host].promised_until_ms;
        *promised = (*promised).max(ms(now) + record.surely_over().0);
    }

    /// What it renews to a host whose heartbeat was confirmed.
    pub fn renew(&mut self, record: &Record, host: usize, now: u8) -> Option<(Epoch, u64)> {
        let epoch = record.renews(host)?;
        let tenure = self.lines[host].tenure.filter(|tenure| tenure.epoch == epoch)?;
        self.promise(record, host, now);
        Some((epoch, tenure.index))
    }

    pub fn hears(&mut self, record: &Record, host: usize, tenure: Tenure) {
        let line = &mut self.lines[host];
        line.session = true;
        line.tenure = Some(tenure);
        let awaited = record.awaited().map(|due| due.index);
        line.unquiet = awaited.filter(|index| tenure.index >= *index && !tenure.quiet);
    }

    pub fn loses(&mut self, host: usize) {
        let line = &mut self.lines[host];
        (line.session, line.acknowledged, line.told, line.tenure) = (false, false, None, None);
    }

    /// Whether the lease of this host, which a transfer waits for since the entry of that index, has certainly ended.
    pub fn calls_over(&self, record: &Record, host: usize, index: u64, now: u8, switch: Switch) -> bool {
        let line = &self.lines[host];
        if line.session {
            return line.tenure.is_some_and(|tenure| tenure.quiet && tenure.index >= index);
        }
        if switch == Switch::TransferWithoutWaiting {
            return true;
        }
        let over = ms(now) >= self.inherited_until_ms.max(line.promised_until_ms);
        line.unquiet != Some(index) && record.is_recorded_to_hold(host) && over
    }

    /// The host obeys a later one: nothing that this one says is taken there any more.
    pub fn is_over_for(&mut self, host: usize) {
        self.lines[host] = Line { session: false, ..Line::NEW };
    }

    /// Nothing is awaited any more: what only a transfer would ask for is forgotten, for the same reason.
    pub fn rest(&mut self) {
        self.inherited_until_ms = 0;
        for line in &mut self.lines {
            (line.tenure, line.promised_until_ms, line.unquiet) = (None, 0, None);
        }
    }

    /// What is past is forgotten, so that states which differ in nothing else are one.
    pub fn pass(&mut self, now: u8) {
        let past = |until: &mut u64| {
            if *until <= ms(now) {
                *until = 0;
            }
        };
        past(&mut self.inherited_until_ms);
        self.lines.iter_mut().for_each(|line| past(&mut line.promised_until_ms));
    }
}
