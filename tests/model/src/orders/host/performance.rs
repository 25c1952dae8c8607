//! What a task does on its host: a model of `executor/attempt.rs`, of `executor/raises.rs`, and of what `executor.rs` begins.
//!
//! Apart because it is what an order comes to; what is admitted is decided before.

use baton_agent::{
    decide::{self, Beginning, Recovery},
    ledger::{Change, Entry},
};
use baton_model::{
    ids::{RunId, TaskId},
    outcome::{Observation, Outcome},
    time::Moment,
};

use super::{Alive, Host, Rules, Said, makes_serve};
use crate::orders::{
    Actions, Switch,
    message::{Message, Voice},
    record::report,
};

impl Host {
    pub(super) fn go(&mut self, task: &TaskId, rules: Rules, said: &mut Vec<Said>) {
        let Some(Alive::Running { interrupted, superseded, cancelled }) = self.alive.get(task).copied() else { return };
        let observation = self.observe(task, rules);
        // What nobody can observe says of itself that it must not be repeated.
        let repeatable = rules.actions == Actions::Observed;
        if interrupted {
            match decide::recover(&observation, repeatable, false, !superseded && !cancelled) {
                Recovery::Act => {}
                Recovery::InPlace => return self.finish(task, Outcome::Changed, said),
                Recovery::NotDone => return self.finish(task, Outcome::Failed, said),
                Recovery::Unknown => return self.finish(task, Outcome::Unknown, said),
            }
        } else {
            match decide::begin(&observation, repeatable, false, cancelled) {
                Beginning::Act => {}
                Beginning::InPlace => return self.finish(task, Outcome::Unchanged, said),
                Beginning::Ended => return self.finish(task, Outcome::Refused, said),
                Beginning::Unanswered => return self.finish(task, Outcome::Failed, said),
            }
        }
        let stale = self.is_stale(task, rules);
        // Whether it is wanted all the same is about to be said: it is held.
        if stale && self.respite {
            return;
        }
        if stale {
            return self.finish(task, Outcome::Refused, said);
        }
        let order = self.order(task);
        said.push(Said::Began(task.clone(), order.fence.index));
        let started = Entry::Started { order, received: Moment(0), started: Moment(0) };
        self.commit(vec![Change::Task(task.clone(), started)]);
        self.alive.insert(task.clone(), Alive::Begun { cancelled: false });
    }

    fn observe(&self, task: &TaskId, rules: Rules) -> Observation {
        match rules.actions {
            Actions::Blind => Observation::CannotTell { why: String::new() },
            Actions::Observed if self.serves == makes_serve(task) => Observation::InPlace { note: String::new() },
            Actions::Observed => Observation::Differs { change: String::new() },
        }
    }

    pub(super) fn act(&mut self, task: &TaskId, said: &mut Vec<Said>) {
        if !matches!(self.alive.get(task), Some(Alive::Begun { .. })) {
            return;
        }
        said.push(Said::Acted(task.clone(), self.order(task).fence.index));
        self.serves = makes_serve(task);
        *self.effects.entry(task.clone()).or_default() += 1;
        self.alive.insert(task.clone(), Alive::Acted);
    }

    /// Where it was told to end, what an action that cannot be observed came to is not known.
    pub(super) fn fail(&mut self, task: &TaskId, rules: Rules, said: &mut Vec<Said>) {
        let cancelled = self.alive.get(task) == Some(&Alive::Begun { cancelled: true });
        let outcome = if cancelled && rules.actions == Actions::Blind { Outcome::Unknown } else { Outcome::Failed };
        self.finish(task, outcome, said);
    }

    pub(super) fn finish(&mut self, task: &TaskId, outcome: Outcome, said: &mut Vec<Said>) {
        let finished = Entry::Finished { order: self.order(task), report: report(outcome) };
        self.commit(vec![Change::Task(task.clone(), finished)]);
        self.alive.remove(task);
        said.push(Said::Up(Message::Finished(task.clone(), outcome)));
    }

    pub(super) fn end_superseded(&mut self, of: Option<&RunId>, rules: Rules, said: &mut Vec<Said>) {
        let open: Vec<TaskId> = self.open_tasks().filter(|task| of.is_none_or(|run| task.run == *run)).collect();
        for task in open.into_iter().filter(|task| self.is_stale(task, rules)).collect::<Vec<_>>() {
            let untouched = matches!(self.ledger.tasks.get(&task), Some(Entry::Received { .. }));
            match self.alive.get_mut(&task) {
                Some(Alive::Running { cancelled, .. } | Alive::Begun { cancelled }) => *cancelled = true,
                Some(Alive::Acted) => {}
                None | Some(Alive::Queued) if untouched => self.finish(&task, Outcome::Refused, said),
                None | Some(Alive::Queued) => drop(self.alive.insert(task, Alive::Queued)),
            }
        }
    }

    pub(super) fn settle_raises(&mut self, rules: Rules, said: &mut Vec<Said>) {
        let ledger = &self.ledger;
        let at_once = rules.switch == Switch::RaiseAnsweredAtOnce;
        let acts = |(_, run, index): &(Voice, RunId, u64)| !at_once && decide::acts_below(ledger, run, *index);
        let (waiting, settled) = std::mem::take(&mut self.raises).into_iter().partition(acts);
        self.raises = waiting;
        for (voice, run, index) in settled {
            said.push(Said::Up(Message::Fenced { voice, run, host: self.name.clone(), index }));
        }
    }

    pub(super) fn fill(&mut self, rules: Rules) {
        let queued: Vec<TaskId> =
            self.alive.iter().filter(|(_, alive)| **alive == Alive::Queued).map(|(task, _)| task.clone()).collect();
        for task in queued {
            let interrupted = match self.ledger.tasks.get(&task) {
                Some(Entry::Received { .. }) => false,
                Some(Entry::Started { .. }) => true,
                _ => {
                    self.alive.remove(&task);
                    continue;
                }
            };
            let superseded = self.is_stale(&task, rules);
            let seen = self.marks_looked_at(rules);
            let waits = superseded && self.respite
                || self.waits_for_earlier(&task)
                || decide::waits_for_superseded(&seen, &task, self.order(&task).fence);
            if !waits {
                self.alive.insert(task, Alive::Running { interrupted, superseded, cancelled: superseded });
            }
        }
    }

    fn waits_for_earlier(&self, task: &TaskId) -> bool {
        self.open_tasks().any(|other| other.run == task.run && other.step == task.step && other.attempt < task.attempt)
    }
}
