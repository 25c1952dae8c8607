//! The `baton` command. Everything is in the library, so that tests can call what they do not need a process for.

fn main() -> std::process::ExitCode {
    baton_cli::start()
}
