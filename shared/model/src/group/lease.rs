//! How long a primary may serve without hearing that it still is one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

/// Shorter than this, a slow disk or a pause of the scheduler would stop services.
pub const LASTS_MIN: Span = Span(1_000);
pub const LASTS_MAX: Span = Span::from_secs(600);

/// The primary's lease. Its agent counts from the moment at which it sent the question; who waits for the end adds
/// [`Lease::surely_over`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "LeaseFile", into = "LeaseFile")]
#[schemars(with = "LeaseFile")]
pub struct Lease {
    /// From one renewal to the moment at which the exclusive components are stopped.
    pub lasts: Span,
    /// How long stopping them may take; beyond it the host's watchdog, where there is one, resets the host.
    pub stop_within: Span,
}

/// How [`Lease`] may be written: `15s`, or with both.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Lease")]
pub enum LeaseFile {
    Lasts(Span),
    Both(LeaseParts),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseParts {
    /// From one renewal to the moment at which the exclusive components are stopped.
    pub lasts: Span,
    /// How long stopping them may take.
    #[serde(default = "stop_within")]
    pub stop_within: Span,
}

fn stop_within() -> Span {
    Span::from_secs(10)
}

/// An agent that has just started waits so long for the first word of a coordinator before it stops what runs.
pub const FIRST_WORD: Span = Span(1_000);
/// Between a clock that says that the time is over and the stop that follows, also where the agent has died just then and is started
/// again by systemd a second later.
const LATENESS: Span = Span(3_000);

impl Lease {
    /// How long after the last renewal nothing of it can run any more: the lease itself, stopping, the time an agent that was started
    /// anew waits for its first word, and one percent for clocks that do not run alike.
    pub fn surely_over(&self) -> Span {
        let counted = self.lasts.0 + self.stop_within.0 + FIRST_WORD.0 + LATENESS.0;
        Span(counted + counted.div_ceil(100))
    }
}

/// From the end of an election to the first renewal by the new leader: it announces itself, assigns, and is asked.
const FIRST_RENEWAL: Span = Span(500);
/// Agents ask for a renewal so many times in a lease.
const ASKED_TIMES: u64 = 5;

/// The shortest lease that outlives the death of a leader, in a cluster whose elections are decided after at most twice
/// `election_max`; and why, in numbers.
pub fn least(election_max: Span) -> (Span, String) {
    let unheard = election_max.0 * 2 + FIRST_RENEWAL.0;
    // A fifth of it may have passed when the leader dies.
    let least = Span((unheard * ASKED_TIMES).div_ceil(ASKED_TIMES - 1));
    let why = format!(
        "a new leader renews at the latest 2 x {election_max} (election_max_ms) + {FIRST_RENEWAL} after the old one's death, and 1/{ASKED_TIMES} of the lease may be over then: (2 x {election_max} + {FIRST_RENEWAL}) x {ASKED_TIMES}/{} = {least}",
        ASKED_TIMES - 1
    );
    (least, why)
}

impl From<LeaseFile> for Lease {
    fn from(file: LeaseFile) -> Self {
        match file {
            LeaseFile::Lasts(lasts) => Self { lasts, stop_within: stop_within() },
            LeaseFile::Both(LeaseParts { lasts, stop_within }) => Self { lasts, stop_within },
        }
    }
}

impl From<Lease> for LeaseFile {
    fn from(lease: Lease) -> Self {
        Self::Both(LeaseParts { lasts: lease.lasts, stop_within: lease.stop_within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlives_a_leader_and_the_arithmetic_is_told() {
        let (least, why) = least(Span(500));
        assert_eq!(least, Span(1_875));
        assert!(why.ends_with("(2 x 500ms + 500ms) x 5/4 = 1s875ms"), "{why}");
    }

    #[test]
    fn who_waits_waits_longer_than_the_holder_may_serve() {
        let lease: Lease = serde_json::from_str("\"10s\"").expect("a lease");
        assert_eq!(lease, Lease { lasts: Span::from_secs(10), stop_within: Span::from_secs(10) });
        assert!(lease.surely_over().0 > lease.lasts.0 + lease.stop_within.0 + FIRST_WORD.0);
        let written = serde_json::to_string(&lease).expect("text");
        assert_eq!(serde_json::from_str::<Lease>(&written).expect("read back"), lease);
    }
}
