//! What the coordinators have committed, put together from what each of them applies.
//!
//! Apart because the coordinators are judged by it: an entry counts as committed from the moment at which the first of them applies
//! it, and everybody else must apply the same.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use baton_coordinator::replica::Witness;
use baton_engine::{
    apply::Position,
    command::{Answer, Command, Proposal},
    invariant as engine,
    state::{State, TaskStatus},
};
use baton_model::{ids::TaskId, outcome::Outcome};

use crate::{
    ground::Ground,
    invariant::{Violation, agreement, one_primary, one_run, truth},
    story::Story,
};

/// An order as the log has it.
#[derive(Debug, Clone)]
pub struct Order {
    pub due: u64,
    /// Since when nothing may happen for it any more, and why.
    pub closed: Option<(u64, String)>,
}

pub type Tasks = BTreeMap<TaskId, Order>;

/// Clones are the same record.
#[derive(Clone)]
pub struct Record(Arc<Mutex<Book>>);

struct Book {
    ground: Ground,
    story: Story,
    latest: Arc<State>,
    of: BTreeMap<String, State>,
    tasks: Tasks,
    chain: agreement::Chain,
    primaries: one_primary::Primaries,
    violations: Vec<Violation>,
    entries: u64,
    words: Words,
    without_engine: bool,
}

/// What operators' reasons came to, each of which is said once: true where it changed something.
pub type Words = BTreeMap<String, bool>;

/// One coordinator's.
struct Watcher {
    name: String,
    record: Record,
}

impl Record {
    pub fn new(ground: Ground, story: Story) -> Self {
        Self(Arc::new(Mutex::new(Book {
            ground,
            story,
            latest: Arc::default(),
            of: BTreeMap::new(),
            tasks: Tasks::new(),
            chain: agreement::Chain::new(),
            primaries: one_primary::Primaries::new(),
            violations: Vec::new(),
            entries: 0,
            words: Words::new(),
            without_engine: false,
        })))
    }

    pub fn witness(&self, name: &str) -> Arc<dyn Witness> {
        Arc::new(Watcher { name: name.to_owned(), record: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn latest(&self) -> Arc<State> {
        self.lock().latest.clone()
    }

    pub fn with_tasks<T>(&self, look: impl FnOnce(&Tasks) -> T) -> T {
        look(&self.lock().tasks)
    }

    pub fn take_violation(&self) -> Option<Violation> {
        let mut book = self.lock();
        (!book.violations.is_empty()).then(|| book.violations.remove(0))
    }

    /// How far each coordinator has come.
    pub fn applied(&self) -> BTreeMap<String, u64> {
        self.lock().of.iter().map(|(name, state)| (name.clone(), state.index)).collect()
    }

    pub fn check_end(&self) -> Option<Violation> {
        agreement::check_end(&self.lock().of)
    }

    pub fn leave_the_engine_out(&self) {
        self.lock().without_engine = true;
    }

    pub fn words(&self) -> Words {
        self.lock().words.clone()
    }

    pub fn entries(&self) -> u64 {
        self.lock().entries
    }
}

impl Witness for Watcher {
    fn applied(&self, position: Position, proposal: &Proposal, before: &State, after: &State, answer: &Answer) {
        let mut book = self.record.lock();
        let book = &mut *book;
        book.violations.extend(agreement::check(&mut book.chain, &self.name, after));
        book.of.insert(self.name.clone(), after.clone());
        if !book.without_engine {
            let found = engine::check(before, after).into_iter();
            let found = found.map(|found| Violation::new(&format!("engine: {}", found.invariant), found.what));
            book.violations.extend(found);
        }
        if position.index <= book.latest.index {
            return;
        }
        book.entries += 1;
        book.violations.extend(one_primary::check(&mut book.primaries, before, after));
        book.violations.extend(one_run::check(after));
        let fenced = matches!(proposal.command, Command::AcknowledgeFence { .. });
        let ended = follow(&mut book.tasks, before, after, fenced, book.ground.tick());
        let refused = matches!(answer, Answer::Refused { .. });
        for (task, outcome) in ended {
            let due = book.tasks.get(&task).map_or(0, |order| order.due);
            book.violations.extend(truth::check(&task, outcome, due, after, &book.ground));
        }
        if !refused {
            book.words.insert(proposal.author.why.clone(), *answer != Answer::Already);
        }
        let answered = match answer {
            Answer::Refused { fault } => format!(", refused: {fault}"),
            _ => String::new(),
        };
        book.story.tell(
            &self.name,
            format!("commits {} by {}: {}{answered}", position.index, proposal.author.who, words(&proposal.command)),
        );
        for (name, group) in &after.groups {
            if before.groups.get(name).is_some_and(|was| was.epoch != group.epoch) {
                book.story.tell("", format!("== {} is primary of {name} in epoch {}", group.primary, group.epoch));
            }
        }
        for (id, run) in &after.runs {
            let was = before.runs.get(id).map(|run| run.phase.as_str());
            if was != Some(run.phase.as_str()) {
                book.story.tell("", format!("== {id} ({}) is {}", run.plan.runbook, run.phase.as_str()));
            }
        }
        book.latest = Arc::new(after.clone());
    }

    fn restored(&self, state: &State) {
        let mut book = self.record.lock();
        let book = &mut *book;
        book.violations.extend(agreement::check(&mut book.chain, &self.name, state));
        book.of.insert(self.name.clone(), state.clone());
    }
}

/// Enough to know it again; a plan is long.
fn words(command: &Command) -> String {
    match command {
        Command::StartRun { plan, cause, .. } => format!("start {} of {} (cause {cause:?})", plan.runbook, plan.group),
        Command::DefineGroup { group, .. } => format!("define {group}"),
        Command::ReportTask { task, report } => {
            format!("report {task}: {} {}", report.outcome.as_str(), report.summary)
        }
        other => {
            let mut text = format!("{other:?}");
            text.truncate(text.floor_char_boundary(160));
            text
        }
    }
}

/// Orders that this entry made due, and those that are certainly over by it. Returns those that have ended, and how. `fenced`: it is a
/// host's word that a fence is on its disk and nothing older runs there, and not an agent's that nobody knows how a task ended.
fn follow(tasks: &mut Tasks, before: &State, after: &State, fenced: bool, tick: u64) -> Vec<(TaskId, Outcome)> {
    let mut all = Vec::new();
    for (id, run) in &after.runs {
        let was = before.runs.get(id);
        if was.is_some_and(|was| was.phase.is_over() && run.phase.is_over()) {
            continue;
        }
        for (step, state) in &run.steps {
            for (at, task) in state.tasks.iter().enumerate() {
                let earlier = was.and_then(|was| was.steps.get(step)).and_then(|state| state.tasks.get(at));
                if earlier.is_some_and(|earlier| earlier.status == task.status && earlier.attempt == task.attempt) {
                    continue;
                }
                if matches!(task.status, TaskStatus::Due { .. }) {
                    tasks.entry(run.task_id(step, task)).or_insert(Order { due: tick, closed: None });
                }
                if let TaskStatus::Ended { outcome } = task.status {
                    all.push((run.task_id(step, task), outcome));
                }
                let Some(earlier) = earlier.filter(|earlier| earlier.attempt > 0) else { continue };
                let how = match (&earlier.status, &task.status) {
                    (TaskStatus::Fencing { .. }, TaskStatus::Fencing { .. }) => None,
                    (TaskStatus::Fencing { .. }, TaskStatus::Ended { outcome: Outcome::Unknown }) if !fenced => None,
                    (TaskStatus::Fencing { .. }, now) => Some(format!("the fence was acknowledged, and it is {now:?}")),
                    (TaskStatus::Due { .. }, TaskStatus::Ended { outcome }) if *outcome != Outcome::Unknown => {
                        Some(format!("its outcome is committed: {}", outcome.as_str()))
                    }
                    (TaskStatus::Due { .. }, TaskStatus::Skipped { why }) => Some(format!("it was left out: {why}")),
                    (TaskStatus::Ended { outcome: Outcome::Unknown }, TaskStatus::Ended { outcome }) => {
                        Some(format!("its late outcome is committed: {}", outcome.as_str()))
                    }
                    _ => None,
                };
                let order = tasks.get_mut(&run.task_id(step, earlier));
                if let (Some(how), Some(order)) = (how, order) {
                    order.closed.get_or_insert((tick, how));
                }
            }
        }
    }
    all
}
