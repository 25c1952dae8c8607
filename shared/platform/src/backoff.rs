//! How long to wait before the next try.
//!
//! Apart because it is pure: the caller draws the number and does the waiting. It must never say when to give up: that
//! is for whoever knows what the trying is for.
//!
//! Exponential with full jitter: after a coordinator died, thousands of agents come back at times spread over the
//! whole bound, instead of all at the same few moments.

use std::time::Duration;

use crate::random::Random;

/// The bounds. The wait before try n is drawn from 0 to `min(max, first * 2^n)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffOptions {
    /// The bound of the first wait.
    pub first: Duration,
    /// The bound of every wait.
    pub max: Duration,
    /// No wait is shorter: a refused connection comes back in microseconds, and chance may draw 0.
    pub least: Duration,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_secs(5), least: Duration::from_millis(10) }
    }
}

impl BackoffOptions {
    /// The longest wait before try `failures` (0 for the wait after the first failure).
    pub fn bound(&self, failures: u32) -> Duration {
        // 2^32 times any sensible first wait is beyond any sensible bound, so the exponent may stop there.
        let factor = 1_u64 << failures.min(32);
        let bound_ms = (self.first.as_millis() as u64).saturating_mul(factor);
        Duration::from_millis(bound_ms).min(self.max).max(self.least)
    }

    /// The wait, given a number drawn from 0 to 2^64 - 1.
    pub fn wait(&self, failures: u32, drawn: u64) -> Duration {
        let bound_us = self.bound(failures).as_micros() as u64;
        let wait_us = (u128::from(bound_us) * u128::from(drawn) / u128::from(u64::MAX)) as u64;
        Duration::from_micros(wait_us).max(self.least)
    }
}

/// A count of failures with its bounds.
#[derive(Debug, Clone)]
pub struct Backoff {
    options: BackoffOptions,
    failures: u32,
}

impl Backoff {
    /// Nothing failed yet.
    pub fn new(options: BackoffOptions) -> Self {
        Self { options, failures: 0 }
    }

    /// One more failure: how long to wait now.
    pub fn next(&mut self, random: &Random) -> Duration {
        let wait = self.options.wait(self.failures, random.next_u64());
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// It worked: the next failure is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it failed since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BackoffOptions = BackoffOptions {
        first: Duration::from_millis(100),
        max: Duration::from_secs(5),
        least: Duration::from_millis(10),
    };

    #[test]
    fn the_bound_doubles_up_to_the_maximum_and_stays_there() {
        let bounds: Vec<u128> = (0..8).map(|n| OPTIONS.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(OPTIONS.bound(u32::MAX), OPTIONS.max);
    }

    #[test]
    fn chance_spreads_the_wait_from_the_least_to_the_bound() {
        assert_eq!(OPTIONS.wait(3, 0), OPTIONS.least);
        assert_eq!(OPTIONS.wait(3, u64::MAX), Duration::from_millis(800));
        assert_eq!(OPTIONS.wait(3, u64::MAX / 2).as_millis(), 399);
    }

    #[test]
    fn waits_are_spread_over_the_whole_bound_and_a_success_begins_again() {
        let random = Random::from_seed(1);
        let mut backoff = Backoff::new(OPTIONS);
        for _ in 0..20 {
            backoff.next(&random);
        }
        let waits: Vec<Duration> = (0..1_000).map(|_| backoff.next(&random)).collect();
        assert!(waits.iter().all(|wait| (OPTIONS.least..=OPTIONS.max).contains(wait)));
        for quarter in 0..4 {
            let (from, to) = (OPTIONS.max * quarter / 4, OPTIONS.max * (quarter + 1) / 4);
            let share = waits.iter().filter(|wait| (from..to).contains(*wait)).count();
            assert!((150..350).contains(&share), "{share} of 1000 waits in quarter {quarter}");
        }
        backoff.reset();
        assert!(backoff.next(&random) <= OPTIONS.first);
        assert_eq!(backoff.failures(), 1);
    }
}
