//! Whether this host's words are fresh: nothing that it was told before a pause is begun after it.
//!
//! Pure: moments come in, as milliseconds of a clock that counts sleep. It must never take an answer for a fresh one because it
//! has just arrived: what counts is when the question was sent.

use baton_model::{outcome::Fault, time::Span};

use crate::ledger::Ruler;

/// The last answers of whoever rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Freshness {
    confirmed: Option<Confirmed>,
    /// The end of the last time for which it was certain that the ruler ruled; what was told before is to be told again.
    lost_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Confirmed {
    by: Ruler,
    sent_ms: u64,
}

impl Freshness {
    /// The ruler had its leadership confirmed after a heartbeat sent then. `shortest`: of the leases of this host. Where that ends a
    /// gap: since when; what was told before is to be told again.
    pub fn confirm(&mut self, by: &Ruler, sent_ms: u64, shortest: Option<Span>) -> Option<u64> {
        let mut gap = None;
        if let Some(before) = &self.confirmed {
            if sent_ms < before.sent_ms {
                return None;
            }
            if let Some(lasts) = shortest.filter(|lasts| sent_ms - before.sent_ms > lasts.0) {
                self.lost_ms = self.lost_ms.max(before.sent_ms + lasts.0);
                gap = Some(self.lost_ms);
            }
        }
        self.confirmed = Some(Confirmed { by: by.clone(), sent_ms });
        gap
    }

    /// This process, or this machine, stood still until now.
    pub fn paused(&mut self, now_ms: u64) {
        self.lost_ms = now_ms;
        self.confirmed = None;
    }

    /// Whether an order of a group with such a lease may begin, that was told (last) then.
    pub fn may_begin(&self, ruler: &Ruler, lasts: Span, told_ms: Option<u64>, now_ms: u64) -> Result<(), Fault> {
        let remedy = "See whether this host reaches the leader; retry the step when it does.";
        let refuse = |message: String| Err(Fault::new("BTN-0445", message, remedy));
        let Some(confirmed) = self.confirmed.as_ref().filter(|confirmed| confirmed.by == *ruler) else {
            return refuse(format!(
                "no heartbeat was answered by a leader of reign {} that was confirmed",
                ruler.reign
            ));
        };
        let age = now_ms.saturating_sub(confirmed.sent_ms);
        if age >= lasts.0 {
            let age = Span(age);
            return refuse(format!(
                "the last heartbeat that the leader confirmed is {age} old, and the lease lasts {lasts}"
            ));
        }
        if told_ms.is_none_or(|told_ms| told_ms <= self.lost_ms) {
            return refuse("it was ordered before this host heard nothing for longer than the lease".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use baton_model::fence::Reign;

    use super::*;

    const LASTS: Span = Span(1_000);

    fn ruler(term: u64) -> Ruler {
        Ruler { reign: Reign { generation: 1, term }, coordinator: "c1".into() }
    }

    fn may(freshness: &Freshness, told_ms: u64, now_ms: u64) -> bool {
        freshness.may_begin(&ruler(1), LASTS, Some(told_ms), now_ms).is_ok()
    }

    #[test]
    fn an_order_begins_while_the_leader_is_certain_and_not_after_a_gap() {
        let mut freshness = Freshness::default();
        assert!(!may(&freshness, 10, 10), "nobody has confirmed anything");
        freshness.confirm(&ruler(1), 100, Some(LASTS));
        assert!(may(&freshness, 50, 1_099) && !may(&freshness, 50, 1_100));
        assert!(freshness.may_begin(&ruler(2), LASTS, Some(50), 200).is_err(), "somebody else rules");
        assert!(freshness.may_begin(&ruler(1), LASTS, None, 200).is_err(), "of an earlier process");
        // Without a gap, what was told long ago begins too.
        freshness.confirm(&ruler(1), 1_100, Some(LASTS));
        assert!(may(&freshness, 50, 1_200));
        // With one, only what was told since it began.
        freshness.confirm(&ruler(1), 2_101, Some(LASTS));
        assert!(!may(&freshness, 50, 2_102) && !may(&freshness, 2_100, 2_102) && may(&freshness, 2_101, 2_102));
    }

    #[test]
    fn after_a_pause_everything_is_to_be_said_again() {
        let mut freshness = Freshness::default();
        freshness.confirm(&ruler(1), 100, Some(LASTS));
        freshness.paused(500);
        assert!(!may(&freshness, 400, 501));
        freshness.confirm(&ruler(1), 510, Some(LASTS));
        assert!(!may(&freshness, 400, 520) && may(&freshness, 505, 520));
    }

    #[test]
    fn a_late_answer_is_as_old_as_its_question() {
        let mut freshness = Freshness::default();
        freshness.confirm(&ruler(1), 5_000, Some(LASTS));
        freshness.confirm(&ruler(1), 100, Some(LASTS));
        assert!(may(&freshness, 4_000, 5_500), "an older answer takes nothing away");
        let fault = freshness.may_begin(&ruler(1), LASTS, Some(1), 7_000).expect_err("too old");
        assert!(fault.to_string().contains("BTN-0445") && fault.message.contains("2s"), "{fault}");
    }
}
