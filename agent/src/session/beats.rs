//! The heartbeats of one session: when each was sent, which of them was answered last.
//!
//! Pure, and apart because leases and the age of everything else that this session says hang on it. What counts is this side's own
//! record of when it asked; what the other side says about that is not read.

use std::{collections::VecDeque, time::Duration};

use baton_model::time::Span;

/// More than these without an answer, and the oldest is forgotten.
const UNANSWERED_MAX: usize = 128;
/// Heartbeats in the time of a lease: some may be lost.
const IN_A_LEASE: u32 = 5;
const PERIOD_MIN: Duration = Duration::from_millis(50);
/// While a word is waited for that lets a primary serve.
const URGENT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Beats {
    sequence: u64,
    sent: VecDeque<(u64, u64)>,
    /// When the last one was sent that was answered; at first, the Hello.
    answered_ms: u64,
}

impl Beats {
    pub fn new(hello_ms: u64) -> Self {
        Self { sequence: 0, sent: VecDeque::new(), answered_ms: hello_ms }
    }

    /// The next one's number. Its moment is before it is on its way, and never after.
    pub fn send(&mut self, now_ms: u64) -> u64 {
        self.sequence += 1;
        if self.sent.len() >= UNANSWERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((self.sequence, now_ms));
        self.sequence
    }

    /// When the one was sent that this answers. Each is answered once, and in order.
    pub fn answered(&mut self, sequence: u64) -> Option<u64> {
        let at = self.sent.iter().position(|(number, _)| *number == sequence)?;
        let (_, sent_ms) = self.sent.drain(..=at).next_back()?;
        self.answered_ms = self.answered_ms.max(sent_ms);
        Some(sent_ms)
    }

    /// Whether what comes now may have lain somewhere for longer than this host goes by old words.
    pub fn is_stale(&self, shortest: Option<Span>, now_ms: u64) -> bool {
        shortest.is_some_and(|lasts| now_ms.saturating_sub(self.answered_ms) > lasts.0)
    }
}

/// Between two heartbeats: as the coordinator wishes, and several in the time of the shortest lease.
pub fn period(wished: Duration, shortest: Option<Span>, urgent: bool) -> Duration {
    let leased = shortest.map(|lasts| lasts.to_std() / IN_A_LEASE);
    let period = leased.map_or(wished, |leased| leased.min(wished));
    if urgent { period.min(URGENT) } else { period }.max(PERIOD_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_old_as_its_question_and_counts_once() {
        let mut beats = Beats::new(100);
        let (first, second) = (beats.send(1_000), beats.send(2_000));
        assert_eq!(beats.answered(9), None, "nobody asked");
        assert_eq!(beats.answered(second), Some(2_000));
        assert_eq!((beats.answered(first), beats.answered(second)), (None, None), "a late or second answer");
        let lasts = Some(Span(500));
        assert!(!beats.is_stale(lasts, 2_500) && beats.is_stale(lasts, 2_501) && !beats.is_stale(None, 99_999));
        assert!(Beats::new(100).is_stale(lasts, 601), "nothing was answered since the Hello");
        for now_ms in 0..1_000 {
            beats.send(now_ms);
        }
        assert!(beats.sent.len() <= UNANSWERED_MAX);
    }

    #[test]
    fn the_shortest_lease_makes_the_pace() {
        let wished = Duration::from_secs(2);
        for (lasts, expected) in [(None, 2_000), (Some(60_000), 2_000), (Some(5_000), 1_000), (Some(100), 50)] {
            assert_eq!(period(wished, lasts.map(Span), false).as_millis(), expected, "{lasts:?}");
        }
        assert_eq!(period(wished, Some(Span(60_000)), true).as_millis(), 200);
    }
}
