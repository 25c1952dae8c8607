//! `exec.run`: a program with arguments, never a shell string.
//!
//! Apart from `host/program.rs` (which starts and ends it) because here is what its end means. It cannot be observed:
//! only `creates` or `unless` say whether its effect is there.

use std::path::Path;

use async_trait::async_trait;
use baton_model::action::exec::Run;
use baton_model::outcome::{Fault, Observation};
use serde_json::json;

use super::{Context, Effect, Failure, Perform};
use crate::host::program::Program;

/// The action of parameters; a fault where they make no sense.
pub fn bind(run: &Run) -> Result<Box<dyn Perform>, Fault> {
    check_argv("exec.run", &run.argv)?;
    if let Some(unless) = &run.unless {
        check_argv("unless of exec.run", &unless.argv)?;
    }
    Ok(Box::new(run.clone()))
}

/// A program is named by its absolute path: what a search path finds is nobody's decision.
pub fn check_argv(whose: &str, argv: &[String]) -> Result<(), Fault> {
    match argv.first() {
        Some(program) if Path::new(program).is_absolute() => Ok(()),
        seen => Err(Fault::new(
            "BTN-0531",
            format!("{whose} names the program {:?}, which is not an absolute path.", seen.map_or("", String::as_str)),
            "Begin argv with the program's absolute path.",
        )),
    }
}

fn shown(run: &Run) -> String {
    let user = run.user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    format!("run {}{user}", run.argv.join(" "))
}

#[async_trait]
impl Perform for Run {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        if let Some(path) = &self.creates {
            if context.policy().check_path(path)?.exists() {
                return Ok(Observation::InPlace { note: format!("{path} exists") });
            }
            if self.unless.is_none() {
                return Ok(Observation::Differs { change: format!("{} ({path} does not exist)", shown(self)) });
            }
        }
        let Some(unless) = &self.unless else {
            let why = format!("{}: whether it has run cannot be seen; it has no creates and no unless", shown(self));
            return Ok(Observation::CannotTell { why });
        };
        // Captured: a question is no output of the task.
        let program = Program { capture: true, ..Program::from_command(unless, context).await? };
        let asked = unless.argv.join(" ");
        Ok(match program.run(context).await {
            Ok(ended) if ended.is_success() => Observation::InPlace { note: format!("{asked} says so") },
            Ok(ended) if ended.code().is_some() => {
                Observation::Differs { change: format!("{} ({asked}: {})", shown(self), ended.how()) }
            }
            Ok(ended) => Observation::CannotTell { why: format!("{asked} was ended by {}", ended.how()) },
            // Not a fault of its own: a guard that must stop something does so without an answer. What to do about it is said along.
            Err(error) => {
                let Fault { message, remedy, .. } = error.fault();
                Observation::CannotTell { why: format!("{message} {remedy}").trim_end().to_owned() }
            }
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let mut program = Program::from_command(&self.command(), context).await?;
        if let Some(text) = &self.stdin {
            program.stdin = Some(context.resolve(text).await?);
        }
        context.progress(shown(self), None);
        let ended = program.run(context).await?;
        let good = if self.exit_codes.is_empty() { &[0][..] } else { &self.exit_codes };
        match ended.code() {
            Some(code) if good.contains(&code) => Ok(Effect {
                summary: format!("{} ended with {}", self.argv[0], ended.how()),
                data: json!({ "exit_code": code }),
                changed: None,
            }),
            Some(code) => Err(Failure::Failed(Fault::new(
                "BTN-0533",
                format!("{} ended with exit code {code}; expected {good:?}.", self.argv.join(" ")),
                "Its output says why. Put it right, then retry the step.",
            ))),
            None => Err(Failure::Failed(Fault::new(
                "BTN-0534",
                format!("{} was ended by {}.", self.argv.join(" "), ended.how()),
                "Look in the host's log for who ended it (memory?), then retry the step.",
            ))),
        }
    }

    /// With a condition, "differs" means that it has not happened.
    fn repeatable(&self) -> bool {
        self.repeatable || self.creates.is_some() || self.unless.is_some()
    }

    fn repeatable_blind(&self) -> bool {
        self.repeatable
    }
}

#[cfg(test)]
mod tests;
