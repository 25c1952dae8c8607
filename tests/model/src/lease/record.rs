//! What is committed, as far as the lease goes: the real engine's state. A run moves the role, and waits for the old primary's lease.

use baton_engine::{
    apply::{Position, apply},
    assign,
    command::{Answer, Command, LeaseRule, Proposal},
    due::{self, DueLease},
    state::{AuditHead, State},
};
use baton_model::{
    assignment::Part,
    author::{Actor, Author},
    group::Lease,
    ids::Epoch,
    plan::{Kind, Plan, Step, Work},
    time::Span,
};

use crate::procedure::{self, NOW, group_name, host_name, member, step};

/// As short as it can be, so that few ticks hold all of it.
pub const LEASE: Lease = Lease { lasts: Span::from_secs(4), stop_within: Span::from_secs(1) };

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Record(pub State);

/// What a host is; the product's own `Part`, with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Primary,
    Yielding,
    Standby,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    Start,
    /// The lease that a transfer waits for has ended on this host.
    End(usize),
    /// This host was heard to hold the lease of this epoch.
    Hold(usize, Epoch),
}

impl Record {
    pub fn initial() -> Self {
        let mut record = Self(State::default());
        let holders = [0, 1].map(|host| (member(host), [host_name(host)].into()));
        let definition = procedure::definition(Some(LeaseRule { lease: LEASE, holders: holders.into() }));
        record.apply(Command::DefineGroup { group: group_name(), definition });
        record.after(&Entry::Hold(0, Epoch(1))).expect("it holds the role")
    }

    /// None where it changes nothing.
    pub fn after(&self, entry: &Entry) -> Option<Self> {
        let mut next = self.clone();
        let command = match entry {
            Entry::Start => {
                let plan = self.plan();
                Command::StartRun { digest: plan.digest(), plan: Box::new(plan), acceptance: None, cause: None }
            }
            Entry::End(host) => {
                let DueLease { run, step, index, .. } = self.awaited()?;
                Command::EndLease { run, step, index, host: host_name(*host), how: "it has ended".to_owned() }
            }
            Entry::Hold(host, epoch) => {
                Command::RecordHolding { group: group_name(), host: host_name(*host), epoch: *epoch }
            }
        };
        let answer = next.apply(command);
        (!matches!(answer, Answer::Already | Answer::Refused { .. })).then_some(next)
    }

    fn apply(&mut self, command: Command) -> Answer {
        let author = Author { who: Actor::Operator("anna".to_owned()), when: NOW, why: "because".to_owned() };
        let position = Position { index: self.0.index + 1, term: 1 };
        let answer = apply(&mut self.0, position, &Proposal { author, request: None, command });
        self.0.audit = AuditHead::default();
        self.0.runs.values_mut().for_each(|run| run.history.clear());
        answer
    }

    /// The move alone, which waits for the lease as long as the engine does by itself.
    fn plan(&self) -> Plan {
        let moves = step("move", Work::Transfer { detach_old: false, because: None });
        let moves = Step { timeout: Span(0), ..moves };
        procedure::plan(&self.0, Kind::Forced, |_, _| vec![moves])
    }

    /// The transfer that waits, with those whose lease it waits for.
    pub fn awaited(&self) -> Option<DueLease> {
        due::due(&self.0, NOW).leases.into_iter().next()
    }

    /// So many runs have been, and none waits.
    pub fn is_at_rest_after(&self, runs: u64) -> bool {
        self.0.runs.len() as u64 == runs && self.awaited().is_none()
    }

    pub fn role(&self, host: usize) -> (Role, Epoch) {
        let group = &self.0.groups[&group_name()];
        let role = match assign::part_of(&self.0, &group_name(), group, Some(&member(host))) {
            Part::Primary => Role::Primary,
            Part::Yielding => Role::Yielding,
            Part::Standby | Part::Shared => Role::Standby,
        };
        (role, group.epoch)
    }

    pub fn is_recorded_to_hold(&self, host: usize) -> bool {
        self.0.groups[&group_name()].holding.contains(&host_name(host))
    }

    /// What the leader renews to this host: nothing to who is about to lose the role.
    pub fn renews(&self, host: usize) -> Option<Epoch> {
        let (role, epoch) = self.role(host);
        (role == Role::Primary).then_some(epoch)
    }

    /// How long a promise may be relied on after it was made.
    pub fn surely_over(&self) -> Span {
        assign::surely_over(&self.0.groups[&group_name()]).expect("the group has a lease")
    }
}
