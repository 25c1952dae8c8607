//! The primary's host is cut from every coordinator: it stops by itself, and only then the other side starts.

use baton_lab::namespaces::network::COORDINATORS;

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
