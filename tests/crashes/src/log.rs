//! What coordinators and agents log, read at the moment when they write it: the only way to do something exactly then.
//!
//! Apart because every accident begins with a line of somebody's log. It must never read a line that is not whole yet, and never
//! miss one: a log is read on from where it was left, and not from its end.

use std::{
    fmt,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A task, as logs name it: `RUN/STEP@HOST#ATTEMPT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    pub run: String,
    pub step: String,
    pub host: String,
    pub attempt: u32,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}#{}", self.run, self.step, self.host, self.attempt)
    }
}

impl Task {
    /// The task that begins this text; what comes after a blank is not its business.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_whitespace().next()?;
        let (run, rest) = text.split_once('/')?;
        let (step, rest) = rest.split_once('@')?;
        let (host, attempt) = rest.split_once('#')?;
        let (run, step, host) = (run.to_owned(), step.to_owned(), host.to_owned());
        Some(Self { run, step, host, attempt: attempt.parse().ok()? })
    }
}

/// One log as it grows.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: File,
    offset: u64,
}

impl Tail {
    /// Lines from now on.
    pub fn of(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open the log {}", path.display()))?;
        let mut tail = Self { path: path.to_owned(), file, offset: 0 };
        tail.lines()?;
        Ok(tail)
    }

    /// The lines that were completed since the last call.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let read = (|| {
            if self.file.metadata()?.len() <= self.offset {
                return Ok(String::new());
            }
            self.file.seek(SeekFrom::Start(self.offset))?;
            let mut bytes = Vec::new();
            self.file.read_to_end(&mut bytes)?;
            // Whole lines only, so that no character is cut either.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            self.offset += whole as u64;
            bytes.truncate(whole);
            std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        })();
        let text = read.with_context(|| format!("read the log {}", self.path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_task_is_told_apart_from_what_is_logged_after_it() {
        let task = Task::parse("persistent-chat-2/8[10.0.0.1]@atl-sql-1.litwareinc.com#2 fence=1.3.44").unwrap();
        assert_eq!((task.run.as_str(), task.step.as_str()), ("persistent-chat-2", "8[10.0.0.1]"));
        assert_eq!((task.host.as_str(), task.attempt), ("atl-sql-1.litwareinc.com", 2));
        assert_eq!(Task::parse("pom-1/4/undo@pom1#1").unwrap().step, "4/undo");
        for torn in ["", "pom-1", "pom-1/3", "pom-1/3@pom1", "pom-1/3@pom1#"] {
            assert_eq!(Task::parse(torn), None, "{torn}");
        }
    }

    #[test]
    fn a_line_is_read_once_and_only_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "of before\n").unwrap();
        let mut tail = Tail::of(&path).unwrap();
        let mut log = File::options().append(true).open(&path).unwrap();
        assert_eq!(tail.lines().unwrap(), [""; 0]);
        log.write_all("one\ntwo \u{e4}".as_bytes()).unwrap();
        assert_eq!(tail.lines().unwrap(), ["one"]);
        log.write_all(b" and more\n").unwrap();
        assert_eq!(tail.lines().unwrap(), ["two \u{e4} and more"]);
        assert_eq!(tail.lines().unwrap(), [""; 0]);
    }
}
