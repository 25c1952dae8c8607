//! `wait.tcp`, `wait.http`, `wait.until`: a question asked again and again until the answer is the wished one.
//!
//! Apart from the probes because this is the waiting: progress when the answer changes, and at the deadline a fault that
//! says what was seen last. It changes nothing.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::action::exec::Command;
use baton_model::action::wait::{Http, Probe, Tcp, TcpProbe, Until};
use baton_model::outcome::{Fault, Observation};
use baton_model::time::Span;

use super::{Context, Effect, Failure, Perform};

pub mod http;
pub mod probe;
mod trust;

use probe::Answer;

/// The shortest pause between two questions, whatever the runbook says.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The action of parameters; a fault where they make no sense.
pub mod bind {
    use super::*;

    pub fn tcp(parameters: &Tcp) -> Result<Box<dyn Perform>, Fault> {
        let target = TcpProbe { host: parameters.host.clone(), port: parameters.port };
        let wish = if parameters.closed { Wish::Closed } else { Wish::Yes };
        Ok(Box::new(Waiting { probe: Probe::Tcp(target), wish, every: parameters.every }))
    }
    pub fn http(parameters: &Http) -> Result<Box<dyn Perform>, Fault> {
        let probe = parameters.probe();
        super::http::check(&probe)?;
        Ok(Box::new(Waiting { probe: Probe::Http(probe), wish: Wish::Yes, every: parameters.every }))
    }
    pub fn until(parameters: &Until) -> Result<Box<dyn Perform>, Fault> {
        crate::action::exec::check_argv("wait.until", &parameters.argv)?;
        let command =
            Command { argv: parameters.argv.clone(), environment: Default::default(), user: None, directory: None };
        Ok(Box::new(Waiting { probe: Probe::Command(command), wish: Wish::Yes, every: parameters.every }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Yes,
    /// The port refuses. Silence is no proof: behind it the service may well run.
    Closed,
}

struct Waiting {
    probe: Probe,
    wish: Wish,
    every: Span,
}

impl Waiting {
    /// What was seen; `Ok` where it is what was wished.
    async fn ask(&self, context: &Context) -> Result<String, String> {
        match (self.wish, probe::ask(&self.probe, context).await) {
            (Wish::Yes, Answer::Yes(seen)) | (Wish::Closed, Answer::Refused(seen)) => Ok(seen),
            (_, Answer::Yes(seen) | Answer::Refused(seen) | Answer::NotYet(seen) | Answer::Unasked(seen)) => Err(seen),
        }
    }
}

#[async_trait]
impl Perform for Waiting {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        Ok(match self.ask(context).await {
            Ok(seen) => Observation::InPlace { note: seen },
            Err(seen) => Observation::Differs { change: format!("wait: {seen}") },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let begun = tokio::time::Instant::now();
        let mut last = String::new();
        loop {
            let seen = match self.ask(context).await {
                Ok(seen) => return Ok(Effect { changed: Some(false), ..Effect::new(seen) }),
                Err(seen) => seen,
            };
            // An answer cut short by the end says less than the one before.
            if last.is_empty() || !context.is_cancelled() {
                if seen != last {
                    context.progress(&seen, None);
                }
                last = seen;
            }
            tokio::select! {
                () = context.cancelled() => break,
                () = tokio::time::sleep(self.every.to_std().max(PAUSE_MIN)) => {}
            }
        }
        let waited = Span(begun.elapsed().as_millis() as u64);
        Err(Failure::Failed(Fault::new(
            "BTN-0541",
            format!("waited {waited} in vain for {}; last seen: {last}.", probe::described(&self.probe)),
            "Look why it is not so, then retry the step; or give it more time with the step's timeout.",
        )))
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn only_observes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
