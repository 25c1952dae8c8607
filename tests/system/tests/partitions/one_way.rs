//! Cuts of which only one side knows: what the one sends arrives, and what the other sends does not.

use std::time::Duration;

use baton_lab::namespaces::{World, network::COORDINATORS};

use crate::{Told, member, world};

/// After any cut: all is whole again, one serves, and it is whom the role names.
fn consistent(world: &mut World) {
    world.network.heal().told();
    let status = world.until_settled().told();
    let host = if status["primary"] == member("h1") { "h1" } else { "h2" };
    let epoch = world.until_active(host).told();
    assert_eq!(status["epoch"], epoch, "{status}");
    world.until_served(host, epoch, Duration::from_secs(2)).told();
    world.judge().told();
}

#[test]
fn a_primary_whose_words_do_not_arrive_is_replaced_after_it_has_stopped() {
    let mut world = world();
    let epoch = world.until_active("h1").told();
    for coordinator in COORDINATORS {
        world.network.cut_one_way("h1", coordinator).told();
    }
    assert_eq!(world.until_taken_over("h2", epoch).told(), epoch + 1);
    consistent(&mut world);
    println!("gap {:?}", world.judge().told().smallest_gap());
}

#[test]
fn a_primary_that_hears_nothing_is_replaced_after_it_has_stopped() {
    let mut world = world();
    let epoch = world.until_active("h1").told();
    for coordinator in COORDINATORS {
        world.network.cut_one_way(coordinator, "h1").told();
    }
    assert_eq!(world.until_taken_over("h2", epoch).told(), epoch + 1);
    consistent(&mut world);
    println!("gap {:?}", world.judge().told().smallest_gap());
}

#[test]
fn coordinators_that_hear_each_other_one_way_only_never_make_two_serve() {
    let mut world = world();
    let epoch = world.until_active("h1").told();
    let others = |than: &str| COORDINATORS.into_iter().filter(|name| *name != than).collect::<Vec<_>>();
    // The leader hears one of the others no more: with the other one it has its majority.
    let leader = world.leader().told();
    world.network.cut_one_way(others(leader)[0], leader).told();
    world.until_served("h1", epoch, Duration::from_secs(5)).told();
    assert_eq!(world.leader().told(), leader);
    consistent(&mut world);
    // It hears nobody, and everybody hears it.
    let leader = world.leader().told();
    for other in others(leader) {
        world.network.cut_one_way(other, leader).told();
    }
    assert!(!others(world.leader().told()).is_empty());
    consistent(&mut world);
    // Nobody hears it, and it hears everybody: another one is elected.
    let leader = world.leader().told();
    for other in others(leader) {
        world.network.cut_one_way(leader, other).told();
    }
    baton_lab::namespaces::world::until("another one leads", || {
        let now = world.leader()?;
        anyhow::ensure!(now != leader, "{now} leads");
        Ok(())
    })
    .told();
    consistent(&mut world);
    // Each hears the next one only.
    for (at, one) in COORDINATORS.iter().enumerate() {
        world.network.cut_one_way(one, COORDINATORS[(at + 1) % 3]).told();
    }
    consistent(&mut world);
}
