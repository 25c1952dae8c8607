//! The sample configuration that is shipped is one that can be used, and its defaults are the real ones.

use std::path::Path;

use baton_coordinator::config::{Config, Delivery, Raft};

const SAMPLE: &str = include_str!("../../deploy/samples/coordinator.toml");

fn read(text: &str) -> Config {
    baton_platform::config::parse(text, Path::new("coordinator.toml")).expect("the sample is read")
}

#[test]
fn the_sample_names_three_coordinators_and_this_one_among_them() {
    let config = read(SAMPLE);
    assert_eq!(config.members.len(), 3);
    assert!(config.members.contains_key(&config.id.to_string()));
    for member in config.members.values() {
        member.address.parse::<baton_platform::address::Address>().expect("an address that can be dialled");
    }
}

#[test]
fn what_the_sample_calls_defaults_are_the_defaults() {
    let config = read(SAMPLE);
    assert_eq!(format!("{:?}", config.raft), format!("{:?}", Raft::default()));
    assert_eq!(format!("{:?}", config.delivery), format!("{:?}", Delivery::default()));
}

#[test]
fn no_table_takes_what_nobody_reads() {
    let open = baton_platform::config::tables_that_take_anything::<Config>(SAMPLE);
    assert!(open.is_empty(), "{open:?}");
}
