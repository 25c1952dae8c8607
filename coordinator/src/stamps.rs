//! The moments that entries are stamped with: a time that never goes back, and never stands still.
//!
//! Pure, and apart because everything that waits in replicated state waits by it: deadlines, delays, cool-downs. A clock that was an
//! hour ahead for one entry and then went back would stop that time for an hour. It must never be ahead of both the wall clock and
//! the latest entry by more than time has passed.

use baton_model::time::Moment;

/// While the wall clock is behind the latest entry, time goes on so many times slower than it does: what waits is late and never
/// early, and the wall clock catches up.
const SLOWER: u64 = 2;

/// The latest entry that was ahead of what was reckoned, and when that was noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    latest: Moment,
    noticed_ms: u64,
}

impl Stamps {
    /// The moment now. `monotonic_ms`: of a clock that does not jump.
    pub fn now(&mut self, wall: Moment, latest: Moment, monotonic_ms: u64) -> Moment {
        let passed = monotonic_ms.saturating_sub(self.noticed_ms) / SLOWER;
        let mut reckoned = Moment(self.latest.0.saturating_add(passed));
        if latest > reckoned {
            *self = Self { latest, noticed_ms: monotonic_ms };
            reckoned = latest;
        }
        wall.max(reckoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_clock_that_went_back_delays_and_does_not_stop_time() {
        let mut stamps = Stamps::default();
        let mut latest = Moment(0);
        let mut at = |wall: u64, monotonic_ms: u64| {
            latest = stamps.now(Moment(wall), latest, monotonic_ms);
            latest.0
        };
        assert_eq!(at(10 * HOUR, 5), 10 * HOUR);
        assert_eq!(at(11 * HOUR, 1_005), 11 * HOUR, "an hour ahead");
        assert_eq!(at(10 * HOUR + 2_000, 2_005), 11 * HOUR, "noticed when it is back");
        assert_eq!(at(10 * HOUR + 4_000, 4_005), 11 * HOUR + 1_000);
        // Looked at again and again, nothing is lost by rounding.
        for ms in 4_005..6_005 {
            at(10 * HOUR + ms, ms);
        }
        assert_eq!(at(10 * HOUR + 6_000, 6_005), 11 * HOUR + 2_000);
        assert_eq!(at(13 * HOUR, 3 * HOUR), 13 * HOUR, "it has caught up");
    }

    #[test]
    fn a_predecessors_entry_is_not_gone_behind() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.now(Moment(100), Moment(5_000), 1), Moment(5_000));
        assert_eq!(stamps.now(Moment(200), Moment(5_000), 101), Moment(5_050));
        assert_eq!(stamps.now(Moment(300), Moment(9_000), 201), Moment(9_000), "another one was further");
    }
}
