//! The simulation itself, as the pipeline runs it: so many seeds, and the same seed twice.

use std::process::Command;

/// `SIM_SEEDS` raises it, `SIM_FROM` begins elsewhere.
const SEEDS: u64 = 200;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{name}={text:?} is no number: {error}")),
        Err(_) => otherwise,
    }
}

fn simulation() -> Command {
    Command::new(env!("CARGO_BIN_EXE_baton-simulation"))
}

#[test]
fn no_seed_breaks_a_promise() {
    let (seeds, from) = (number("SIM_SEEDS", SEEDS).max(1), number("SIM_FROM", 1));
    let run =
        simulation().args(["--seeds", &seeds.to_string(), "--from", &from.to_string()]).output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    // What ran, and not only that nothing failed.
    assert!(said.contains(&format!("{seeds} seeds, 0 failed")), "{said}");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed: &str| simulation().args(["--seed", seed, "--trace"]).output().expect("it runs").stdout;
    for seed in ["3", "5", "8"] {
        let (first, again) = (story(seed), story(seed));
        assert!(first.len() > 10_000, "a story has more to tell");
        let lines = |story: &[u8]| String::from_utf8_lossy(story).lines().map(str::to_owned).collect::<Vec<_>>();
        let differs = lines(&first).into_iter().zip(lines(&again)).find(|(first, again)| first != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), again.len(), "seed {seed}");
    }
    assert_ne!(story("3"), story("5"));
}

/// Plans by which defects were found, as small as they became. They stay when seeds come to mean something else.
#[test]
fn what_was_found_stays_mended() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plans");
    let plans: Vec<_> =
        std::fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path()).collect();
    assert!(!plans.is_empty(), "nothing was ever found?");
    for plan in plans {
        let run = simulation().arg("--plan").arg(&plan).arg("--no-shrink").output().expect("it runs");
        assert!(run.status.success(), "{}: {}", plan.display(), String::from_utf8_lossy(&run.stdout));
    }
}
