//! Wall clocks jump by an hour, forwards and back, on agents and coordinators: nothing follows from it.

use std::{fs, path::PathBuf, time::Duration};

use baton_lab::namespaces::{
    Options,
    network::{COORDINATORS, HOSTS},
};

use crate::{Told, world_with};

/// Debian's `libfaketime`.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a machine with libraries").flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.is_file()).expect("libfaketime is installed; tests/run does so")
}

#[test]
fn an_hour_forwards_or_back_on_any_wall_clock_changes_nothing() {
    let mut world = world_with(&Options { clocks: Some(library()), ..Options::default() });
    let epoch = world.until_active("h1").told();
    let leader = world.leader().told();
    let all: Vec<&str> = COORDINATORS.into_iter().chain(HOSTS).collect();
    let jumps: [(&[&str], &str); 6] = [
        (&all, "+3600"),
        (&all, "+0"),
        (&["h1"], "-3600"),
        (&[leader], "+3600"),
        (&["h1", "h2"], "+3600"),
        (&all, "-3600"),
    ];
    for (places, offset) in jumps {
        for place in places {
            world.set_clock(place, offset).told();
        }
        let pause = world.until_served("h1", epoch, Duration::from_secs(5)).told();
        println!("{offset} on {places:?}: longest time without a write {pause:?}");
    }
    // They really do jump: an entry is stamped an hour ahead, and then the clocks go back.
    for place in &all {
        world.set_clock(place, "+3600").told();
    }
    world.run("note", &[]).told();
    let runs = world.cluster.json(&["runs", "svc"]).told();
    let started = runs[0]["started"]["when"].as_u64().expect("a moment");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let ahead = i128::from(started) - i128::try_from(now).expect("small");
    assert!((3_500_000..3_610_000).contains(&ahead), "ahead by {ahead} ms: {runs}");
    for place in &all {
        world.set_clock(place, "+0").told();
    }
    world.until_served("h1", epoch, Duration::from_secs(3)).told();
    assert_eq!(world.judge().told().tenancies.len(), 1, "it was never stopped");
    // And it is still looked after: twice, so that the time between two failovers is measured, too.
    for (from, to, offset) in [("h1", "h2", "-3600"), ("h2", "h1", "+3600")] {
        let epoch = world.epoch();
        for coordinator in COORDINATORS {
            world.network.cut(from, coordinator).told();
        }
        world.set_clock(leader, offset).told();
        let taken = world.until_taken_over(to, epoch).told();
        world.network.heal().told();
        world.until_settled().told();
        world.until_served(to, taken, Duration::from_secs(2)).told();
        world.say(&["auto", "rearm", "svc", "--reason", "the next one"]).told();
    }
    println!("gap {:?}", world.judge().told().smallest_gap());
}
