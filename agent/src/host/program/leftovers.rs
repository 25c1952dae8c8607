//! Programs that outlived a killed agent.
//!
//! Apart because it works on what an earlier process of the agent wrote down. Before an interrupted task is observed,
//! whatever it had started must be gone: an effect that comes after the observation would make the answer a lie.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use baton_model::ids::TaskId;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::action::Context;

const FILE_NAME: &str = "sessions";
/// The environment variable that names the task to whatever it starts.
pub const MARK: &str = "BATON_TASK";

fn mark(task: &TaskId) -> String {
    format!("{MARK}={task}")
}

/// Writes down a session that a task begins. Without a task (a dry run) nobody comes back for it.
pub fn note(context: &Context, leader: Pid) {
    let Some(directory) = context.directory() else { return };
    let line = format!("{} {}\n", leader.as_raw_nonzero(), boot_id());
    let written = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(directory.join(FILE_NAME))
        .and_then(|mut file| io::Write::write_all(&mut file, line.as_bytes()));
    if let Err(error) = written {
        tracing::warn!(%error, "cannot write down a program's session; if the agent is killed now, it is not ended");
    }
}

/// A place to write down a session before its program runs, opened before the fork.
///
/// Written by the child itself: an agent that is killed between starting a program and writing it down would leave a program
/// that nobody looks for.
pub struct Note {
    file: fs::File,
    /// What follows the number.
    rest: Vec<u8>,
}

impl Note {
    /// Opens it. Without a task (a dry run) nobody comes back for what is started.
    pub fn open(context: &Context) -> io::Result<Option<Self>> {
        let Some(directory) = context.directory() else { return Ok(None) };
        let file = fs::OpenOptions::new().append(true).create(true).open(directory.join(FILE_NAME))?;
        Ok(Some(Self { file, rest: format!(" {}\n", boot_id()).into_bytes() }))
    }

    /// Writes down the calling process. Between fork and exec: no allocation, one system call beside `getpid`.
    pub fn write_own(&self) -> io::Result<()> {
        let mut line = [0u8; 128];
        let mut digits = [0u8; 10];
        let mut number = std::process::id();
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let count = digits.len() - first;
        let end = count + self.rest.len();
        if end > line.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        line[..count].copy_from_slice(&digits[first..]);
        line[count..end].copy_from_slice(&self.rest);
        match rustix::io::write(&self.file, &line[..end]) {
            Ok(written) if written == end => Ok(()),
            Ok(_) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Ends every session that the task in this directory had begun, and waits until they are gone. Returns how many
/// processes were ended.
pub fn end(directory: &Path, task: &TaskId, patience: Duration) -> io::Result<usize> {
    let text = match fs::read_to_string(directory.join(FILE_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let boot = boot_id();
    let mut ended = 0;
    for line in text.lines() {
        let Some((id, noted_boot)) = line.split_once(' ') else { continue };
        // Another boot: the number means nothing any more.
        let Some(leader) = id.parse().ok().and_then(Pid::from_raw).filter(|_| noted_boot == boot) else { continue };
        ended += end_session(leader, &mark(task), patience)?;
    }
    Ok(ended)
}

fn end_session(leader: Pid, mark: &str, patience: Duration) -> io::Result<usize> {
    let begun = Instant::now();
    let most = members(leader, mark)?.len();
    while !members(leader, mark)?.is_empty() {
        let _ = kill_process_group(leader, Signal::KILL);
        for pid in members(leader, mark)? {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        if begun.elapsed() > patience {
            return Err(io::Error::other(format!("processes of session {} cannot be ended", leader.as_raw_nonzero())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(most)
}

/// The living processes of the session that carry this task's mark in their environment: the number of a session may
/// have been given again, the mark was not.
fn members(leader: Pid, mark: &str) -> io::Result<Vec<Pid>> {
    let session = leader.as_raw_nonzero().get();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The command in parentheses may hold anything; fields are counted after the last one.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let (state, of_session) = (fields.first().copied(), fields.get(3).and_then(|field| field.parse::<i32>().ok()));
        let marked = || {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        };
        if of_session == Some(session) && !matches!(state, Some("Z" | "X")) && marked() {
            found.extend(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}
