//! Files that are not as they were written: bytes that turned, an end that is missing. What is damaged is never taken for what was written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use baton_system_tests::{World, procedure::HOSTS, stricken::Party};

use super::{finishes, follower, has_everything, under_way, whole_again};

/// What befell a file.
type Damage = fn(&[u8]) -> Vec<u8>;

/// Every kind that a disk or a person brings about, but for an empty file, which is a new one to whoever opens it: that is a disk that is
/// gone, another story. The first bytes say what file it is; the second page and those in the middle hold rows.
const DAMAGES: &[(&str, Damage)] = &[
    // Half a file may have every page that is in use.
    ("two pages of it are left", |good| good[..2 * 4096].to_vec()),
    ("its first page is lost", |good| [&[0; 4096], &good[4096..]].concat()),
    ("its beginning is of another file", |good| [b"%PDF-1.7".as_slice(), &good[8..]].concat()),
    ("a bit of every used page turned", |good| {
        let used = |page: &[u8]| page.iter().any(|byte| *byte != 0);
        let turned = |page: &[u8]| match used(page) {
            true => {
                page.iter().enumerate().map(|(at, byte)| if at == page.len() / 2 { byte ^ 8 } else { *byte }).collect()
            }
            false => page.to_vec(),
        };
        // The first page is another kind.
        good[..4096].iter().copied().chain(good[4096..].chunks(4096).flat_map(turned)).collect()
    }),
];

/// Each damage in turn, at a start; then the good file again.
fn each_is_refused(world: &mut World, party: Party<'_>, file: &Path, words: &[&str]) {
    let good = fs::read(file).expect("a file");
    for (what, damage) in DAMAGES {
        fs::write(file, damage(&good)).expect("written");
        party.start(world);
        let shown = file.display().to_string();
        let said = party.ends_saying(world, &[words, &[&shown]].concat());
        // As its unit does, again and again: it never gets used to it.
        let again = party.ends_again_saying(world, words);
        eprintln!("{what}:\n  {said}\n  {again}");
    }
    fs::write(file, good).expect("written");
}

fn stopped_in_order(world: &mut World, party: Party<'_>, file: PathBuf) -> PathBuf {
    let status = party.stop(world);
    assert!(status.success(), "{status:?}: {}", party.log(world));
    file
}

#[test]
fn a_coordinator_with_a_damaged_log_says_so_and_never_serves_from_it() {
    let (mut world, run) = under_way();
    let number = follower(&world);
    let party = Party::Coordinator(number);
    let file = world.cluster.coordinator_directory(number).join("data/log.redb");
    // Killed: redb mends what a crash leaves, and nothing else.
    party.kill(&mut world);
    let words = ["BTN-0163", &format!("c{}", number + 1), "damaged", "docs/disaster.md"];
    each_is_refused(&mut world, party, &file, &words);
    // Ended in order: redb itself would not look.
    party.start(&mut world);
    world.ready(&HOSTS);
    let file = stopped_in_order(&mut world, party, file);
    each_is_refused(&mut world, party, &file, &words);

    finishes(&world, &run);
    party.start(&mut world);
    whole_again(&mut world);
    has_everything(&world, number, &run, "succeeded");
}

#[test]
fn an_agent_with_a_damaged_journal_says_so_and_does_nothing() {
    let (mut world, run) = under_way();
    let party = Party::Agent("app1");
    let file = world.cluster.agent_directory("app1").join("state/journal.redb");
    party.kill(&mut world);
    let words = ["BTN-0454", "damaged", "docs/disaster.md"];
    each_is_refused(&mut world, party, &file, &words);
    assert_eq!(world.lines("begun.first"), 1, "it did nothing meanwhile");
    party.start(&mut world);
    world.ready(&HOSTS);
    let file = stopped_in_order(&mut world, party, file);
    each_is_refused(&mut world, party, &file, &words);
    party.start(&mut world);
    world.ready(&HOSTS);
    finishes(&world, &run);
}
