//! `exec.powershell`: one cmdlet with parameters as data, and another that asks what came of it.
//!
//! Apart from `exec.run` because a shell's exit code proves nothing: a cmdlet's ordinary error leaves it at 0. What counts
//! is the reply of our own script (see [`script`]), and afterwards what `get` says. No text of a caller ever becomes part
//! of a script, and `get` may only begin with Get- or Test-, so that an observation stays one.

use async_trait::async_trait;
use baton_model::{
    action::exec::{Cmdlet, Powershell},
    expression::{Expression, Scope},
    outcome::{Fault, Observation},
};
use serde_json::Value;

use super::{Context, Effect, Failure, Perform, exec::check_argv};
use crate::host::program::Program;

pub mod reply;
mod script;

use reply::Reply;

/// Of what the shell said instead of a reply, so much is shown.
const HEAD_CHARS: usize = 300;

/// The action of parameters; a fault where they make no sense.
pub fn bind(parameters: &Powershell) -> Result<Box<dyn Perform>, Fault> {
    check_argv("exec.powershell", std::slice::from_ref(&parameters.shell))?;
    let wrong = |what: String, remedy: &str| Fault::new("BTN-0551", what, remedy);
    script::check_modules(&parameters.modules)
        .map_err(|why| wrong(why, "Name modules as Import-Module finds them."))?;
    for cmdlet in [Some(&parameters.run), parameters.get.as_ref()].into_iter().flatten() {
        script::check_cmdlet(cmdlet).map_err(|why| wrong(why, "Correct the runbook."))?;
    }
    let get = match (&parameters.get, &parameters.expect) {
        (Some(get), Some(expect)) => {
            if !["Get-", "Test-"].iter().any(|verb| get.cmdlet.starts_with(verb)) {
                let what = format!("get names {}, and an observation must change nothing", get.cmdlet);
                return Err(wrong(what, "Ask with a cmdlet that begins with Get- or Test-."));
            }
            let expect = Expression::parse(expect).map_err(|error| wrong(error.to_string(), "Correct expect."))?;
            Some((call(parameters, get)?, get.clone(), expect))
        }
        (None, None) => None,
        (Some(_), None) => return Err(wrong("get is given without expect".to_owned(), "Say what its result must be.")),
        (None, Some(_)) => return Err(wrong("expect is given without get".to_owned(), "Say which cmdlet to ask.")),
    };
    let run = call(parameters, &parameters.run)?;
    Ok(Box::new(Call { run, cmdlet: parameters.run.clone(), get, repeatable: parameters.repeatable }))
}

fn call(parameters: &Powershell, cmdlet: &Cmdlet) -> Result<Vec<String>, Fault> {
    script::argv(&parameters.shell, &parameters.modules, cmdlet).map_err(|why| {
        Fault::new("BTN-0551", format!("{}: {why}", cmdlet.cmdlet), "Give it fewer or shorter parameters.")
    })
}

struct Call {
    run: Vec<String>,
    cmdlet: Cmdlet,
    get: Option<(Vec<String>, Cmdlet, Expression)>,
    repeatable: bool,
}

#[async_trait]
impl Perform for Call {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let Some((argv, get, expect)) = &self.get else {
            let why = format!("{}: whether it has run cannot be seen; it has no get", shown(&self.cmdlet));
            return Ok(Observation::CannotTell { why });
        };
        let result = ask(argv, get, context).await.map_err(|failure| match failure {
            Failure::Failed(fault) | Failure::Unclear(fault) => fault,
        })?;
        let scope = Scope::from([("result".to_owned(), result.clone())]);
        let holds = expect.holds(&scope).map_err(|error| {
            let message = format!("{error}; {} gave {}", shown(get), short(&result.to_string()));
            Fault::new("BTN-0554", message, "Correct expect, or see what the cmdlet gives now.")
        })?;
        let seen = format!("{} gave {}", shown(get), short(&result.to_string()));
        Ok(match holds {
            true => Observation::InPlace { note: seen },
            false => Observation::Differs { change: format!("{} ({seen})", shown(&self.cmdlet)) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        context.progress(shown(&self.cmdlet), None);
        let result = ask(&self.run, &self.cmdlet, context).await.map_err(|failure| match failure {
            // It may have done a part, or all of it, before it complained: where somebody can be asked, ask.
            Failure::Failed(fault) if self.get.is_some() => Failure::Unclear(fault),
            other => other,
        })?;
        Ok(Effect { summary: format!("{} was done", shown(&self.cmdlet)), data: result, changed: None })
    }

    /// With a condition, "differs" means that it has not happened.
    fn repeatable(&self) -> bool {
        self.repeatable || self.get.is_some()
    }

    fn repeatable_blind(&self) -> bool {
        self.repeatable
    }
}

/// Runs one cmdlet. Failed: the cmdlet said so. Unclear: the shell ended without a word of ours.
async fn ask(argv: &[String], cmdlet: &Cmdlet, context: &Context) -> Result<Value, Failure> {
    let program = Program { capture: true, ..Program::new(argv.iter().cloned()) };
    let ended = program.run(context).await?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let (said, reply) = Reply::find(&text);
    said.iter().for_each(|line| context.output().line(format!("{}: {line}", cmdlet.cmdlet)));
    let Some(reply) = reply else {
        let head = if said.is_empty() { "nothing at all".to_owned() } else { format!("{:?}", short(&said.join("\n"))) };
        let message = format!("{}: the shell ended with {} and no reply; it said {head}", shown(cmdlet), ended.how());
        let remedy = "See that the shell named in the step is PowerShell and that its user may run it; then see what the \
                      cmdlet has done.";
        return Err(Failure::Unclear(Fault::new("BTN-0553", message, remedy)));
    };
    if reply.ok && reply.errors.is_empty() && ended.is_success() {
        return Ok(reply.result);
    }
    let errors: Vec<String> = reply.errors.iter().map(ToString::to_string).collect();
    errors.iter().for_each(|error| context.output().line(error));
    let said = if errors.is_empty() { "it gave no error text".to_owned() } else { errors.join("; ") };
    let message = format!("{} failed ({}): {}", shown(cmdlet), ended.how(), short(&said));
    let remedy = "Put right what it says, then retry the step. An error about rights is about the agent's user.";
    Err(Failure::Failed(Fault::new("BTN-0552", message, remedy)))
}

/// For a person: as it would be typed. It is never run.
fn shown(cmdlet: &Cmdlet) -> String {
    let mut text = cmdlet.cmdlet.clone();
    for (name, value) in &cmdlet.parameters {
        match value {
            Value::Bool(true) => text.push_str(&format!(" -{name}")),
            Value::Bool(false) => text.push_str(&format!(" -{name}:$false")),
            Value::Null => text.push_str(&format!(" -{name} $null")),
            Value::String(value) => text.push_str(&format!(" -{name} {value:?}")),
            other => text.push_str(&format!(" -{name} {other}")),
        }
    }
    short(&text)
}

fn short(text: &str) -> String {
    let mut head: String = text.chars().take(HEAD_CHARS).collect();
    if head.len() < text.len() {
        head.push('…');
    }
    head
}
