//! The outside world of the lab `horizon-daas`: appliances with real PostgreSQL 15 servers that replicate by real
//! Slony-I, their services, scripts and files, as VMware Horizon DaaS before 9.0.0 has them.
//!
//! Apart, and without anything of Baton in it, so that it can judge Baton: it counts effects in its own journals,
//! asks the servers its own questions, and kills what it is told to kill. It must never know a run or a plan.
//!
//! Ground: the vendor's page "Database Failover", and what was measured with Slony-I 2.2.11.
//!
//! ```text
//! WORLD/processes                  who belongs to this world (see [`crate::processes`])
//! WORLD/sp-a/                      one appliance: its "root directory"
//!   usr/local/desktone/…           the files and scripts of the vendor's procedure
//!   usr/local/xmpms/diagnose/…
//!   bin/service NAME VERB          its service manager
//!   etc/  run/  var/log/           the lab's own settings, pid files, logs
//!   var/effects.log                every effect on the services and slons, counted without Baton
//!   pgdata/                        its database server
//! ```

pub mod appliance;
pub mod network;
pub mod properties;

mod layout;
mod schema;

pub mod postgres;
pub mod replication;
pub mod verification;

pub mod application;
pub mod power;
pub mod world;

pub use appliance::{Appliance, Database, Organization, Side};
pub use network::Network;
pub use postgres::Endpoint;
pub use world::{Options, World};

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

/// The cluster name of Slony, and so the schema `_slony`.
pub const CLUSTER: &str = "slony";
/// The comment of the one replication set, as the vendor's verification row prints it.
pub const SET_COMMENT: &str = "All tables and Sequences";

/// What can go wrong in building or judging the world.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Installing or finding programs.
    #[error(transparent)]
    Packages(#[from] crate::packages::Error),
    /// Listing, registering or ending processes.
    #[error(transparent)]
    Processes(#[from] crate::processes::Error),
    /// A file of the world.
    #[error("{verb} {}: {source}", path.display())]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    /// PostgreSQL will not run as root, and the user it should run as cannot reach its directory.
    #[error("user postgres cannot enter {}: make it executable for others, or choose another directory", path.display())]
    Unreachable { path: PathBuf },
    /// The machine has no user `postgres`.
    #[error("this machine has no user postgres, and PostgreSQL refuses to run as root")]
    NoPostgresUser,
    /// No loopback addresses to be had.
    #[error("no free loopback addresses for the world: {reason}")]
    Network { reason: String },
    /// A program of the world ended badly.
    #[error("{what} failed ({status}): {output}")]
    Program { what: String, status: String, output: String },
    /// A program could not be started.
    #[error("start {what}: {source}")]
    Start { what: String, source: std::io::Error },
    /// A program ran out of its time.
    #[error("{what} did not end within {seconds} s: {output}")]
    TooSlow { what: String, seconds: u64, output: String },
    /// No connection to a server.
    #[error("connect to {database} at {address}: {source}")]
    Connect { address: SocketAddr, database: String, source: tokio_postgres::Error },
    /// The connection was not made in time: "no answer" is not "dead".
    #[error("no answer from {database} at {address} within {seconds} s")]
    NoAnswer { address: SocketAddr, database: String, seconds: u64 },
    /// A server refused a statement.
    #[error("{what} on {database} at {address}: {}", explain(source))]
    Sql { what: String, address: SocketAddr, database: String, source: tokio_postgres::Error },
    /// A condition did not come true in time.
    #[error("{what}: not so after {seconds} s; last seen: {seen}")]
    Never { what: String, seconds: u64, seen: String },
    /// The replication is not what it should be; every finding is listed.
    #[error("{database} does not replicate from {origin} to {subscriber}: {}", findings.join("; "))]
    NotReplicating { database: String, origin: SocketAddr, subscriber: SocketAddr, findings: Vec<String> },
}

/// tokio-postgres prints "db error" and keeps the server's words for itself.
fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{}: {} (SQLSTATE {})", said.severity(), said.message(), said.code().code()),
        None => error.to_string(),
    }
}

/// Runs one of the world's hidden programs if the arguments (without the program's name) name one.
///
/// The binary `baton-lab` calls this first, before it reads its own command line.
pub fn program(arguments: &[String]) -> Option<ExitCode> {
    match arguments {
        [name, path, mark] if name == crate::processes::keeper::SUBCOMMAND => {
            Some(crate::processes::keeper::main(std::path::Path::new(path), mark))
        }
        [name, rest @ ..] if name == application::SUBCOMMAND => Some(application::main(rest)),
        [name, rest @ ..] if name == crate::namespaces::component::SUBCOMMAND => {
            Some(crate::namespaces::component::main(rest))
        }
        [name, rest @ ..] if name == crate::machine::program::SUBCOMMAND => Some(crate::machine::program::main(rest)),
        _ => None,
    }
}

/// Finds the `baton-lab` program for [`Options::helper`]: this program itself, or the one that cargo has built beside
/// it (a test's program is one folder deeper). `None`: build it first, with `cargo build -p baton-lab`.
pub fn helper() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    if own.file_name()? == "baton-lab" {
        return Some(own);
    }
    own.ancestors().skip(1).take(2).map(|directory| directory.join("baton-lab")).find(|program| program.is_file())
}
