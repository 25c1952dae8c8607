//! `baton-simulation`: runs worlds, one process each.

use std::process::ExitCode;

use baton_simulation::{entropy, life, plan::Plan, story::Story, world::World};
use clap::Parser;

/// Runs the real coordinators and agents in a simulated world.
#[derive(Debug, Parser)]
struct Arguments {
    /// One seed, in this process; its verdict is printed as JSON.
    #[arg(long, hide = true)]
    one: Option<u64>,
    /// The story of one seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Tell it whole.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.one.or(arguments.seed).unwrap_or(1);
    let directory = tempfile::tempdir().expect("a directory");
    entropy::take_over(seed);
    baton_platform::tls::install_crypto_provider();
    life::listen_for_panics();
    let story = Story::default();
    if arguments.trace {
        story.aloud();
    }
    let world = World::new(Plan::of(seed), story, directory.path()).expect("a world");
    let verdict = world.run();
    println!("{}", serde_json::to_string_pretty(&verdict).expect("plain data"));
    if verdict.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
