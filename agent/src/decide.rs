//! What to do with what a coordinator says: run, repeat the outcome, refuse, observe first.
//!
//! Pure: (ledger, message) → decision, with the lines that must be in the journal before the decision takes effect.
//! It must never read a clock or look at the host.

use std::collections::BTreeMap;

use baton_model::{
    fence::{Fence, Reign},
    ids::{GroupName, HostName, RunId, TaskId},
    order::Order,
    outcome::{Fault, Observation, Report},
    time::Moment,
};

use crate::ledger::{Change, Entry, Ledger, Ruler};

/// Tasks that are not forgotten, at most; a coordinator that forgets to forget is refused.
pub const TASKS_MAX: usize = 4096;
/// Forgotten ones beside them.
pub const ENTRIES_MAX: usize = 32 * 1024;

/// What becomes of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// New: journal these lines, accept, run.
    Run(Vec<Change>),
    /// It is known and goes on; journal these lines (its newer authority), accept again.
    AlreadyRunning(Vec<Change>),
    /// It is known, an effect may have begun, and nothing performs it: the agent was restarted in between.
    ObserveFirst(Vec<Change>),
    /// It has ended: say again how.
    RepeatOutcome(Report),
    /// Nothing is done.
    Refuse { fault: Fault, seen: Fence },
}

/// Whether this process has to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Absent,
    /// It performs the task, or has it in its queue.
    Alive,
    /// It performs the task, and has told it to end.
    Ending,
}

pub fn admit(
    ledger: &Ledger,
    from: &str,
    host: &HostName,
    order: &Order,
    presence: Presence,
    now: Moment,
) -> Admission {
    let task = &order.task;
    let Reign { generation, term } = ledger.ruler.reign;
    let seen = Fence { generation, term, index: ledger.mark(&task.run) };
    let refuse = |code: &str, message: String, remedy: &str| Admission::Refuse {
        fault: Fault::new(code, message, remedy),
        seen,
    };
    if task.host != *host {
        return refuse("BTN-0430", format!("{task} is for host {}, and this is {host}", task.host), "");
    }
    if let Err(fault) = obeys(ledger, from, order.fence.reign()) {
        return Admission::Refuse { fault, seen };
    }
    if let Some(entry) = ledger.tasks.get(task) {
        return match entry {
            Entry::Finished { report, .. } => Admission::RepeatOutcome(report.clone()),
            Entry::Forgotten { .. } => {
                let message = format!("{task} was performed, and its outcome is committed");
                refuse("BTN-0434", message, "To do it again, retry the step: that is a new attempt.")
            }
            Entry::Received { .. } | Entry::Started { .. } => match presence {
                Presence::Absent => Admission::ObserveFirst(confirm(ledger, entry, order)),
                Presence::Alive => Admission::AlreadyRunning(confirm(ledger, entry, order)),
                Presence::Ending => Admission::AlreadyRunning(Vec::new()),
            },
        };
    }
    if let Err(fault) = may_begin(ledger, task, order.fence) {
        return Admission::Refuse { fault, seen };
    }
    // The coordinator gives every order that is still wanted here the newest authority: this one was overtaken.
    if order.fence.index < seen.index {
        return Admission::Refuse { fault: overtaken(task, order.fence.index, seen.index), seen };
    }
    if ledger.unforgotten().count() >= TASKS_MAX || ledger.tasks.len() >= ENTRIES_MAX {
        let message = format!("the journal of {host} is full: {} tasks", ledger.tasks.len());
        return refuse("BTN-0436", message, "See why the coordinators do not acknowledge outcomes.");
    }
    let mut changes = Vec::new();
    if order.fence.index > ledger.mark(&task.run) {
        changes.push(Change::Mark(task.run.clone(), order.fence.index));
    }
    // A group has one run at a time: an order of this one says that those before it are over. It keeps the journal bounded
    // by the run that is open.
    if task.run.number > ledger.floor(&task.run.group) {
        changes.push(Change::Floor(task.run.group.clone(), task.run.number));
    }
    changes.push(Change::Task(task.clone(), Entry::Received { order: order.clone(), received: now }));
    Admission::Run(changes)
}

/// A known task is wanted under a newer authority: the fence that is kept for it goes along. Nothing else of it changes.
fn confirm(ledger: &Ledger, entry: &Entry, order: &Order) -> Vec<Change> {
    let task = &order.task;
    let mut entry = entry.clone();
    let (Entry::Received { order: known, .. } | Entry::Started { order: known, .. }) = &mut entry else {
        return Vec::new();
    };
    // A newer reign does not make an older index of it: that would take back what was confirmed before.
    let fence = Fence { index: order.fence.index.max(known.fence.index), ..order.fence };
    if fence <= known.fence {
        return Vec::new();
    }
    known.fence = fence;
    let mut changes = vec![Change::Task(task.clone(), entry)];
    if order.fence.index > ledger.mark(&task.run) {
        changes.push(Change::Mark(task.run.clone(), order.fence.index));
    }
    changes
}

fn overtaken(task: &TaskId, index: u64, mark: u64) -> Fault {
    Fault::new("BTN-0435", format!("the order has index {index}, and {} has gone on to {mark}", task.run), "")
}

/// Whether this coordinator, with this reign, is the one that was acknowledged.
pub(crate) fn obeys(ledger: &Ledger, from: &str, reign: Reign) -> Result<(), Fault> {
    let seen = &ledger.ruler;
    if reign < seen.reign {
        let message =
            format!("the order is of reign {reign}, and {} of {} has taken over", seen.reign, seen.coordinator);
        return Err(Fault::new("BTN-0431", message, ""));
    }
    if reign > seen.reign || seen.coordinator.is_empty() {
        let message = format!("reign {reign} was not announced here; acknowledged is {}", seen.reign);
        return Err(Fault::new("BTN-0432", message, "The coordinator announces its reign before it orders."));
    }
    if from != seen.coordinator {
        let message = format!("reign {reign} was announced by {}, and this order comes from {from}", seen.coordinator);
        return Err(Fault::new("BTN-0432", message, ""));
    }
    Ok(())
}

/// Whether a task may (still) begin. Asked when it is ordered, and again right before its effect.
pub fn may_begin(ledger: &Ledger, task: &TaskId, fence: Fence) -> Result<(), Fault> {
    let floor = ledger.floor(&task.run.group);
    if task.run.number < floor {
        let message = format!("{} is over: runs of {} before {floor} are", task.run, task.run.group);
        return Err(Fault::new("BTN-0433", message, ""));
    }
    let raised = ledger.raised(&task.run);
    if fence.index < raised {
        return Err(overtaken(task, fence.index, raised));
    }
    Ok(())
}

/// Whether something of a run with a lower index can still act here.
pub fn acts_below(ledger: &Ledger, run: &RunId, index: u64) -> bool {
    ledger.tasks.iter().any(|(task, entry)| {
        task.run == *run && entry.is_open() && entry.order().is_some_and(|order| order.fence.index < index)
    })
}

/// What is good waits until what the raised fence of its run has ended is over: it may be what undoes it.
pub fn waits_for_superseded(ledger: &Ledger, task: &TaskId, fence: Fence) -> bool {
    let raised = ledger.raised(&task.run);
    fence.index >= raised && acts_below(ledger, &task.run, raised)
}

/// A coordinator says that it leads: what must be on disk before that is acknowledged, or why it is not.
pub fn accede(
    ledger: &Ledger,
    from: &str,
    reign: Reign,
    marks: &[(RunId, u64)],
    floors: &[(GroupName, u64)],
) -> Result<Vec<Change>, Fault> {
    let seen = &ledger.ruler;
    let taken = reign == seen.reign && !seen.coordinator.is_empty() && from != seen.coordinator;
    if reign < seen.reign || taken {
        let message =
            format!("{from} announces reign {reign}, and {} of {} was acknowledged", seen.reign, seen.coordinator);
        return Err(Fault::new("BTN-0431", message, ""));
    }
    let mut changes = Vec::new();
    if reign > seen.reign || seen.coordinator.is_empty() {
        changes.push(Change::Ruler(Ruler { reign, coordinator: from.to_owned() }));
    }
    changes.extend(highest(marks).into_iter().flat_map(|(run, index)| lift(ledger, run, index)));
    let floors = highest(floors).into_iter().filter(|(group, number)| *number > ledger.floor(group));
    changes.extend(floors.map(|(group, number)| Change::Floor(group.clone(), number)));
    Ok(changes)
}

/// One number each: a message may name one thing twice, and nothing may sink on its way to the journal.
fn highest<K: Ord>(named: &[(K, u64)]) -> BTreeMap<&K, u64> {
    let mut highest = BTreeMap::new();
    for (key, number) in named {
        let most = highest.entry(key).or_insert(*number);
        *most = (*most).max(*number);
    }
    highest
}

/// The fence of one run is raised. Tasks of the run with a lower index must end before that is acknowledged.
pub fn raise(ledger: &Ledger, from: &str, run: &RunId, fence: Fence) -> Result<Vec<Change>, Fault> {
    obeys(ledger, from, fence.reign())?;
    Ok(lift(ledger, run, fence.index))
}

/// Both marks of a run, as far as they are lower.
fn lift(ledger: &Ledger, run: &RunId, index: u64) -> Vec<Change> {
    let seen = (index > ledger.mark(run)).then(|| Change::Mark(run.clone(), index));
    let raised = (index > ledger.raised(run)).then(|| Change::Raised(run.clone(), index));
    seen.into_iter().chain(raised).collect()
}

/// The outcome is committed. Nothing is forgotten before it is finished, nor for anybody but the ruler.
pub fn forget(ledger: &Ledger, from: &str, task: &TaskId) -> Vec<Change> {
    match ledger.tasks.get(task) {
        Some(Entry::Finished { order, .. }) if from == ledger.ruler.coordinator => {
            vec![Change::Task(task.clone(), Entry::Forgotten { fence: order.fence })]
        }
        _ => Vec::new(),
    }
}

/// What to do with a task that was started before a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It is done.
    InPlace,
    /// Act again.
    Act,
    /// It is not done, and its time is over or its fence was raised.
    NotDone,
    /// Nobody can tell.
    Unknown,
}

/// `repeatable`: acting again does no harm where the observation says that it differs; `blind`: even where it says nothing.
/// `may_act`: its fence is still good and its time is not over.
pub fn recover(observation: &Observation, repeatable: bool, blind: bool, may_act: bool) -> Recovery {
    match observation {
        Observation::InPlace { .. } => Recovery::InPlace,
        Observation::Differs { .. } if repeatable && may_act => Recovery::Act,
        Observation::Differs { .. } if repeatable => Recovery::NotDone,
        // A condition that could not be asked is no permission: only the author's own word that twice does no harm is.
        Observation::CannotTell { .. } if blind && may_act => Recovery::Act,
        Observation::Differs { .. } | Observation::CannotTell { .. } => Recovery::Unknown,
    }
}

/// What is to be done with a task that no agent has begun before, by what its first observation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It is done already.
    InPlace,
    Act,
    /// Its fence was raised, which ended the question too.
    Ended,
    /// It may be done already by an earlier attempt whose end nobody saw: it can be seen, and there was no answer.
    Unanswered,
}

/// `repeatable` and `blind` as in [`recover`].
pub fn begin(observation: &Observation, repeatable: bool, blind: bool, ended: bool) -> Beginning {
    match observation {
        Observation::InPlace { .. } => Beginning::InPlace,
        Observation::Differs { .. } | Observation::CannotTell { .. } if ended => Beginning::Ended,
        Observation::CannotTell { .. } if repeatable && !blind => Beginning::Unanswered,
        Observation::Differs { .. } | Observation::CannotTell { .. } => Beginning::Act,
    }
}

#[cfg(test)]
mod tests;
