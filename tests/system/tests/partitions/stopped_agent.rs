//! The primary's agent stands still for longer than its lease, and comes back.
//!
//! What is promised: nothing that it was told before is done after; the other side starts once the lease has certainly run out,
//! which is said of an agent that runs and of a host whose watchdog is fed by it. What is not promised: a host without a watchdog
//! whose agent stands still goes on to serve, and nobody on it can see that the time is over. There the components' own refusal of an
//! old epoch is all that is left; these tests do not claim more.

use std::time::Duration;

use anyhow::ensure;
use baton_lab::namespaces::{Options, group::Pace, world::until};
use rustix::process::Signal;

use crate::{Told, was_ordered, world, world_with};

#[test]
fn a_host_whose_agent_hangs_is_reset_by_its_watchdog_before_the_other_side_starts() {
    let mut world = world_with(&Options { watchdogs: true, ..Options::default() });
    let epoch = world.until_active("h1").told();
    world.until_served("h1", epoch, Duration::from_secs(3)).told();
    assert_eq!(world.watchdogs["h1"].resets(), 0, "a host that is well is left alone");
    assert!(world.cluster.signal_agent("h1", Signal::STOP));
    let taken = world.until_taken_over("h2", epoch).told();
    assert_eq!((taken, world.watchdogs["h1"].resets()), (epoch + 1, 1));
    let gap = world.judge().told().smallest_gap();
    world.cluster.start_agent(&world.registry, "h1").told();
    world.until_settled().told();
    world.until_served("h2", taken, Duration::from_secs(3)).told();
    world.judge().told();
    println!("gap {gap:?}");
}

#[test]
fn what_an_agent_was_told_before_it_stood_still_is_not_done_after_the_role_has_moved() {
    let world = world();
    let epoch = world.until_active("h1").told();
    // The grace after the run that started it is over.
    world.until_served("h1", epoch, Duration::from_secs(2)).told();
    // The component dies, and the agent tells; then it stands still, and the failover's first order waits in its connection.
    assert!(world.kill_component("h1"));
    until("the death is known", || {
        let status = world.status()?;
        let components = status["components"].as_array().into_iter().flatten();
        let mut here = components.filter(|component| component["host"] == "h1");
        ensure!(here.all(|component| component["health"] == "failed"), "{status}");
        Ok(())
    })
    .told();
    assert!(world.cluster.signal_agent("h1", Signal::STOP));
    let taken = world.until_taken_over("h2", epoch).told();
    assert_eq!(taken, epoch + 1);
    assert!(was_ordered(&world, "svc-2/1@h1#1"), "it was not sent, so that this proves nothing");
    assert!(world.cluster.signal_agent("h1", Signal::CONT));
    world.until_settled().told();
    world.until_served("h2", taken, Duration::from_secs(4)).told();
    let farewells = std::fs::read_to_string(world.place("h1").join("farewells")).unwrap_or_default();
    assert_eq!(farewells, "", "done after all");
    let verdict = world.judge().told();
    assert_eq!(verdict.tenancies.len(), 2, "{verdict:?}");
}

#[test]
fn what_an_agent_was_told_before_it_stood_still_is_done_once_and_only_when_it_is_told_again() {
    let slow = Pace { automatic: "for: 10m, grace: 1s, cooldown: 1s".to_owned(), ..Pace::default() };
    let world = world_with(&Options { pace: slow, ..Options::default() });
    let epoch = world.until_active("h1").told();
    assert!(world.cluster.signal_agent("h1", Signal::STOP));
    let run = world.cluster.baton(&["run", "svc", "note", "--yes", "--detach", "--reason", "a test"]).expect("baton");
    assert!(run.status.success(), "{run:?}");
    // Longer than the lease; nobody stops what nobody watches.
    world.until_reached_by("h1", &[]).told();
    world.until_served("h1", epoch, Duration::from_secs(5)).told();
    assert!(world.cluster.signal_agent("h1", Signal::CONT));
    world.until_settled().told();
    until("the note", || {
        ensure!(world.notes("h1") > 0, "none; {}", world.story());
        Ok(())
    })
    .told();
    // Its lease was over: it has stopped what it may not know to be its own, and nobody else has started it.
    until("the component is stopped", || {
        ensure!(world.active().is_empty(), "{:?}", world.active());
        Ok(())
    })
    .told();
    let log = std::fs::read_to_string(world.cluster.agent_directory("h1").join("log")).expect("a log");
    assert_eq!(world.notes("h1"), 1, "{log}");
    world.run("start", &[]).told();
    let epoch = world.until_active("h1").told();
    world.until_served("h1", epoch, Duration::from_secs(2)).told();
    assert_eq!(world.notes("h1"), 1);
    world.judge().told();
}
