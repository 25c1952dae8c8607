//! A coordinator that gets a hundredth of the time that it wants: asleep for 99 parts, awake for one. The others do not wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use baton_lab::processes::{ProcessId, signal};
use baton_system_tests::{PATIENCE, eventually, stricken::Party};
use rustix::process::Signal;

use super::{finishes, follower, has_everything, under_way, whole_again};

/// Stops and continues a process until it is dropped. The pieces are the stimulus; nothing waits for them.
struct Slowed {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Slowed {
    fn start(process: ProcessId, awake: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (told, counted) = (stop.clone(), rounds.clone());
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                signal(process, Signal::STOP);
                thread::sleep(awake * 99);
                signal(process, Signal::CONT);
                thread::sleep(awake);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    /// It has been stopped and continued some times, before anything is asked of anybody.
    fn is_slow(&self) {
        eventually("it is slow", || match self.rounds.load(Ordering::Relaxed) {
            rounds @ 0..3 => Err(format!("{rounds} rounds")),
            _ => Ok(()),
        });
    }

    /// As fast as ever.
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("it does not panic");
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Long enough asleep that it is not heard in time; and so short that its heartbeats still come, while all that it does takes a hundred
/// times as long.
const PIECES: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(1)];

fn slow(leads: bool, awake: Duration) {
    let (mut world, run) = under_way();
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let number = if leads { leader } else { follower(&world) };
    let process = world.cluster.coordinator_process(number).expect("it runs");
    let slowed = Slowed::start(process, awake);
    slowed.is_slow();
    // The operator's word is taken, and the run goes on.
    let view = finishes(&world, &run);
    let history = view["history"].to_string();
    let said = world.baton(&["status"]);
    assert_eq!(said.code, 0, "{said:?}");
    slowed.end();
    eventually("it is at the same place as the others", || {
        let party = Party::Coordinator(number);
        if party.ended(&mut world).is_none() { Ok(()) } else { Err(party.log(&world)) }
    });
    whole_again(&mut world);
    has_everything(&world, number, &run, "succeeded");
    let tasks =
        view["steps"].as_array().expect("steps").iter().flat_map(|step| step["tasks"].as_array().expect("tasks"));
    for task in tasks {
        assert_eq!(task["attempt"], 1, "nobody had to do it again: {history}");
    }
}

#[test]
fn a_follower_that_is_a_hundred_times_slower_holds_up_nobody() {
    PIECES.into_iter().for_each(|awake| slow(false, awake));
}

#[test]
fn a_leader_that_is_a_hundred_times_slower_and_is_not_heard_is_replaced_and_the_run_goes_on() {
    slow(true, PIECES[0]);
}

#[test]
fn a_leader_that_is_a_hundred_times_slower_and_is_still_heard_does_not_stop_the_run() {
    slow(true, PIECES[1]);
}
