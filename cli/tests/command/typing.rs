//! Questions on a terminal, and what is typed there.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
};

use baton_model::outcome::Fault;
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::{
    coordinator::{Coordinator, Script, World},
    documents, losing,
};

/// Runs the command on a terminal of its own. Each question is answered with the next of these words. Answers the exit code,
/// and everything that was seen on the terminal.
fn typed(world: &World, leader: &Coordinator, arguments: &[&str], words: &[&str]) -> (i32, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = || Stdio::from(open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
    let mut command = world.command(&[leader], arguments);
    command.stdin(slave()).stderr(slave());
    let mut child = command.spawn().unwrap();
    // Nobody else holds the other end, so that reading ends with the command.
    drop(command);
    let mut terminal = File::from(master);
    let (mut seen, mut answered, mut buffer) = (String::new(), 0, [0; 4096]);
    // EIO is how a terminal says that nobody is there any more.
    while let Ok(bytes @ 1..) = terminal.read(&mut buffer) {
        seen.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
        let asked = seen.matches("leave it: ").count() + seen.matches("start it: ").count();
        if asked > answered {
            let word = words.get(answered).unwrap_or_else(|| panic!("asked once more than expected:\n{seen}"));
            terminal.write_all(format!("{word}\n").as_bytes()).unwrap();
            answered += 1;
        }
    }
    let code = child.wait().unwrap().code().expect("ended by itself");
    assert_eq!(answered, words.len(), "asked less often than expected:\n{seen}");
    (code, seen)
}

fn leader(world: &World) -> Coordinator {
    let script = Script { plan: Some(losing::plan_view()), views: vec![documents::skipped()], ..Script::default() };
    Coordinator::start(world, script)
}

const FAILOVER: [&str; 3] = ["failover", "pom", "--accept-data-loss"];

#[test]
fn the_groups_name_is_typed_after_the_bill_and_is_the_yes_as_well() {
    let world = World::new();
    let leader = leader(&world);
    let (code, seen) = typed(&world, &leader, &FAILOVER, &["pom"]);
    assert_eq!(code, 0, "{seen}");
    let (before, _) = seen.split_once("Type the name of the group").expect("asked");
    assert!(before.contains("SQL1 had") && before.contains("The worst: prices"), "the bill comes first\n{seen}");
    assert_eq!(leader.script.lock().unwrap().starts[0].accepted_data_loss, "pom");
}

#[test]
fn anything_else_that_is_typed_starts_nothing() {
    let world = World::new();
    let leader = leader(&world);
    for (word, told) in
        [("yes", "\"yes\" was typed, not \"pom\""), ("", "\"\" was typed"), ("Pom", "\"Pom\" was typed")]
    {
        let (code, seen) = typed(&world, &leader, &FAILOVER, &[word]);
        assert!(code == 5 && seen.contains("BTN-0171") && seen.contains(told), "{code}\n{seen}");
    }
    // Not even asked: the option is missing.
    let (code, seen) = typed(&world, &leader, &["failover", "pom"], &[]);
    assert!(code == 5 && seen.contains("BTN-0170"), "{code}\n{seen}");
    // The name as an option accepts the loss; the start is still asked for.
    let (code, seen) = typed(&world, &leader, &["failover", "pom", "--accept-data-loss=pom"], &["no"]);
    assert!(code == 5 && seen.contains("BTN-0807"), "{code}\n{seen}");
    assert!(leader.script.lock().unwrap().starts.is_empty());
}

#[test]
fn a_bill_that_got_worse_is_shown_and_asked_again() {
    let world = World::new();
    let leader = leader(&world);
    let worse = Fault::new("BTN-0172", "the data-loss bill got worse since it was shown: stock was not in it.", "");
    leader.script.lock().unwrap().start_refuses = Some(worse);
    let (code, seen) = typed(&world, &leader, &FAILOVER, &["pom", "leave it"]);
    assert!(code == 5 && seen.contains("BTN-0172") && seen.contains("BTN-0171"), "{code}\n{seen}");
    assert_eq!(seen.matches("The worst: prices").count(), 2, "shown twice\n{seen}");
    let script = leader.script.lock().unwrap();
    assert_eq!((script.plans.len(), script.starts.len()), (2, 1));
}
