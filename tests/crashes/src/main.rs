//! `baton-crashes`: runs the crash matrix, or a part of it.
//!
//! Exit codes: 0, every cell that was run is green; 1, one is red; 2, it could not be run.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, ensure};
use baton_crashes::{
    matrix::{self, Part, Selection},
    party::{Moment, Party},
    procedure::Programs,
    results::Results,
    table::{self, Row},
    workers,
};
use baton_lab::cluster::Binaries;
use clap::{Parser, ValueEnum};
use serde_json::json;

/// Runs every shipped runbook over real processes, killing each party at each moment of every step, and compares what the outside
/// world says at the end with the run that nobody disturbed.
#[derive(Debug, Parser)]
#[command(name = "cargo crashes")]
struct Arguments {
    /// Names the cells, and runs nothing
    #[arg(long)]
    list: bool,
    /// Runbooks, or a product's: avaya-pom/switchover, avaya-pom
    #[arg(long, value_name = "RUNBOOK")]
    only: Vec<String>,
    /// Who is killed: leader, follower, agent, database, command-line, everything
    #[arg(long = "party", value_name = "PARTY")]
    parties: Vec<Party>,
    /// When: before, during, after, again
    #[arg(long = "moment", value_name = "MOMENT")]
    moments: Vec<Moment>,
    /// One of so many parts of what is selected
    #[arg(long, value_name = "K/N")]
    slice: Option<Part>,
    /// The part whose turn it is, by CRASHES_SLICE or by the number of commits
    #[arg(long, conflicts_with_all = ["only", "parties", "moments", "slice"])]
    turn: bool,
    /// Cells at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Where each result is kept as soon as it is known
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Leaves out what --results has as green of the same commit and programs
    #[arg(long, requires = "results")]
    resume: bool,
    /// Where the logs of red cells are kept
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> ExitCode {
    baton_platform::tls::install_crypto_provider();
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo crashes: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True where nothing is red.
fn run(arguments: &Arguments) -> Result<bool> {
    let (what, cells) = if arguments.turn {
        let (number, from) = matrix::number()?;
        let (part, cells) = matrix::turn(number);
        (format!("part {part}, by {from}"), cells)
    } else {
        let selection = Selection {
            only: arguments.only.clone(),
            parties: arguments.parties.clone(),
            moments: arguments.moments.clone(),
            part: arguments.slice,
        };
        let part = arguments.slice.map_or("all that is selected".to_owned(), |part| format!("part {part}"));
        (part, selection.cells()?)
    };
    ensure!(!cells.is_empty(), "no cell is selected");
    if arguments.list {
        for cell in &cells {
            println!("{}{}", cell.id(), cell.without_victim().map(|why| format!(" ({why})")).unwrap_or_default());
        }
        return Ok(true);
    }
    // Before the build, which may put a new file in this program's place: then the system calls the old one deleted.
    let this = std::env::current_exe().context("find this program")?;
    let commit = matrix::commit()?;
    ensure!(
        !(arguments.resume && commit.ends_with("-dirty")),
        "--resume counts what was green of a commit, and the work tree is not {commit}: commit first, or leave --resume out"
    );
    Binaries::build(&this)?;
    let programs = Programs::find()?;
    let tried = format!("{commit}, programs {}", programs.digest(&this)?);
    eprintln!("{what}: {} cells of {}, commit {tried}", cells.len(), matrix::all().len());
    let results = Results::open(arguments.results.as_deref(), &tried, arguments.resume)?;
    let begun = Instant::now();
    let say = |line: &str| eprintln!("[{:>7.1}s] {line}", begun.elapsed().as_secs_f64());
    let rows = workers::run(&cells, arguments.jobs, &programs, &results, arguments.logs.as_deref(), say)?;
    match arguments.output {
        Format::Table => print!("{}", table::table(&rows)),
        Format::Json => println!("{}", json!({ "commit": tried, "part": what, "cells": rows })),
    }
    Ok(rows.iter().all(|row: &Row| row.result != table::RED))
}
