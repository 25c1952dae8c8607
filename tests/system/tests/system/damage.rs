//! Disks and configurations that are not as they should be: said clearly, and nothing is done on a guess.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use baton_system_tests::{
    PATIENCE, World, eventually,
    procedure::{HOSTS, define, gate},
};

fn work() -> String {
    format!("runbook: work\nsteps:\n  - name: First\n    {}", gate("app", "first"))
}

/// Waits until a program that was started has ended in failure; what it said last.
fn last_words(log: PathBuf, mut ended: impl FnMut() -> Option<std::process::ExitStatus>) -> String {
    let status = eventually("it ends by itself", || ended().ok_or_else(|| "it runs".to_owned()));
    let text = fs::read_to_string(log).expect("a log");
    assert!(!status.success(), "{status:?}: {text}");
    text.lines().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn agent_says(world: &mut World, host: &str) -> String {
    let log = world.cluster.agent_directory(host).join("log");
    fs::write(&log, "").expect("emptied");
    world.cluster.start_agent(&world.registry, host).expect("started");
    let cluster = &mut world.cluster;
    last_words(log, || cluster.agent_ended(host))
}

fn coordinator_says(world: &mut World, number: usize) -> String {
    let log = world.cluster.coordinator_directory(number).join("log");
    fs::write(&log, "").expect("emptied");
    world.cluster.start_coordinator(&world.registry, number).expect("started");
    let cluster = &mut world.cluster;
    last_words(log, || cluster.coordinator_ended(number))
}

#[test]
fn an_agent_whose_disk_is_gone_observes_and_does_nothing_twice() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("first", 1);
    world.cluster.kill_agent("app1");
    // What it had started ends by itself, with its effect; the journal that knew of it is lost.
    world.release("first");
    eventually("the effect of an orphan", || if world.effects("first") == 1 { Ok(()) } else { Err(String::new()) });
    fs::remove_dir_all(world.cluster.agent_directory("app1").join("state")).expect("removed");
    world.cluster.start_agent(&world.registry, "app1").expect("started");
    let view = world.ends(&run, "succeeded");
    let task = &view["steps"][0]["tasks"][0];
    assert_eq!((&task["state"], &task["attempt"]), (&"unchanged".into(), &1.into()), "{view}");
    assert_eq!(world.effects("first"), 1);
}

#[test]
fn an_agent_without_a_usable_journal_or_configuration_says_so_and_ends() {
    let mut world = World::start(&["app1"]);
    let directory = world.cluster.agent_directory("app1");
    world.cluster.kill_agent("app1");

    let journal = directory.join("state/journal.redb");
    let good = fs::read(&journal).expect("a journal");
    fs::write(&journal, b"this is no journal").expect("written");
    let said = agent_says(&mut world, "app1");
    assert!(said.contains("BTN-0") && said.contains("journal.redb"), "{said}");
    fs::write(&journal, good).expect("written");

    let config = directory.join("agent.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text.replace("coordinators =", "coordinator =")).expect("written");
    let said = agent_says(&mut world, "app1");
    assert!(said.contains("agent.toml") && said.contains("coordinators"), "the nearest right name: {said}");
    fs::write(&config, &text).expect("written");

    let policy = directory.join("policy.toml");
    let allowed = fs::read_to_string(&policy).expect("a policy");
    fs::write(&policy, "program = ['/bin/sh']\n").expect("written");
    let said = agent_says(&mut world, "app1");
    assert!(said.contains("BTN-0409") && said.contains("policy.toml") && said.contains("programs"), "{said}");
    fs::write(&policy, allowed).expect("written");

    // An operator's certificate is no agent's.
    let operator = world.cluster.environment().into_iter().find(|(name, _)| name == "BATON_IDENTITY").expect("set").1;
    let identity = directory.join("identity").display().to_string();
    fs::write(&config, text.replace(&identity, &operator)).expect("written");
    let said = agent_says(&mut world, "app1");
    assert!(said.contains("not of an agent") && said.contains("baton://operator/operator"), "{said}");
    fs::write(&config, &text).expect("written");

    // Two agents on one journal would each perform the same task.
    world.cluster.start_agent(&world.registry, "app1").expect("started");
    world.ready(&["app1"]);
    let mut second = std::process::Command::new(baton_lab::cluster::Binaries::beside_this().expect("built").agent);
    let second = second.arg("--config").arg(&config).output().expect("started");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("journal"), "{said}");
}

#[test]
fn a_coordinator_with_anothers_identity_or_a_wrong_configuration_says_so_and_ends() {
    let mut world = World::start(&[]);
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    world.cluster.kill_coordinator(one);
    let directory = world.cluster.coordinator_directory(one);
    let config = directory.join("coordinator.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let mine = directory.join("identity").display().to_string();
    let of = |number: usize| world.cluster.coordinator_directory(number).join("identity").display().to_string();
    let (others, operator) = (of(two), world.cluster.environment()[1].1.clone());

    fs::write(&config, text.replace(&mine, &others)).expect("written");
    let said = coordinator_says(&mut world, one);
    let (wanted, seen) = (format!("called c{}", one + 1), format!("says c{}", two + 1));
    assert!(said.contains("BTN-0160") && said.contains(&wanted) && said.contains(&seen), "{said}");

    fs::write(&config, text.replace(&mine, &operator)).expect("written");
    let said = coordinator_says(&mut world, one);
    assert!(said.contains("BTN-0304") && said.contains("baton ca"), "{said}");

    fs::write(&config, text.replace("listen =", "lisen =")).expect("written");
    let said = coordinator_says(&mut world, one);
    assert!(said.contains("coordinator.toml") && said.contains("listen"), "{said}");

    // Another node's disk: its votes are not this one's.
    let (number, other) = (format!("id = {}\n", one + 1), format!("id = {}\n", two + 1));
    fs::write(&config, text.replacen(&number, &other, 1).replace(&mine, &others)).expect("written");
    let said = coordinator_says(&mut world, one);
    assert!(said.contains("BTN-0") || said.contains("node"), "{said}");
    assert!(!said.contains("panicked"), "{said}");

    fs::write(&config, &text).expect("written");
    let data = directory.join("data/log.redb");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).expect("set");
    let good = fs::read(&data).expect("a log");
    fs::write(&data, b"this is no log").expect("written");
    let said = coordinator_says(&mut world, one);
    assert!(said.contains("log.redb") && !said.contains("panicked"), "{said}");
    fs::write(&data, good).expect("written");

    // As it was, it is welcome.
    world.cluster.start_coordinator(&world.registry, one).expect("started");
    eventually("it is one of three again", || {
        let address = world.cluster.coordinator_address(one).to_string();
        let said = world.baton(&["--coordinator", &address, "--timeout", "2s", "status"]);
        if said.code == 0 { Ok(()) } else { Err(said.stderr) }
    });
}
