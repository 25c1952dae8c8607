//! The primary's host is cut from every coordinator: it stops by itself, and only then the other side starts.

use std::time::{Duration, Instant};

use anyhow::ensure;
use baton_lab::namespaces::{network::COORDINATORS, world::until};

use crate::{Told, count, member, other, world};

#[test]
fn a_primary_that_is_cut_from_everyone_has_stopped_before_the_other_side_starts() {
    let mut world = world();
    let runs = count("BATON_RUNS", 4);
    let mut primary = "h1";
    let mut epoch = world.until_active(primary).told();
    let mut gaps = Vec::new();
    for run in 0..runs {
        for coordinator in COORDINATORS {
            world.network.cut(primary, coordinator).told();
        }
        let next = other(primary);
        let taken = world.until_taken_over(next, epoch).told();
        assert_eq!(taken, epoch + 1, "one change of role");
        gaps.push(*world.judge().told().gaps.last().expect("it moved"));
        world.network.heal().told();
        let status = world.until_settled().told();
        assert!(status["automatic"]["limited"].is_object(), "{status}");
        // Home by switchback, or armed where it is: both ways round are tried.
        if run % 2 == 0 {
            world.run("switchback", &["--to", member(primary)]).told();
        } else {
            world.say(&["auto", "rearm", "svc", "--reason", "the next one"]).told();
            primary = next;
        }
        epoch = world.until_active(primary).told();
        world.until_taken(primary, epoch, 20).told();
        world.judge().told();
    }
    let verdict = world.judge().told();
    gaps.sort();
    println!(
        "{runs} cuts: from the last word on the one side to the first on the other {:?} at least, {:?} in the middle, {:?} at most; {} moves in all, \
         the smallest gap of them {:?}",
        gaps[0],
        gaps[runs / 2],
        gaps[runs - 1],
        verdict.gaps.len(),
        verdict.smallest_gap().expect("it moved"),
    );
}

#[test]
fn a_second_primary_that_is_cut_while_the_group_is_limited_stops_and_nobody_takes_over() {
    let mut world = world();
    let epoch = world.until_active("h1").told();
    for coordinator in COORDINATORS {
        world.network.cut("h1", coordinator).told();
    }
    let taken = world.until_taken_over("h2", epoch).told();
    world.network.heal().told();
    world.until_settled().told();
    world.until_served("h2", taken, Duration::from_secs(2)).told();
    for coordinator in COORDINATORS {
        world.network.cut("h2", coordinator).told();
    }
    world.until_reached_by("h2", &[]).told();
    until("nobody serves", || {
        ensure!(world.active().is_empty(), "{:?}", world.active());
        Ok(())
    })
    .told();
    // That nothing follows takes time to see: as long as a failover takes, and half as long again.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(9) {
        assert_eq!((world.active(), world.epoch()), (Vec::new(), taken), "{}", world.story());
        std::thread::sleep(Duration::from_millis(50));
    }
    world.network.heal().told();
    let status = world.until_settled().told();
    assert_eq!(status["epoch"], taken, "{status}");
    world.run("start", &[]).told();
    assert_eq!(world.until_active("h2").told(), taken);
    world.judge().told();
}
