//! The commands, one file each: arguments, what is asked, what is shown.
//!
//! Apart from the client, which knows no words, and from the output, which asks nobody.

use serde::Serialize;

use crate::{
    arguments::{Command, Format, Global},
    client::Client,
    exit::Exit,
    failure::Failure,
    output::look::Look,
    settings::Settings,
    terminal::Stream,
};

pub mod status;
pub mod hosts;

pub mod wish;
pub mod acceptance;
pub mod plan;
pub mod start;
pub mod switchover;
pub mod failover;
pub mod run;

pub mod runs;
pub mod show;
pub mod watch;
pub mod word;
pub mod auto;
pub mod lost;
pub mod task_output;
pub mod lost_rows;

pub mod check;
pub mod apply;
pub mod schema;

pub mod cluster;
pub mod ca;
pub mod completion;
pub mod version;

/// What every command is given: how to reach coordinators, and how to show things.
pub struct Session {
    pub global: Global,
    pub format: Format,
    /// For data, on stdout.
    pub look: Look,
    /// For talk, on stderr.
    pub talk_look: Look,
}

impl Session {
    pub fn begin(global: Global) -> Result<Self, Failure> {
        let (look, talk_look) = (Stream::Stdout.look(&global), Stream::Stderr.look(&global));
        Ok(Self { format: global.output, look, talk_look, global })
    }

    pub fn settings(&self) -> Result<Settings, Failure> {
        Settings::read(&self.global)
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Client::open(&self.settings()?)
    }

    /// The document, or the text made of it.
    pub fn data<T: Serialize>(&self, document: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => Stream::Stdout.write(text().as_bytes()),
            Format::Json => self.json(document),
        }
    }

    /// One document, for people who read JSON too.
    pub fn json<T: Serialize>(&self, document: &T) -> Result<(), Failure> {
        let mut json = serde_json::to_vec_pretty(document).expect("documents have string keys");
        json.push(b'\n');
        Stream::Stdout.write(&json)
    }

    /// One document of several: a line.
    pub fn json_line<T: Serialize>(&self, document: &T) -> Result<(), Failure> {
        let mut json = serde_json::to_vec(document).expect("documents have string keys");
        json.push(b'\n');
        Stream::Stdout.write(&json)
    }

    /// To stderr, a line.
    pub fn talk(&self, words: impl AsRef<str>) -> Result<(), Failure> {
        Stream::Stderr.write(format!("{}\n", crate::output::text::printable(words.as_ref())).as_bytes())
    }
}

pub async fn perform(session: &Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Status(command) => command.perform(session).await,
        Command::Hosts(command) => command.perform(session).await,
        Command::Plan(command) => command.perform(session).await,
        Command::Switchover(command) => command.perform(session).await,
        Command::Failover(command) => command.perform(session).await,
        Command::Run(command) => command.perform(session).await,
        Command::Runs(command) => command.perform(session).await,
        Command::Show(command) => command.perform(session).await,
        Command::Watch(command) => command.perform(session).await,
        Command::Resume(command) => command.perform(session).await,
        Command::Retry(command) => command.perform(session).await,
        Command::Skip(command) => command.perform(session).await,
        Command::Abort(command) => command.perform(session).await,
        Command::Confirm(command) => command.perform(session).await,
        Command::Approve(command) => command.perform(session).await,
        Command::Override(command) => command.perform(session).await,
        Command::Auto(command) => command.perform(session).await,
        Command::Lost(command) => command.perform(session).await,
        Command::Output(command) => command.perform(session).await,
        Command::LostRows(command) => command.perform(session).await,
        Command::Check(command) => command.perform(session),
        Command::Apply(command) => command.perform(session).await,
        Command::Schema(command) => command.perform(session),
        Command::Cluster(command) => command.perform(session).await,
        Command::Ca(command) => command.perform(session),
        Command::Completion(command) => command.perform(),
        Command::Version(command) => command.perform(session),
    }
}
