//! One target, for a time: cases made, fed and watched. What leads to an answer of a new shape is kept and changed further.
//!
//! Apart because it knows nothing of what is parsed. It must never go on after a find: the case is the result.

use std::{
    any::Any,
    collections::BTreeSet,
    fmt, fs,
    os::unix::fs::FileExt as _,
    panic::{self, AssertUnwindSafe},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use rustix::time::{ClockId, clock_gettime};

use crate::{chance::Chance, mutation, target::Target};

/// The stack of the threads on which the product parses: tokio's.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// Time of the processor, not of the clock: another's load makes nobody slow. Of a program without optimization.
const SLOW: Duration = Duration::from_secs(2);
/// Cases that led somewhere new, beside the corpus.
const KEPT_MAX: usize = 4096;

/// How long, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub cases: u64,
    pub bytes: u64,
    /// Answers of different shapes.
    pub shapes: usize,
    pub longest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, bytes, shapes, longest } = self;
        write!(f, "{cases} cases, {} MB, {shapes} shapes of answers, the longest took {longest:.0?}", bytes / 1_000_000)
    }
}

/// A case that no parser should be brought down by, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    pub what: String,
    pub case: Vec<u8>,
}

/// Where the case that is fed now is written down, for whoever finds the process dead.
pub struct Note(fs::File);

impl Note {
    pub fn at(path: &Path) -> Result<Self> {
        Ok(Self(fs::File::create(path).with_context(|| format!("make {}", path.display()))?))
    }

    fn write(&self, case: &[u8]) {
        // Two writes: the length first, so that a shorter case after a longer one ends where it ends.
        let length = u64::try_from(case.len()).unwrap_or(u64::MAX).to_be_bytes();
        drop(self.0.write_all_at(&length, 0).and_then(|()| self.0.write_all_at(case, 8)));
    }

    /// What was noted last.
    pub fn read(path: &Path) -> Option<Vec<u8>> {
        let noted = fs::read(path).ok()?;
        let length = usize::try_from(u64::from_be_bytes(noted.get(..8)?.try_into().ok()?)).ok()?;
        noted.get(8..8 + length).map(<[u8]>::to_vec)
    }
}

/// Feeds a target for so long. `Err`: the find.
pub fn hunt(target: &Target, seed: u64, time: Duration, note: Option<&Note>) -> Result<Figures, Find> {
    on_its_own_stack(|| run(target, seed, time, note))
}

/// Feeds one case.
pub fn feed(target: &Target, case: &[u8]) -> Result<(), Find> {
    on_its_own_stack(|| try_one(target, case).map(drop))
}

fn on_its_own_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.expect("a thread can be started").join().expect("panics of a target are caught")
    })
}

fn run(target: &Target, seed: u64, time: Duration, note: Option<&Note>) -> Result<Figures, Find> {
    let mut chance = Chance::new(seed);
    let mut pool = (target.corpus)();
    let words = mutation::words(&pool);
    let mut figures = Figures::default();
    let mut shapes = BTreeSet::new();
    let begun = Instant::now();
    // What is real comes first, as it is.
    let mut real = pool.clone().into_iter();
    while begun.elapsed() < time {
        let case = real.next().unwrap_or_else(|| mutation::case(&pool, &words, &mut chance));
        note.inspect(|note| note.write(&case));
        let (shape, took) = try_one(target, &case)?;
        figures.cases += 1;
        figures.bytes += case.len() as u64;
        figures.longest = figures.longest.max(took);
        if shapes.insert(shape) && pool.len() < KEPT_MAX && case.len() <= mutation::BYTES_MAX {
            pool.push(case);
        }
    }
    figures.shapes = shapes.len();
    Ok(figures)
}

/// The shape of the answer, and how long it took.
fn try_one(target: &Target, case: &[u8]) -> Result<(u64, Duration), Find> {
    let found = |what: String| Find { what, case: case.to_vec() };
    let begun = worked();
    let shape = panic::catch_unwind(AssertUnwindSafe(|| (target.feed)(case)));
    let took = worked().saturating_sub(begun);
    match shape {
        Err(panic) => Err(found(format!("it panics: {}", words_of(panic.as_ref())))),
        Ok(_) if took > SLOW => Err(found(format!("it takes {took:.1?} of the processor's time"))),
        Ok(shape) => Ok((shape, took)),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

fn worked() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The target of that name.
pub fn named(name: &str) -> Result<&'static Target> {
    let all = crate::target::all();
    let known: Vec<&str> = all.iter().map(|target| target.name).collect();
    all.iter()
        .find(|target| target.name == name)
        .ok_or_else(|| anyhow!("there is no target {name:?}; there are {}", known.join(", ")))
}
