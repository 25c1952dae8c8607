//! Makes a plan that fails smaller, as long as it fails in the same way.

use crate::{driver::Driver, plan::Plan, verdict::Failure, world::TICK_MS};

/// Worlds that may be run for it.
const TRIES_MAX: u32 = 200;

/// The smallest that was found, and how it fails.
pub fn shrink(driver: &Driver, failure: &Failure) -> Failure {
    let mut best = failure.clone();
    let mut tries = 0;
    let mut attempt = |best: &mut Failure, plan: Plan| -> bool {
        tries += 1;
        let verdict = driver.plan(&plan);
        match verdict.failure.filter(|found| found.invariant == best.invariant) {
            Some(found) => {
                *best = found;
                true
            }
            None => false,
        }
    };
    // What comes after the failure has no part in it; and where a run does not end, when it ought to have been mended does not matter.
    let last = ((failure.at - failure.begun) * 1_000.0) as u64 / TICK_MS + 1;
    let mut early = failure.plan.clone();
    early.events.retain(|event| event.tick <= last);
    if early != failure.plan {
        attempt(&mut best, early);
    }
    let mut size = best.plan.events.len().div_ceil(2).max(1);
    let mut budget = TRIES_MAX;
    loop {
        let mut at = 0;
        let mut smaller = false;
        while at < best.plan.events.len() && budget > 0 {
            budget -= 1;
            let mut plan = best.plan.clone();
            let end = (at + size).min(plan.events.len());
            plan.events.drain(at..end);
            if attempt(&mut best, plan) {
                smaller = true;
            } else {
                at += size;
            }
        }
        if budget == 0 || size == 1 && !smaller {
            return best;
        }
        size = size.div_ceil(2).max(1);
    }
}
