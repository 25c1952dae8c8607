//! The primary's host is cut from one coordinator only, or a coordinator from everybody: nothing happens.

use std::time::Duration;

use baton_lab::namespaces::{Options, group::Pace, network::COORDINATORS};

use crate::{Told, member, world, world_with};

/// Long enough for another to lead before it is over, as docs/operate.md asks for.
const LEASE: Duration = Duration::from_secs(5);

fn patient() -> Options {
    Options {
        pace: Pace { lease: "{ lasts: 5s, stop_within: 1s }".to_owned(), ..Pace::default() },
        ..Options::default()
    }
}

fn others(than: &str) -> Vec<&'static str> {
    COORDINATORS.into_iter().filter(|name| *name != than).collect()
}

#[test]
fn a_primary_that_one_follower_does_not_reach_serves_on() {
    let mut world = world();
    let epoch = world.until_active("h1").told();
    let leader = world.leader().told();
    let follower = others(leader)[0];
    world.network.cut("h1", follower).told();
    world.until_reached_by("h1", &others(follower)).told();
    let pause = world.until_served("h1", epoch, Duration::from_secs(6)).told();
    world.network.heal().told();
    world.until_settled().told();
    assert_eq!(world.until_active("h1").told(), epoch);
    println!("longest time without a write: {pause:?}");
    assert_eq!(world.judge().told().tenancies.len(), 1, "it was never stopped");
}

#[test]
fn a_primary_that_the_leader_does_not_reach_serves_on() {
    let mut world = world_with(&patient());
    let epoch = world.until_active("h1").told();
    let leader = world.leader().told();
    world.network.cut("h1", leader).told();
    world.until_reached_by("h1", &others(leader)).told();
    let pause = world.until_served("h1", epoch, 4 * LEASE).told();
    world.network.heal().told();
    let status = world.until_settled().told();
    assert_eq!(status["primary"], member("h1"), "{status}");
    assert_eq!(world.until_active("h1").told(), epoch);
    println!("longest time without a write: {pause:?}");
    assert_eq!(world.judge().told().tenancies.len(), 1, "it was never stopped");
}

#[test]
fn a_leader_that_is_cut_from_everyone_is_replaced_and_its_late_words_do_nothing() {
    let mut world = world_with(&patient());
    let epoch = world.until_active("h1").told();
    let leader = world.leader().told();
    // Its words to the primary do not arrive: an order waits in its connection.
    world.network.cut_one_way(leader, "h1").told();
    let run = world.cluster.baton(&["run", "svc", "note", "--yes", "--detach", "--reason", "a test"]).expect("baton");
    assert!(run.status.success(), "{run:?}");
    world.network.isolate(leader).told();
    let next = world.leader().told();
    assert_ne!(next, leader);
    let pause = world.until_served("h1", epoch, 2 * LEASE).told();
    world.network.heal().told();
    world.until_settled().told();
    let more = world.until_served("h1", epoch, LEASE).told();
    println!("longest time without a write: {pause:?}, after the cut {more:?}");
    assert_eq!(world.notes("h1"), 1, "done by the order of one leader");
    assert_eq!(world.judge().told().tenancies.len(), 1, "it was never stopped");
}
