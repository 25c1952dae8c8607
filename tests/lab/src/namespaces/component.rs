//! The exclusive component: a process that may run on one host at a time, and writes down every moment at which it did.
//!
//! A hidden subcommand of `baton-lab`. Each line of its record has the time of the clock that all processes of this machine share, so
//! that two records can be compared to the nanosecond. It must never decide itself whether it may run: that is what is tried.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

use super::judge::Tenancy;

/// `baton-lab exclusive-component DIRECTORY HOST EPOCH`.
pub const SUBCOMMAND: &str = "exclusive-component";
pub const PORT: u16 = 7500;
/// Between two lines of its record.
const EVERY: Duration = Duration::from_millis(2);

/// Nanoseconds of the machine's monotonic clock.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn record_file(directory: &Path) -> PathBuf {
    directory.join("record")
}

/// Runs until it is killed; any signal will do.
pub fn main(arguments: &[String]) -> ExitCode {
    let [directory, host, epoch] = arguments else {
        eprintln!("usage: {SUBCOMMAND} DIRECTORY HOST EPOCH");
        return ExitCode::from(2);
    };
    match run(Path::new(directory), host, epoch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path, host: &str, epoch: &str) -> Result<()> {
    let lock = File::create(directory.join("lock")).context("open the lock")?;
    lock.try_lock().context("it runs here already")?;
    let mut record = OpenOptions::new().create(true).append(true).open(record_file(directory)).context("open")?;
    // One write a line: what is there is whole, whenever it is killed.
    record.write_all(format!("start {epoch} {}\n", now_ns()).as_bytes())?;
    thread::spawn(move || {
        while record.write_all(format!("{}\n", now_ns()).as_bytes()).is_ok() {
            thread::sleep(EVERY);
        }
        // Without a record nobody could judge it.
        std::process::exit(1);
    });
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("listen")?;
    let word = format!("{host} {epoch}");
    for stream in listener.incoming().flatten() {
        let word = word.clone();
        thread::spawn(move || drop(serve(&stream, &word)));
    }
    Ok(())
}

/// Every line is a write, and is acknowledged with who took it, and when.
fn serve(stream: &TcpStream, word: &str) -> std::io::Result<()> {
    let (mut lines, mut answers) = (BufReader::new(stream), stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        answers.write_all(format!("{word} {}\n", now_ns()).as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// Each time that it ran in this directory, by its record.
pub fn tenancies(directory: &Path, host: &str) -> Vec<Tenancy> {
    let text = fs::read_to_string(record_file(directory)).unwrap_or_default();
    let mut found: Vec<Tenancy> = Vec::new();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        if let Some((epoch, at)) = line.strip_prefix("start ").and_then(|rest| rest.split_once(' ')) {
            let (Ok(epoch), Ok(at)) = (epoch.parse(), at.parse()) else { continue };
            found.push(Tenancy { host: host.to_owned(), epoch, first_ns: at, last_ns: at, words: 1 });
        } else if let (Some(running), Ok(at)) = (found.last_mut(), line.parse::<u64>()) {
            running.last_ns = running.last_ns.max(at);
            running.words += 1;
        }
    }
    found
}
