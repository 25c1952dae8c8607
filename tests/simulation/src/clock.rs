//! A machine's clocks: they count local time, which drifts, jumps and begins anew with the machine.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use baton_platform::clock::Clock;
use tokio::time::Instant;

use crate::entropy::BEGIN_UNIX_MS;

/// How far the wall clock of a machine is off. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct WallOffset(Arc<AtomicI64>);

impl WallOffset {
    pub fn set_ms(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

/// As one process on the machine sees them. Made and read inside its runtime.
#[derive(Debug, Clone)]
pub struct MachineClock {
    pub offset: WallOffset,
    /// When the process started: since the machine did, and since the world began, both in the machine's own milliseconds.
    pub boot_ms: u64,
    pub lived_ms: u64,
    pub started: Instant,
}

impl MachineClock {
    fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Clock for MachineClock {
    fn now_unix_ms(&self) -> u64 {
        (BEGIN_UNIX_MS + self.lived_ms + self.elapsed_ms()).saturating_add_signed(self.offset.0.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.elapsed_ms()
    }

    fn boot_ms(&self) -> u64 {
        self.boot_ms + self.elapsed_ms()
    }
}
