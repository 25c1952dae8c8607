//! `baton-simulation`: runs worlds, one process each.
//!
//! Exit codes: 0, nothing was violated; 1, something was; 2, it could not be run.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use baton_simulation::{
    driver::Driver,
    entropy, life, mutation,
    plan::Plan,
    shrink,
    story::Story,
    telling,
    verdict::{Failure, Verdict},
    world::World,
};
use clap::Parser;

/// Runs the real coordinators and agents in simulated worlds, and judges what they do.
#[derive(Debug, Parser)]
#[command(name = "cargo sim")]
struct Arguments {
    /// How many seeds; 100 without it
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// Worlds at once; one a processor without it
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// This one alone
    #[arg(long, value_name = "SEED", conflicts_with = "plan")]
    seed: Option<u64>,
    /// What happens is in this file, as a failing seed printed it
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Tell the whole story, with what the coordinators and agents say themselves
    #[arg(long)]
    trace: bool,
    /// Print what is planned to happen, and run nothing
    #[arg(long)]
    show_plan: bool,
    /// Leave failing plans as long as they are
    #[arg(long)]
    no_shrink: bool,
    /// Look for each of the bugs that are put in on purpose, in --seeds seeds (500 without it)
    #[arg(long, conflicts_with_all = ["seed", "plan"])]
    mutations: bool,
    /// These of them alone, by number
    #[arg(long, value_name = "NUMBER", requires = "mutations")]
    only: Vec<String>,
    /// Without the engine's own invariants
    #[arg(long, hide = true)]
    ground_alone: bool,
    /// In this process; the verdict is printed as JSON
    #[arg(long, hide = true)]
    one: bool,
}

/// Of the processor, for one tick: a thousand times what one takes.
const SPIN_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const SEEDS: u64 = 100;
/// For each bug that is put in on purpose.
const SEEDS_OF_A_MUTATION: u64 = 500;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True where nothing was violated.
fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(plan) = one_plan(arguments)? {
        if arguments.show_plan {
            println!("{}", serde_json::to_string(&plan).context("write the plan")?);
            return Ok(true);
        }
        if arguments.one || arguments.trace {
            let verdict = here(plan, arguments)?;
            if arguments.one {
                println!("{}", serde_json::to_string(&verdict).context("write the verdict")?);
            } else {
                println!("{}", told(&verdict));
            }
            return Ok(verdict.failure.is_none());
        }
        let driver = Driver::new(None, arguments.jobs)?;
        let verdict = driver.plan(&plan);
        println!("{}", told(&verdict));
        return Ok(match &verdict.failure {
            Some(failure) => {
                show(&driver, failure, arguments.no_shrink)?;
                false
            }
            None => true,
        });
    }
    let driver = Driver::new(None, arguments.jobs)?;
    if arguments.mutations {
        let within = arguments.seeds.unwrap_or(SEEDS_OF_A_MUTATION);
        let all = mutation::hunt(&driver, arguments.from, within, &arguments.only)?;
        println!("{}", all.iter().map(mutation::Found::words).collect::<Vec<_>>().join("\n"));
        return Ok(all.iter().all(|found| found.by.is_some()));
    }
    let summary = driver.seeds(arguments.from, arguments.seeds.unwrap_or(SEEDS))?;
    if let Some(first) = summary.failed.first().and_then(|verdict| verdict.failure.as_ref()) {
        show(&driver, first, arguments.no_shrink)?;
    }
    println!("{}", summary.words());
    Ok(summary.failed.is_empty())
}

fn one_plan(arguments: &Arguments) -> Result<Option<Plan>> {
    match (&arguments.plan, arguments.seed) {
        (Some(path), _) => {
            let text = fs::read_to_string(path).with_context(|| format!("read the plan {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("understand the plan {}", path.display())).map(Some)
        }
        (None, Some(seed)) => Ok(Some(Plan::of(seed))),
        (None, None) => Ok(None),
    }
}

/// One world in this process, which has no time and no chance of its own afterwards.
fn here(plan: Plan, arguments: &Arguments) -> Result<Verdict> {
    let directory = tempfile::tempdir().context("make a directory for task files")?;
    entropy::take_over(plan.seed);
    baton_platform::tls::install_crypto_provider();
    life::listen_for_panics();
    let story = Story::default();
    if arguments.trace {
        story.aloud();
        telling::listen(&story);
    }
    watch(&plan, &story, arguments.one);
    let mut world = World::new(plan, story, directory.path())?;
    if arguments.ground_alone {
        world.judge_by_the_ground_alone();
    }
    Ok(world.run())
}

/// Where something in a world goes round without time passing, nothing in the world can say so. This thread can: it has no part in it.
fn watch(plan: &Plan, story: &Story, as_json: bool) {
    let (plan, story) = (plan.clone(), story.clone());
    std::thread::spawn(move || {
        let mut seen = (entropy::now_us(), entropy::processor());
        loop {
            std::thread::sleep(LOOK_EVERY);
            let (now_us, spent) = (entropy::now_us(), entropy::processor());
            if now_us != seen.0 {
                seen = (now_us, spent);
            } else if spent - seen.1 > SPIN_MAX {
                let what = format!("something goes round without an end: {SPIN_MAX:?} of the processor for one tick");
                let at = now_us as f64 / 1_000_000.0;
                let verdict = Verdict::spinning(plan, what, at, story.last_lines());
                match serde_json::to_string(&verdict) {
                    Ok(json) if as_json => println!("{json}"),
                    _ => println!("{}", told(&verdict)),
                }
                std::process::exit(1);
            }
        }
    });
}

fn told(verdict: &Verdict) -> String {
    let how = match &verdict.failure {
        Some(failure) => format!("VIOLATED at {:.2} s: {}: {}", failure.at, failure.invariant, failure.what),
        None => "nothing was violated".to_owned(),
    };
    format!(
        "seed {}: {how}; {:.0} simulated seconds, {} runs, {} effects, {} deaths, {} entries, story {}",
        verdict.seed, verdict.seconds, verdict.runs, verdict.effects, verdict.crashes, verdict.entries, verdict.digest
    )
}

/// The smallest plan that fails so, and what it came to.
fn show(driver: &Driver, failure: &Failure, as_it_is: bool) -> Result<()> {
    let small = if as_it_is { failure.clone() } else { shrink::shrink(driver, failure) };
    println!("seed {}: {}: {}", small.plan.seed, small.invariant, small.what);
    println!("the last that happened:");
    small.last_lines.iter().for_each(|line| println!("  {line}"));
    println!(
        "the plan, for --plan FILE ({} of {} events are left):",
        small.plan.events.len(),
        failure.plan.events.len()
    );
    println!("{}", serde_json::to_string(&small.plan).context("write the plan")?);
    Ok(())
}
