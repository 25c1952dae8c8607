//! A real `baton-agent` process that guards a real process: what is exclusive does not run where the role is not, with a
//! coordinator or without one.

#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/coordinator.rs"]
mod support;
#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "support/daemon.rs"]
mod daemon;

use std::cell::RefCell;

use baton_model::{
    assignment::{Health, Part},
    time::Span,
};
use daemon::{Daemon, assignment, lease};
use support::world::{World, ready};

const EVERY: Span = Span(200);

#[tokio::test]
async fn what_is_started_by_hand_where_the_role_is_not_is_stopped_and_told() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let standby = assignment(Part::Standby, 10, None, vec![daemon.borrow().watched(EVERY)]);
    peer.assign((1, 10), &[standby]).await;
    peer.assigned(10).await;
    peer.until("quiet", async |peer| peer.tenures.iter().any(|tenure| tenure.quiet && tenure.index == 10)).await;
    for round in 1..=2 {
        daemon.borrow_mut().start();
        peer.until("its end", async |_| !daemon.borrow_mut().runs()).await;
        peer.until("the deed", async |peer| {
            let mut numbers: Vec<u64> = peer.deeds.iter().map(|deed| deed.number).collect();
            numbers.dedup();
            numbers.len() >= round
        })
        .await;
    }
    let deed = peer.deeds.last().expect("a deed");
    assert!(!deed.failed && deed.what.contains("stopped worker: it ran on db1"), "{deed:?}");
    peer.until("stopped", async |peer| peer.seen.iter().any(|seen| seen.health == Health::Stopped)).await;
}

#[tokio::test]
async fn a_lease_that_is_over_stops_what_runs_without_any_network() {
    let mut world = World::new();
    let daemon = RefCell::new(Daemon::new(&mut world, "worker"));
    let mut coordinator = world.coordinator("c1").await;
    let mut peer = ready(&mut world, &mut coordinator, 1).await;
    let primary = assignment(Part::Primary, 10, lease(1_500), vec![daemon.borrow().watched(Span::from_secs(3600))]);
    peer.renew(1, std::slice::from_ref(&primary));
    peer.assign((1, 10), &[primary]).await;
    peer.assigned(10).await;
    peer.until("the lease", async |peer| peer.tenures.iter().any(|tenure| tenure.lease_left.0 > 0)).await;
    daemon.borrow_mut().start();
    // As long as it is renewed it goes on, and much longer than one lease.
    let begun = std::time::Instant::now();
    peer.until("some leases", async |_| begun.elapsed().as_millis() > 4_000).await;
    assert!(daemon.borrow_mut().runs());
    drop(peer);
    drop(coordinator);
    support::world::until("its end", || !daemon.borrow_mut().runs()).await;
}
