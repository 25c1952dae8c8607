//! Runs cells, so many at once: each on a thread of its own with a runtime of its own, because worlds are built and asked by calls
//! that block.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    cell::{self, Cell, Undisturbed, Verdict},
    procedure::{Programs, Runbook},
    results::Results,
    table::Row,
};

/// What is to be done, in order.
enum Work {
    /// The run without accidents, for the cells of its runbook, which come after it.
    Undisturbed(Runbook),
    Cell(usize, Cell),
}

/// What is known of runs without accidents; waited for by cells that are ready to compare.
#[derive(Default)]
struct References {
    known: Mutex<BTreeMap<Runbook, Result<Undisturbed, String>>>,
    news: Condvar,
}

impl References {
    fn put(&self, runbook: Runbook, reference: Result<Undisturbed, String>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(runbook, reference);
        self.news.notify_all();
    }

    /// Whoever makes it is at work already: it was before the cell in the queue.
    fn wait(&self, runbook: &Runbook) -> Result<Undisturbed> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.news.wait_while(known, |known| !known.contains_key(runbook));
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known[runbook].clone().map_err(|error| anyhow!("the run without accidents failed: {error}"))
    }
}

/// Runs all of them; `say` is told of each that has ended. The rows are in the order of the cells.
pub fn run(
    cells: &[Cell],
    jobs: usize,
    programs: &Programs,
    results: &Results,
    logs: Option<&Path>,
    say: impl Fn(&str) + Sync,
) -> Result<Vec<Row>> {
    let references = References::default();
    let queue = Mutex::new(queue(cells, results, &references));
    let rows: Mutex<BTreeMap<usize, Row>> = Mutex::default();
    let failed: Mutex<Option<anyhow::Error>> = Mutex::default();
    let row = |number, row: Row| drop(rows.lock().unwrap_or_else(PoisonError::into_inner).insert(number, row));
    for (number, cell) in cells.iter().enumerate() {
        if cell.without_victim().is_some() {
            row(number, Row::of(cell, None));
        } else if let Some(verdict) = results.green(cell) {
            row(number, Row::of(cell, Some(verdict.clone())));
        }
    }
    let work = || {
        while let Some(work) = { queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() } {
            let done = match work {
                Work::Undisturbed(runbook) => {
                    let made = guarded(|| runtime()?.block_on(cell::undisturbed(&runbook, programs)));
                    match &made {
                        Ok(made) => say(&format!(
                            "{} undisturbed: {} steps, {} facts, {:.1} s",
                            runbook.id(),
                            made.steps,
                            made.end_state.facts(),
                            made.seconds
                        )),
                        Err(error) => {
                            say(&format!("{} undisturbed: {RED} {error:#}", runbook.id(), RED = crate::table::RED))
                        }
                    }
                    let kept = made.as_ref().map_or(Ok(()), |made| results.add_undisturbed(&runbook.id(), made));
                    references.put(runbook, made.map_err(|error| format!("{error:#}")));
                    kept
                }
                Work::Cell(number, cell) => {
                    let wanted = || references.wait(&cell.runbook);
                    let verdict = guarded(|| Ok(runtime()?.block_on(cell::perform(&cell, programs, wanted, logs))));
                    let broken = |error| Verdict { red: vec![format!("{error:#}")], ..Verdict::default() };
                    let verdict = verdict.unwrap_or_else(broken);
                    let kept = results.add_cell(&cell, &verdict);
                    let ended = Row::of(&cell, Some(verdict));
                    say(&ended.words());
                    row(number, ended);
                    kept
                }
            };
            if let Err(error) = done {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error.context("keep the results")),
        None => Ok(rows.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()),
    }
}

/// What is not known yet, and for each runbook first what its cells are compared with.
fn queue(cells: &[Cell], results: &Results, references: &References) -> VecDeque<Work> {
    let mut queue = VecDeque::new();
    let mut last = None;
    for (number, cell) in cells.iter().enumerate() {
        if cell.without_victim().is_some() || results.green(cell).is_some() {
            continue;
        }
        if last != Some(cell.runbook) {
            last = Some(cell.runbook);
            match results.undisturbed(&cell.runbook.id()) {
                Some(known) => references.put(cell.runbook, Ok(known.clone())),
                None => queue.push_back(Work::Undisturbed(cell.runbook)),
            }
        }
        queue.push_back(Work::Cell(number, *cell));
    }
    queue
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("make a runtime")
}

/// A panic in the lab is this cell's, and nobody else's.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let told = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(anyhow!("it broke: {}", told(panic))))
}
