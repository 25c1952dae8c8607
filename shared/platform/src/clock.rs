//! Time, as a thing that is handed in.
//!
//! Apart so that a test and a simulation decide what time it is. It must never be read by a decision: decisions take
//! milliseconds as a parameter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Three clocks that must not be mixed.
pub trait Clock: Send + Sync + 'static {
    /// Wall clock, milliseconds since 1970. For stamps that people read; it may jump in both directions, so never
    /// for measuring a wait.
    fn now_unix_ms(&self) -> u64;

    /// Milliseconds since some moment in the past of this process; never goes back. For deadlines.
    fn monotonic_ms(&self) -> u64;

    /// Milliseconds since the machine started; never goes back, and counts the time for which it slept. For leases: a machine that
    /// was suspended has not stood still for those who wait for it.
    fn boot_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    // tokio's, not std's: the two are the same in production, and under a paused or simulated runtime this one follows.
    started: tokio::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic part begins at 0 now.
    pub fn new() -> Self {
        Self { started: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_unix_ms(&self) -> u64 {
        // A clock set before 1970 gives 0: a stamp that is plainly wrong is better than a process that stops.
        SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or_default()
    }

    fn monotonic_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn boot_ms(&self) -> u64 {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        boot.tv_sec as u64 * 1_000 + boot.tv_nsec as u64 / 1_000_000
    }
}

/// A clock that stands until it is moved; its clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    times: Arc<Times>,
}

#[derive(Debug, Default)]
struct Times {
    unix_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows this wall time, and 0 on its monotonic part.
    pub fn at_unix_ms(unix_ms: u64) -> Self {
        let clock = Self::default();
        clock.set_unix_ms(unix_ms);
        clock
    }

    /// Lets time pass, on both parts.
    pub fn advance_ms(&self, by_ms: u64) {
        self.times.unix_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.times.monotonic_ms.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an administrator or NTP does.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.times.unix_ms.store(unix_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_unix_ms(&self) -> u64 {
        self.times.unix_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> u64 {
        self.times.monotonic_ms.load(Ordering::SeqCst)
    }

    fn boot_ms(&self) -> u64 {
        self.monotonic_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_wall_clock_back_does_not_move_the_monotonic_one() {
        let clock = ManualClock::at_unix_ms(10_000);
        let other = clock.clone();
        clock.advance_ms(500);
        assert_eq!((other.now_unix_ms(), other.monotonic_ms()), (10_500, 500));
        clock.set_unix_ms(1);
        assert_eq!((other.now_unix_ms(), other.monotonic_ms()), (1, 500));
    }

    #[test]
    fn the_system_clock_knows_the_year_and_does_not_go_back() {
        let clock = SystemClock::new();
        assert!(clock.now_unix_ms() > 1_600_000_000_000);
        let first = clock.monotonic_ms();
        assert!(clock.monotonic_ms() >= first);
        let first = clock.boot_ms();
        assert!(first > 0 && clock.boot_ms() >= first);
    }
}
