//! One life of one process: from its start to its end, whichever way it ends.
//!
//! Apart because everything that leaves a process asks here first. What is dead must not write, send or change anything any more,
//! not even from a destructor: a power cut runs no destructors.

use std::{
    cell::RefCell,
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

#[derive(Debug)]
pub struct Life {
    pub name: String,
    dead: AtomicBool,
    /// How long it stands still next, because its disk does.
    stall_ms: AtomicU64,
    /// Why it panicked, where that was not our doing.
    panicked: Mutex<Vec<String>>,
}

impl Life {
    pub fn begin(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            dead: AtomicBool::new(false),
            stall_ms: AtomicU64::new(0),
            panicked: Mutex::default(),
        })
    }

    pub fn is_over(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Ends it from within, and does not come back.
    pub fn end_here(&self) -> ! {
        self.end();
        panic::panic_any(Ended)
    }

    pub fn stall(&self, ms: u64) {
        self.stall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn take_stall(&self) -> u64 {
        self.stall_ms.swap(0, Ordering::SeqCst)
    }

    pub fn take_panics(&self) -> Vec<String> {
        std::mem::take(&mut *self.panicked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What unwinds out of a process that was ended in the middle of something.
struct Ended;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
}

/// What runs now; none: the world itself.
pub fn current() -> Option<Arc<Life>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs something as this process.
pub fn within<T>(life: &Arc<Life>, run: impl FnOnce() -> T) -> T {
    let before = CURRENT.with_borrow_mut(|current| current.replace(life.clone()));
    let result = run();
    CURRENT.with_borrow_mut(|current| *current = before);
    result
}

/// A panic of a simulated process is something that the world judges, and nothing that is printed.
pub fn listen_for_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| match current() {
        Some(life) => {
            if !life.is_over() {
                life.panicked.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
        }
        None => usual(info),
    }));
}
