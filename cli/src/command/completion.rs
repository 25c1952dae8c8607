//! `baton completion`: for shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{arguments::Arguments, exit::Exit, failure::Failure, terminal::Stream};

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct Completion {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub fn perform(&self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "baton", &mut script);
        Stream::Stdout.write(&script)?;
        Ok(Exit::Done)
    }
}
