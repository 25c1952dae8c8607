//! A network that is cut in every way, while one component fails over by itself: never two at once, judged by what the component and
//! its clients wrote down on one clock.

use baton_lab::{
    cluster::Binaries,
    horizon,
    namespaces::{Options, World},
};

mod clocks;
mod faults;
mod one_coordinator;
mod one_way;
mod order_on_its_way;
mod pages;
mod primary_cut;
mod stopped_agent;

/// The world as most tests want it.
fn world() -> World {
    world_with(&Options::default())
}

fn world_with(options: &Options) -> World {
    let helper = horizon::helper().expect("cargo builds baton-lab before this test");
    let binaries = Binaries::beside_this().expect("the programs are built");
    World::build(helper, binaries, options).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A number from the environment.
fn count(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The host on the other side.
fn other(host: &str) -> &'static str {
    if host == "h1" { "h2" } else { "h1" }
}

/// The member on a host.
fn member(host: &str) -> &'static str {
    if host == "h1" { "a" } else { "b" }
}

/// Whether any coordinator has sent this order, by its log.
fn was_ordered(world: &World, task: &str) -> bool {
    let word = format!("ordered task={task} ");
    let logs = (0..world.cluster.coordinators()).map(|number| world.cluster.coordinator_log(number));
    logs.into_iter().any(|log| std::fs::read_to_string(log).is_ok_and(|text| text.contains(&word)))
}

/// Asserts, with everything that went wrong on the way.
trait Told<T> {
    fn told(self) -> T;
}

impl<T> Told<T> for anyhow::Result<T> {
    #[track_caller]
    fn told(self) -> T {
        self.unwrap_or_else(|error| panic!("{error:#}"))
    }
}
