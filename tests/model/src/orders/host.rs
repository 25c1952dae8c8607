//! A host: an agent, its journal, and the service that its tasks stop and start.
//!
//! Real: the ledger, and every decision on it (`baton_agent::decide`). A model of `executor.rs`, `executor/attempt.rs` and
//! `executor/raises.rs`: which calls they make in which order, what is on disk by then, and what a crash forgets. An observation and
//! the question whether an effect may begin are one step here; an effect is one step, and happens or does not.

use std::collections::{BTreeMap, BTreeSet};

use baton_agent::{
    decide::{self, Admission, Presence},
    ledger::{Change, Entry, Ledger, Ruler},
};
use baton_model::{
    fence::{Fence, Reign},
    ids::{HostName, RunId, TaskId},
    order::Order,
    outcome::Outcome,
    time::{Moment, Span},
};
use serde_json::Value;

use super::{
    Actions, Switch,
    message::{Down, Message, Voice},
};

mod performance;

#[derive(Debug, Clone)]
pub struct Host {
    pub name: HostName,
    /// On disk.
    pub ledger: Ledger,
    /// Lost with the process, as all that follows.
    alive: BTreeMap<TaskId, Alive>,
    /// Raises that are not answered yet.
    raises: BTreeSet<(Voice, RunId, u64)>,
    respite: bool,
    recovered: bool,
    /// Of the world: the service runs, and how often each task has done what it does.
    pub serves: bool,
    pub effects: BTreeMap<TaskId, u8>,
    /// For the judge: whom it has obeyed.
    obeyed: BTreeMap<u64, BTreeSet<&'static str>>,
}

/// A task that this process has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alive {
    Queued,
    Running {
        interrupted: bool,
        superseded: bool,
        cancelled: bool,
    },
    /// Its start is on disk, its effect may come.
    Begun {
        cancelled: bool,
    },
    /// Its effect has come; nothing says so on disk.
    Acted,
}

/// What can happen on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Hear(Message),
    /// A task observes, and asks whether its effect may begin.
    Go(TaskId),
    Act(TaskId),
    /// It began, and ended without an effect.
    Fail(TaskId),
    End(TaskId),
    EndRespite,
    Crash,
}

/// What others get to know of it, and what the judge does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Up(Message),
    /// The reign, in the session of this number.
    Acknowledged {
        voice: Voice,
        request: u8,
    },
    Began(TaskId, u64),
    Acted(TaskId, u64),
}

/// What the model's bounds and switches make of a host.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub switch: Switch,
    pub actions: Actions,
}

impl Host {
    pub fn new(name: HostName, serves: bool) -> Self {
        Self {
            name,
            ledger: Ledger::default(),
            alive: BTreeMap::new(),
            raises: BTreeSet::new(),
            respite: false,
            recovered: false,
            serves,
            effects: BTreeMap::new(),
            obeyed: BTreeMap::new(),
        }
    }

    /// Steps that need no message.
    pub fn own_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (task, alive) in &self.alive {
            match alive {
                Alive::Queued => {}
                Alive::Running { .. } => steps.push(Step::Go(task.clone())),
                Alive::Begun { .. } => steps.extend([Step::Act(task.clone()), Step::Fail(task.clone())]),
                Alive::Acted => steps.push(Step::End(task.clone())),
            }
        }
        if self.respite {
            steps.push(Step::EndRespite);
        }
        steps
    }

    /// A crash forgets something.
    pub fn has_something_to_lose(&self) -> bool {
        !self.alive.is_empty() || !self.raises.is_empty() || self.respite
    }

    /// Whether a step is one of the faults that the extent counts.
    pub fn is_fault(&self, step: &Step) -> bool {
        match step {
            Step::Crash => true,
            Step::Fail(task) => self.alive.get(task) == Some(&Alive::Begun { cancelled: false }),
            _ => false,
        }
    }

    /// None of one reign was obeyed in two coordinators.
    pub fn obeys_one_leader_a_reign(&self) -> bool {
        self.obeyed.values().all(|coordinators| coordinators.len() <= 1)
    }

    pub fn after(&self, step: &Step, rules: Rules) -> (Self, Vec<Said>) {
        let mut next = self.clone();
        let mut said = Vec::new();
        match step {
            Step::Hear(Message::Down { voice, what, .. }) => next.hear(*voice, what, rules, &mut said),
            Step::Hear(_) => {}
            Step::Go(task) => next.go(task, rules, &mut said),
            Step::Act(task) => next.act(task, &mut said),
            Step::Fail(task) => next.fail(task, rules, &mut said),
            Step::End(task) => next.finish(task, Outcome::Changed, &mut said),
            Step::EndRespite => {
                next.respite = false;
                next.end_superseded(None, rules, &mut said);
            }
            Step::Crash => next.crash(rules),
        }
        next.settle_raises(rules, &mut said);
        next.fill(rules);
        (next, said)
    }

    fn commit(&mut self, changes: Vec<Change>) {
        changes.into_iter().for_each(|change| self.ledger.apply(change));
        let superfluous = self.ledger.superfluous();
        superfluous.into_iter().for_each(|change| self.ledger.apply(change));
    }

    fn hear(&mut self, voice: Voice, what: &Down, rules: Rules, said: &mut Vec<Said>) {
        let from = voice.coordinator;
        match what {
            Down::Reign { request, marks, floors } => {
                let Ok(changes) = decide::accede(&self.ledger, from, reign(voice), marks, floors) else { return };
                self.commit(changes);
                self.obey(voice);
                self.respite = true;
                said.push(Said::Acknowledged { voice, request: *request });
                if !std::mem::replace(&mut self.recovered, true) {
                    let open: Vec<TaskId> = self.open_tasks().filter(|task| !self.alive.contains_key(task)).collect();
                    self.alive.extend(open.into_iter().map(|task| (task, Alive::Queued)));
                }
            }
            Down::Execute(task, index) => self.execute(voice, task, *index, rules, said),
            Down::Raise(run, index) => {
                if let Ok(changes) = decide::raise(&self.ledger, from, run, fence(voice, *index)) {
                    self.commit(changes);
                    self.obey(voice);
                    self.end_superseded(Some(run), rules, said);
                    self.raises.insert((voice, run.clone(), *index));
                }
            }
            Down::Forget(task) => {
                let changes = decide::forget(&self.ledger, from, task);
                self.commit(changes);
            }
        }
    }

    fn execute(&mut self, voice: Voice, task: &TaskId, index: u64, rules: Rules, said: &mut Vec<Said>) {
        if rules.switch == Switch::ReignNotAnnounced && reign(voice) >= self.ledger.ruler.reign {
            self.ledger.ruler = Ruler { reign: reign(voice), coordinator: voice.coordinator.to_owned() };
        }
        let order = Order {
            task: task.clone(),
            fence: fence(voice, index),
            action: task.step.0.clone(),
            params: Value::Null,
            timeout: Span::from_secs(60),
        };
        let presence = match self.alive.get(task) {
            None => Presence::Absent,
            Some(Alive::Begun { cancelled: true } | Alive::Running { cancelled: true, .. }) => Presence::Ending,
            Some(_) => Presence::Alive,
        };
        let ledger = self.marks_looked_at(rules);
        match decide::admit(&ledger, voice.coordinator, &self.name, &order, presence, Moment(0)) {
            Admission::Run(changes) | Admission::ObserveFirst(changes) => {
                self.commit(unsunk(&self.ledger, changes));
                self.alive.insert(task.clone(), Alive::Queued);
                self.obey(voice);
            }
            Admission::AlreadyRunning(changes) => {
                self.commit(unsunk(&self.ledger, changes));
                self.obey(voice);
            }
            Admission::RepeatOutcome(report) => said.push(Said::Up(Message::Finished(task.clone(), report.outcome))),
            Admission::Refuse { fault, .. } => {
                // The others say nothing about the task, and the coordinator drops them.
                if !["BTN-0431", "BTN-0432", "BTN-0435"].contains(&fault.code.as_str()) {
                    said.push(Said::Up(Message::Declined(task.clone())));
                }
            }
        }
    }

    /// The ledger as the checks of the fence see it.
    fn marks_looked_at(&self, rules: Rules) -> Ledger {
        let mut ledger = self.ledger.clone();
        if rules.switch == Switch::NoFenceCheck {
            ledger.marks.clear();
            ledger.raised.clear();
            ledger.floors.clear();
        }
        ledger
    }

    fn obey(&mut self, voice: Voice) {
        self.obeyed.entry(voice.term).or_default().insert(voice.coordinator);
    }

    fn open_tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.ledger.tasks.iter().filter(|(_, entry)| entry.is_open()).map(|(task, _)| task.clone())
    }

    fn order(&self, task: &TaskId) -> Order {
        self.ledger.tasks.get(task).and_then(Entry::order).expect("what is alive was admitted").clone()
    }

    fn is_stale(&self, task: &TaskId, rules: Rules) -> bool {
        decide::may_begin(&self.marks_looked_at(rules), task, self.order(task).fence).is_err()
    }

    fn crash(&mut self, rules: Rules) {
        self.alive.clear();
        self.raises.clear();
        self.respite = false;
        self.recovered = false;
        match rules.switch {
            Switch::MarksNotPersisted => {
                self.ledger.marks.clear();
                self.ledger.raised.clear();
                self.ledger.floors.clear();
                self.ledger.ruler = Ruler::default();
            }
            Switch::TasksNotPersisted => self.ledger.tasks.clear(),
            _ => {}
        }
    }
}

/// What the task brings about: whether its host serves.
fn makes_serve(task: &TaskId) -> bool {
    task.step.0 != "stop"
}

pub fn reign(voice: Voice) -> Reign {
    Reign { generation: 1, term: voice.term }
}

fn fence(voice: Voice, index: u64) -> Fence {
    Fence { generation: 1, term: voice.term, index }
}

/// Without the marks that a fence which nobody looks at would let sink: the ledger itself asserts that none does.
fn unsunk(ledger: &Ledger, changes: Vec<Change>) -> Vec<Change> {
    let rises = |change: &Change| match change {
        Change::Mark(run, index) => *index > ledger.mark(run),
        Change::Floor(group, number) => *number > ledger.floor(group),
        _ => true,
    };
    changes.into_iter().filter(rises).collect()
}
