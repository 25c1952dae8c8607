//! `cargo lab`: builds a world. Hidden subcommands are the small programs that a world is made of.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = baton_lab::horizon::program(&arguments) {
        return ended;
    }
    eprintln!("usage: baton-lab LAB");
    ExitCode::from(2)
}
