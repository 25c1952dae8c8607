//! The exit codes: a contract with scripts. Apart so that there is one list, which `--help` prints too.

use std::process::ExitCode;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done,
    /// The run failed, or was aborted.
    Failed,
    /// Wrong usage, or a wrong file.
    Usage,
    /// The run is halted, or waits for a person.
    Waiting,
    NotFound,
    /// Refused, and nothing was changed.
    Refused,
    /// No coordinator answered.
    Unreachable,
    /// Ctrl-C: no longer watching; the run goes on. 128 + SIGINT, as shells expect.
    Detached,
}

/// For `--help`.
pub const HELP: &str = "\
Exit codes:
    0  done
    1  failed: the run ended without success
    2  wrong usage, or a wrong file
    3  halted, or waiting for an operator
    4  not found
    5  refused
    6  no coordinator can be reached
  130  Ctrl-C while watching; the run goes on";

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Waiting => 3,
            Exit::NotFound => 4,
            Exit::Refused => 5,
            Exit::Unreachable => 6,
            Exit::Detached => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
