//! Cuts of which only one side knows: what the one sends arrives, and what the other sends does not.

use std::time::Duration;

use anyhow::{bail, ensure};
use baton_lab::namespaces::{Options, World, group::Pace, network::COORDINATORS, world::until};

use crate::{Told, member, world, world_with};

/// After any cut: all is whole again, one serves, and it is whom the role names.
fn consistent(world: &mut World) {
    world.network.heal().told();
    world.until_settled().told();
    let (host, epoch) = until("one serves, by the role", || {
        let status = world.status()?;
        ensure!(status["open_run"].is_null(), "a run is open: {status}");
        let host = if status["primary"] == member("h1") { "h1" } else { "h2" };
        match world.active().as_slice() {
            [one] if one.host == host && status["epoch"] == one.epoch => Ok((host, one.epoch)),
            other => bail!("active: {other:?}; {status}"),
        }
    })
    .told();
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
    let pace = Pace { lease: "{ lasts: 5s, stop_within: 1s }".to_owned(), ..Pace::default() };
    let mut world = world_with(&Options { pace, ..Options::default() });
    let epoch = world.until_active("h1").told();
    let others = |than: &str| COORDINATORS.into_iter().filter(|name| *name != than).collect::<Vec<_>>();
    let another_leads = |world: &World, than: &str| {
        until("another one leads", || {
            let now = world.leader()?;
            ensure!(now != than, "{now} leads");
            Ok(())
        })
        .told();
    };
    // The leader hears one of the others no more: with the other one it has its majority.
    let leader = world.leader().told();
    world.network.cut_one_way(others(leader)[0], leader).told();
    world.until_served("h1", epoch, Duration::from_secs(6)).told();
    assert_eq!(world.leader().told(), leader);
    consistent(&mut world);
    // Nobody hears it, and it hears everybody.
    for other in others(leader) {
        world.network.cut_one_way(leader, other).told();
    }
    another_leads(&world, leader);
    consistent(&mut world);
    // It hears nobody. What it says arrives for as long as the kernel sends what nobody acknowledges.
    let leader = world.leader().told();
    for other in others(leader) {
        world.network.cut_one_way(other, leader).told();
    }
    another_leads(&world, leader);
    consistent(&mut world);
    // Each hears one of the others only.
    for (at, one) in COORDINATORS.iter().enumerate() {
        world.network.cut_one_way(one, COORDINATORS[(at + 1) % 3]).told();
    }
    let deaf = world.cluster.baton(&["--timeout", "3s", "cluster", "members"]).expect("baton runs");
    println!("in a ring: {}", String::from_utf8_lossy(&deaf.stdout));
    consistent(&mut world);
    println!("{:?}", world.judge().told());
}
