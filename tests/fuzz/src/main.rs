//! `cargo fuzz-parsers`: every parser against whatever bytes, each in a process of its own, since an overflowed stack takes its
//! process along. What is found is kept as a file, and named with its seed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use baton_fuzz::{
    hunt::{self, Find, Note},
    target,
};
use clap::Parser;

/// Feeds Baton's parsers, and the simulator's, with whatever bytes
#[derive(Debug, Parser)]
struct Arguments {
    /// The parsers; all of them without it
    targets: Vec<String>,
    /// For each of them
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The same seed makes the same cases; one from the clock without it
    #[arg(long)]
    seed: Option<u64>,
    /// Name the parsers, and do nothing
    #[arg(long)]
    list: bool,
    /// Feed this file to the one parser that is named
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Hunt in this very process, and note each case here
    #[arg(long, hide = true, value_name = "FILE")]
    note: Option<PathBuf>,
}

fn main() -> ExitCode {
    match perform(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found.
fn perform(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        target::all().iter().for_each(|target| println!("{:<14} {}", target.name, target.what));
        return Ok(true);
    }
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let seed = arguments.seed.unwrap_or_else(clock);
    if let [name] = arguments.targets.as_slice() {
        if let Some(file) = &arguments.replay {
            let case = fs::read(file).with_context(|| format!("read {}", file.display()))?;
            return Ok(told(name, hunt::feed(hunt::named(name)?, &case).map(|()| "nothing found".to_owned())));
        }
        if let Some(note) = &arguments.note {
            std::panic::set_hook(Box::new(|_| {}));
            let time = Duration::from_secs(arguments.seconds);
            let hunted = hunt::hunt(hunt::named(name)?, seed, time, Some(&Note::at(note)?));
            if let Err(find) = &hunted {
                keep(note, &find.case)?;
            }
            return Ok(told(name, hunted.map(|figures| figures.to_string())));
        }
    } else if arguments.replay.is_some() {
        bail!("name the one parser that the file is for");
    }
    let names: Vec<&str> = match arguments.targets.as_slice() {
        [] => target::all().iter().map(|target| target.name).collect(),
        named => named.iter().map(|name| Ok(hunt::named(name)?.name)).collect::<Result<_>>()?,
    };
    println!("seed {seed}, {} s each: {}", arguments.seconds, names.join(", "));
    let place = tempfile::Builder::new().prefix("baton-fuzz-").tempdir()?.keep();
    let mut clean = true;
    for name in names {
        clean &= in_a_process(name, seed, arguments.seconds, &place)?;
    }
    if clean {
        fs::remove_dir_all(&place)?;
    }
    Ok(clean)
}

fn in_a_process(name: &str, seed: u64, seconds: u64, place: &Path) -> Result<bool> {
    let note = place.join(name);
    let mut command = Command::new(std::env::current_exe()?);
    command.args([name, "--seed", &seed.to_string(), "--seconds", &seconds.to_string(), "--note"]).arg(&note);
    let mut child = command.spawn()?;
    let end = Instant::now() + Duration::from_secs(seconds.saturating_mul(2) + 60);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            println!("{name}: one case has no end; it is kept in {}", keep_noted(&note)?);
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    match status.code() {
        Some(0) => return Ok(true),
        Some(1) => println!("  seed {seed}; the case is kept in {}", note.with_extension("case").display()),
        _ => println!("{name}: FOUND: {status}; seed {seed}; the case is kept in {}", keep_noted(&note)?),
    }
    Ok(false)
}

fn keep(note: &Path, case: &[u8]) -> Result<()> {
    fs::write(note.with_extension("case"), case).context("keep the case")
}

fn keep_noted(note: &Path) -> Result<String> {
    keep(note, &Note::read(note).unwrap_or_default())?;
    Ok(note.with_extension("case").display().to_string())
}

fn told(name: &str, hunted: Result<String, Find>) -> bool {
    match hunted {
        Ok(words) => {
            println!("{name}: {words}");
            true
        }
        Err(Find { what, case }) => {
            let shown = String::from_utf8_lossy(&case).chars().take(400).collect::<String>();
            println!("{name}: FOUND: {what}\n  {} bytes: {shown:?}", case.len());
            false
        }
    }
}
