//! The real binary, with an environment of its own.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Nothing of the environment of whoever runs the tests.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command.args(arguments).current_dir(directory).env_clear().env("TZ", "UTC").env("LANG", "C.UTF-8");
    command.env("HOME", directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn run(directory: &Path, arguments: &[&str]) -> Ended {
    end(command(directory, arguments))
}

pub fn end(mut command: Command) -> Ended {
    Ended::of(command.output().unwrap())
}
