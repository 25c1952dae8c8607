//! An order is on its way to a host when the host is cut off.

use std::time::Duration;

use baton_lab::namespaces::{network::COORDINATORS, world::until};

use crate::{Told, was_ordered, world};

/// Found by fifty cuts in a row: the leader's own session with the host had lived a moment longer than the others'.
#[test]
fn an_order_that_was_on_its_way_when_the_host_was_cut_does_not_hold_up_the_failover() {
    let mut world = world();
    let epoch = world.until_active("h1").told();
    let leader = world.leader().told();
    // The grace after the run that started it is over.
    world.until_served("h1", epoch, Duration::from_secs(2)).told();
    world.network.cut_one_way(leader, "h1").told();
    assert!(world.kill_component("h1"));
    until("the failover has begun", || {
        let status = world.status()?;
        anyhow::ensure!(status["open_run"]["phase"] == "running", "{status}");
        Ok(())
    })
    .told();
    for coordinator in COORDINATORS {
        world.network.cut("h1", coordinator).told();
    }
    let taken = world.until_taken_over("h2", epoch).told();
    assert_eq!(taken, epoch + 1);
    assert!(was_ordered(&world, "svc-2/1@h1#1"), "it was not sent, so that this proves nothing");
    world.network.heal().told();
    world.until_settled().told();
    world.until_taken("h2", taken, 20).told();
    world.judge().told();
}
