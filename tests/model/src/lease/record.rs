//! What is committed, as far as the lease goes: the real engine's state. A run moves the role, and waits for the old primary's lease.

use std::collections::BTreeMap;

use baton_engine::{
    apply::{Position, apply},
    assign,
    command::{Answer, Command, Definition, LeaseRule, Proposal, Source},
    due::{self, DueLease},
    state::{AuditHead, State},
};
use baton_model::{
    assignment::Part,
    author::{Actor, Author},
    group::Lease,
    ids::{Epoch, MemberName, RunbookName, StepId},
    plan::{Condition, Kind, OnFailure, Plan, Retry, Stage, Step, Unreachable, Work},
    time::Span,
};

use crate::orders::record::{NOW, group_name, host_name, name};

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

pub fn member(host: usize) -> MemberName {
    name(["a", "b"][host])
}

impl Record {
    pub fn at_the_beginning() -> Self {
        let mut record = Self(State::default());
        let holders = [0, 1].map(|host| (member(host), [host_name(host)].into()));
        let definition = Definition {
            members: [member(0), member(1)].into(),
            first_primary: member(0),
            hosts: [host_name(0), host_name(1)].into(),
            source: Source { path: "g.yaml".to_owned(), text: "group: g".to_owned() },
            runbooks: BTreeMap::from([(name::<RunbookName>("move"), runbook())]),
            automatic: None,
            lease: Some(LeaseRule { lease: LEASE, holders: holders.into() }),
        };
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

    fn plan(&self) -> Plan {
        let group = &self.0.groups[&group_name()];
        let new = if group.primary == member(0) { 1 } else { 0 };
        let step = Step {
            id: StepId("move".to_owned()),
            name: "move".to_owned(),
            work: Work::Transfer { detach_old: false, because: None },
            condition: Condition::Always,
            timeout: Span(0),
            retry: Retry { attempts: 1, delay: Span(0) },
            on_failure: OnFailure::Halt,
            unreachable: Unreachable::Fail,
            parallel: None,
            register: None,
            keep: None,
            item: None,
            window: None,
            refusal: None,
            undo: Vec::new(),
        };
        Plan {
            group: group_name(),
            runbook: name("move"),
            kind: Kind::Forced,
            description: String::new(),
            reason: String::new(),
            old: group.primary.clone(),
            new: Some(member(new)),
            epoch: group.epoch,
            group_revision: group.revision,
            runbook_digest: runbook().digest(),
            inputs: BTreeMap::new(),
            overrides: BTreeMap::new(),
            loses_data: false,
            scope: BTreeMap::new(),
            stages: vec![Stage { precheck: false, steps: vec![step] }],
        }
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

fn runbook() -> Source {
    Source { path: "move.yaml".to_owned(), text: "runbook: move".to_owned() }
}
