//! The command line as a whole. Each command's own arguments stand with the command.
//!
//! Apart so that help, completion and parsing come from one table.

use std::{path::PathBuf, str::FromStr, time::Duration};

use baton_model::time::Span;
use baton_platform::address::{Address, AddressError};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    command::{
        apply::Apply, auto::Auto, ca::Ca, check::Check, cluster::Cluster, completion::Completion, failover::Failover,
        hosts::Hosts, lost::Lost, lost_rows::LostRows, plan::Plan, run::Run, runs::Runs, schema::Schema, show::Show,
        status::Status, switchover::Switchover, task_output::TaskOutput, version::Version, watch::Watch, word,
    },
    exit,
};

/// Moves the primary role of a database, and of the applications that depend on it, from one place to another.
#[derive(Debug, Parser)]
#[command(
    name = "baton",
    version,
    after_help = exit::HELP,
    after_long_help = exit::HELP,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// A coordinator, as HOST:PORT; repeat it, or separate several by commas
    #[arg(long, global = true, value_name = "ADDR", env = "BATON_COORDINATORS", hide_env_values = true)]
    pub coordinator: Vec<AddressList>,
    /// The directory with ca.pem, cert.pem and key.pem of the one who asks
    #[arg(long, global = true, value_name = "DIR", env = "BATON_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
    /// A file with `coordinators` and `identity` [default: ~/.config/baton/config.toml]
    #[arg(long, global = true, value_name = "FILE", env = "BATON_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Tables for people, or JSON documents for programs; errors too
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// No colours; NO_COLOR in the environment does the same
    #[arg(long, global = true)]
    pub no_color: bool,
    /// How long to wait for an answer, as in 500ms, 30s or 5m [default: 30s]
    #[arg(long, global = true, value_name = "TIME", value_parser = span)]
    pub timeout: Option<Duration>,
}

/// What stands on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Status(Status),
    Hosts(Hosts),
    Plan(Plan),
    Switchover(Switchover),
    Failover(Failover),
    Run(Run),
    Runs(Runs),
    Show(Show),
    Watch(Watch),
    Resume(word::Resume),
    Retry(word::Retry),
    Skip(word::Skip),
    Abort(word::Abort),
    Confirm(word::Confirm),
    Approve(word::Approve),
    Override(word::Override),
    Auto(Auto),
    Lost(Lost),
    Output(TaskOutput),
    LostRows(LostRows),
    Check(Check),
    Apply(Apply),
    Schema(Schema),
    Cluster(Cluster),
    Ca(Ca),
    Completion(Completion),
    Version(Version),
}

/// `a:1` or `a:1,b:2`.
#[derive(Debug, Clone)]
pub struct AddressList(pub Vec<Address>);

impl FromStr for AddressList {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Self(parts.map(str::parse).collect::<Result<_, _>>()?))
    }
}

/// `name=value`, for inputs and overrides.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub name: String,
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Self { name: name.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("it is written name=value".to_owned()),
        }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|error: baton_model::time::InvalidSpan| error.to_string())?;
    if span.as_millis() == 0 { Err("no time at all is too short".to_owned()) } else { Ok(span.to_std()) }
}
