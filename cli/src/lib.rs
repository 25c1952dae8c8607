//! What operators type: asks coordinators, shows answers.
//!
//! Apart from everything else because it decides nothing: what a plan does, whether a run may start and how it ended is
//! said by the coordinators. It must never hold a run together (a run goes on without it), and never print talk where
//! data belongs: data goes to stdout, talk to stderr. In reading order:

pub mod arguments;
pub mod settings;

pub mod exit;
pub mod failure;

pub mod client;
pub mod command;
pub mod files;

pub mod output;
pub mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{arguments::Arguments, command::Session};

/// Reads the arguments of this process, does what they say, and gives the exit code ([`exit::Exit`]).
pub fn start() -> ExitCode {
    baton_platform::tls::install_crypto_provider();
    let arguments = Arguments::parse();
    let format = arguments.global.output;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs only memory and an epoll descriptor");
    let done = runtime.block_on(async {
        let session = Session::begin(arguments.global)?;
        command::perform(&session, arguments.command).await
    });
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.tell(format);
            failure.exit.into()
        }
    }
}
