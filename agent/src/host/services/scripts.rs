//! Services behind commands: SysV scripts, and a product's own start, stop and status.
//!
//! Apart because both speak exit codes: the Linux Standard Base says 0 runs, 1 and 2 dead with remains, 3 stopped,
//! 4 unknown. Anything else is unknown too, and never taken for stopped.

use std::path::PathBuf;

use async_trait::async_trait;
use baton_model::action::exec::Command;
use baton_model::outcome::Fault;

use super::{ServiceManager, State};
use crate::action::{Context, Failure};
use crate::host::program::{Ended, Program};

pub struct Sysv {
    pub scripts: PathBuf,
}

/// A product's own commands.
pub struct OwnCommands {
    pub start: Command,
    pub stop: Command,
    pub status: Command,
}

fn state_of(ended: &Ended, what: &str, context: &Context) -> State {
    let said = String::from_utf8_lossy(&ended.stdout);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let said: String = context.redact(said).chars().take(200).collect();
    let text = format!("{what}: {}{}{said}", ended.how(), if said.is_empty() { "" } else { ", " });
    match ended.code() {
        Some(0) => State::Running(text),
        Some(1..=3) => State::Stopped(text),
        _ => State::Unknown(text),
    }
}

fn verdict(ended: &Ended, what: &str, verb: &str) -> Result<(), Failure> {
    if ended.is_success() {
        return Ok(());
    }
    let code = if verb == "start" { "BTN-0503" } else { "BTN-0504" };
    Err(Failure::Failed(Fault::new(
        code,
        format!("{what} ended with {}.", ended.how()),
        "Its output says why. Put it right, then retry the step.",
    )))
}

impl Sysv {
    fn program(&self, name: &str, verb: &str) -> Program {
        // The script itself: `service` would go to systemd on a host that runs it, and then Auto had not come here.
        Program::new([self.scripts.join(name).display().to_string(), verb.to_owned()])
    }

    async fn ask(&self, name: &str, verb: &str, context: &Context) -> Result<(), Failure> {
        let ended = self.program(name, verb).run(context).await?;
        verdict(&ended, &format!("{} {verb}", self.scripts.join(name).display()), verb)
    }
}

#[async_trait]
impl ServiceManager for Sysv {
    async fn state(&self, name: &str, context: &Context) -> Result<State, Fault> {
        let script = self.scripts.join(name);
        if !script.is_file() {
            return Ok(State::Missing(format!("there is no script {}", script.display())));
        }
        let program = Program { capture: true, ..self.program(name, "status") };
        match program.run(context).await {
            Ok(ended) => Ok(state_of(&ended, &format!("{} status", script.display()), context)),
            Err(error) => Ok(State::Unknown(error.to_string())),
        }
    }
    async fn start(&self, name: &str, context: &Context) -> Result<(), Failure> {
        self.ask(name, "start", context).await
    }
    async fn stop(&self, name: &str, context: &Context) -> Result<(), Failure> {
        self.ask(name, "stop", context).await
    }
}

async fn run(command: &Command, verb: &str, context: &Context) -> Result<(), Failure> {
    let ended = Program::from_command(command, context).await?.run(context).await?;
    verdict(&ended, &command.argv.join(" "), verb)
}

#[async_trait]
impl ServiceManager for OwnCommands {
    async fn state(&self, _: &str, context: &Context) -> Result<State, Fault> {
        let program = Program { capture: true, ..Program::from_command(&self.status, context).await? };
        match program.run(context).await {
            Ok(ended) => Ok(state_of(&ended, &self.status.argv.join(" "), context)),
            Err(error) => Ok(State::Unknown(error.to_string())),
        }
    }
    async fn start(&self, _: &str, context: &Context) -> Result<(), Failure> {
        run(&self.start, "start", context).await
    }
    async fn stop(&self, _: &str, context: &Context) -> Result<(), Failure> {
        run(&self.stop, "stop", context).await
    }
}
