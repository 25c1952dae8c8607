//! The post: the one copy of where this host stands, for the guard, the sessions and the executor.
//!
//! Apart because they run on different threads. Each call takes the lock for as long as a calculation takes, and never while it
//! waits: the guard must not stand behind a disk or a network.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use baton_model::{
    assignment::{Health, Seen, Tenure, Watched},
    ids::GroupName,
    outcome::Fault,
    time::{Moment, Span},
};
use baton_platform::clock::Clock;
use baton_wire::assignment::Renewal;
use tokio::sync::{Notify, watch};

use crate::{
    ledger::{Assigned, Ledger, Ruler},
    standing::{Duty, Key, Standing, Vigil},
};

/// What has happened, as numbers that rise: a session looks at what is new to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    /// Something in a heartbeat other than the time that is left.
    pub tenures: u64,
    /// What was seen of components.
    pub seen: u64,
    /// A leader that was confirmed has answered.
    pub confirmed: u64,
    /// This process stood still for longer than a lease.
    pub paused: u64,
}

struct Held {
    standing: Standing,
    /// What the sessions were last told to say.
    told: Vec<Tenure>,
    seen: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Post(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    wake: Notify,
    pulse: watch::Sender<Pulse>,
}

impl Post {
    /// As the journal has it.
    pub fn new(clock: Arc<dyn Clock>, ledger: &Ledger) -> Self {
        let (now_ms, now) = (clock.boot_ms(), Moment(clock.now_unix_ms()));
        let waiting_ms = ledger.waiting.as_ref().map_or(now_ms, |waiting| waiting.since_ms);
        let standing = Standing::new(ledger.assigned.clone(), ledger.ruler.clone(), waiting_ms, now_ms, now);
        let (pulse, _) = watch::channel(Pulse::default());
        let held = Mutex::new(Held { standing, told: Vec::new(), seen: 0 });
        Self(Arc::new(Inner { clock, held, wake: Notify::new(), pulse }))
    }

    /// The clock that counts sleep.
    pub fn now_ms(&self) -> u64 {
        self.0.clock.boot_ms()
    }

    /// The agent is about to end.
    pub fn retire(&self) {
        self.change(Standing::retire);
        self.0.wake.notify_one();
    }

    /// What each session listens to.
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.0.pulse.subscribe()
    }

    /// These are on disk.
    pub fn assign(&self, assigned: Arc<Assigned>) {
        let now = self.now();
        self.change(|standing, now_ms| standing.assign(assigned, now_ms, now));
        self.0.wake.notify_one();
    }

    /// This is on disk.
    pub fn accede(&self, ruler: Ruler) {
        self.change(|standing, _| standing.accede(ruler));
        // What it answered before it was known to rule gave no lease: it is asked at once.
        self.0.pulse.send_modify(|pulse| pulse.tenures += 1);
    }

    /// The answer of a leader that was confirmed, to a heartbeat that was sent then.
    pub fn confirmed(&self, from: &str, term: u64, sent_ms: u64, renewals: &[Renewal]) {
        let ruler = self.change(|standing, now_ms| standing.confirmed(from, term, sent_ms, renewals, now_ms));
        if ruler {
            self.0.pulse.send_modify(|pulse| pulse.confirmed += 1);
            self.0.wake.notify_one();
        }
    }

    /// The guard looks at the clock.
    pub fn tick(&self) -> u64 {
        let (paused, now_ms) = self.change(|standing, now_ms| (standing.tick(now_ms), now_ms));
        if paused {
            tracing::warn!(
                "this process stood still for longer than a lease lasts; what it was told before is not done"
            );
            self.0.pulse.send_modify(|pulse| pulse.paused += 1);
        }
        now_ms
    }

    pub fn saw(&self, key: &Key, health: Health, what: String, stopped_under: Option<u64>) {
        let now = self.now();
        self.change(|standing, now_ms| standing.saw(key, health, what, stopped_under, now_ms, now));
    }

    pub fn may_begin(&self, group: &GroupName, told_ms: Option<u64>) -> Result<(), Fault> {
        self.look(|standing, now_ms| standing.may_begin(group, told_ms, now_ms))
    }

    pub fn shortest(&self) -> Option<Span> {
        self.look(|standing, _| standing.shortest())
    }

    pub fn wants_word(&self) -> bool {
        self.look(Standing::wants_word)
    }

    pub fn tenures(&self) -> Vec<Tenure> {
        self.look(|standing, now_ms| standing.tenures(now_ms))
    }

    pub fn seen_since(&self, version: u64) -> (Vec<Seen>, u64) {
        self.look(|standing, _| standing.seen_since(version))
    }

    pub fn vigil(&self) -> Vigil {
        self.look(|standing, now_ms| standing.vigil(now_ms))
    }

    /// For whoever shows where this host stands.
    pub fn read<T>(&self, read: impl FnOnce(&Standing, u64) -> T) -> T {
        self.look(read)
    }

    pub(super) fn duties(&self) -> Vec<(Key, Watched, Duty)> {
        self.look(|standing, now_ms| standing.duties(now_ms))
    }

    pub(super) fn next_end(&self, now_ms: u64) -> Option<u64> {
        self.look(|standing, _| standing.next_end(now_ms))
    }

    pub(super) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    fn now(&self) -> Moment {
        Moment(self.0.clock.now_unix_ms())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, look: impl FnOnce(&Standing, u64) -> T) -> T {
        let held = self.lock();
        // Read under the lock: nothing that another thread did meanwhile is judged by an older clock.
        look(&held.standing, self.now_ms())
    }

    /// Changes it, and tells the sessions where something changed that they say: by this, or by the time that went by.
    fn change<T>(&self, change: impl FnOnce(&mut Standing, u64) -> T) -> T {
        let mut held = self.lock();
        let now_ms = self.now_ms();
        let result = change(&mut held.standing, now_ms);
        let (told, seen) = (held.standing.told(now_ms), held.standing.seen_since(u64::MAX).1);
        let (tenures_changed, seen_changed) = (told != held.told, seen != held.seen);
        (held.told, held.seen) = (told, seen);
        drop(held);
        if tenures_changed || seen_changed {
            self.0.pulse.send_modify(|pulse| {
                pulse.tenures += u64::from(tenures_changed);
                pulse.seen = pulse.seen.max(seen);
            });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use baton_model::{
        assignment::{Assignment, Part},
        fence::Reign,
        group::Lease,
        ids::Epoch,
    };
    use baton_platform::clock::ManualClock;

    use super::*;

    fn post(clock: &ManualClock) -> Post {
        let lease = Some(Lease { lasts: Span(5_000), stop_within: Span(1_000) });
        let group = "g".parse().expect("a name");
        let assignment = Assignment {
            group,
            epoch: Epoch(3),
            index: 10,
            member: None,
            part: Part::Primary,
            lease,
            components: Vec::new(),
        };
        let ruler = Ruler { reign: Reign { generation: 1, term: 2 }, coordinator: "c1".into() };
        let assigned = Arc::new(Assigned { generation: 1, index: 10, list: vec![assignment] });
        Post::new(Arc::new(clock.clone()), &Ledger { ruler, assigned, ..Ledger::default() })
    }

    fn renewal() -> Renewal {
        Renewal { group: "g".parse().expect("a name"), epoch: Epoch(3), index: 10, lasts: Span(5_000) }
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_nothing() {
        let clock = ManualClock::at_unix_ms(1_800_000_000_000);
        clock.advance_ms(1_000);
        let post = post(&clock);
        post.tick();
        let sent_ms = post.now_ms();
        clock.advance_ms(100);
        post.confirmed("c1", 2, sent_ms, &[renewal()]);
        let pulse = post.pulse();
        for jumped in [1_800_000_000_000 + 3_600_000, 1_800_000_000_000 - 3_600_000, 0] {
            clock.set_unix_ms(jumped);
            post.tick();
            assert_eq!(post.tenures()[0].lease_left, Span(4_900));
            assert!(post.may_begin(&"g".parse().expect("a name"), Some(sent_ms)).is_ok());
        }
        assert!(!pulse.has_changed().expect("it is there"), "nobody has anything to say");
        clock.advance_ms(4_900);
        assert_eq!(post.tenures()[0].lease_left, Span(0));
    }

    #[test]
    fn the_end_of_a_lease_is_told_at_once_and_a_pause_ends_sessions() {
        let clock = ManualClock::at_unix_ms(0);
        let post = post(&clock);
        post.tick();
        post.confirmed("c1", 2, 0, &[renewal()]);
        let mut pulse = post.pulse();
        let before = *pulse.borrow_and_update();
        clock.advance_ms(2_500);
        post.tick();
        assert!(!pulse.has_changed().expect("it is there"));
        clock.advance_ms(2_500);
        post.tick();
        let ended = *pulse.borrow_and_update();
        assert_eq!((ended.tenures, ended.paused), (before.tenures + 1, before.paused));
        clock.advance_ms(5_001);
        post.tick();
        assert_eq!(pulse.borrow_and_update().paused, before.paused + 1);
    }
}
