//! `service.*`: a service brought to a state, and the state believed only when it was seen.
//!
//! Apart from `host/services.rs` (which asks and requests) because this is the order of things: look, request, wait for
//! the state, then for readiness. Unknown is never taken for stopped.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::action::service::{Manager, Ready, Restart, Running, Start, Stop, Stopped};
use baton_model::action::wait::Probe;
use baton_model::outcome::{Fault, Observation};
use tokio::time::Instant;

use super::wait::{http, probe};
use super::{Context, Effect, Failure, Perform};
use crate::host::services::{self, ServiceManager, State};

/// Between two looks at a state that is not there yet.
const LOOK: Duration = Duration::from_millis(100);
/// Between two questions of the readiness probe.
const ASK: Duration = Duration::from_millis(250);
/// A service that was started must still run this long afterwards; many fail only after their start was reported.
const STAND: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Running,
    Stopped,
    Restarted,
}

/// Any of the five.
struct Service {
    name: String,
    manager: Manager,
    ready: Option<Ready>,
    wish: Wish,
    /// Looks and changes nothing.
    check: bool,
}

/// The action of parameters; a fault where they make no sense.
pub mod bind {
    use super::*;

    pub fn start(p: &Start) -> Result<Box<dyn Perform>, Fault> {
        checked(&p.name, &p.manager, p.ready.as_ref(), Wish::Running, false)
    }
    pub fn stop(p: &Stop) -> Result<Box<dyn Perform>, Fault> {
        checked(&p.name, &p.manager, None, Wish::Stopped, false)
    }
    pub fn restart(p: &Restart) -> Result<Box<dyn Perform>, Fault> {
        checked(&p.name, &p.manager, p.ready.as_ref(), Wish::Restarted, false)
    }
    pub fn running(p: &Running) -> Result<Box<dyn Perform>, Fault> {
        checked(&p.name, &p.manager, p.ready.as_ref(), Wish::Running, true)
    }
    pub fn stopped(p: &Stopped) -> Result<Box<dyn Perform>, Fault> {
        checked(&p.name, &p.manager, None, Wish::Stopped, true)
    }
}

fn checked(
    name: &str,
    manager: &Manager,
    ready: Option<&Ready>,
    wish: Wish,
    check: bool,
) -> Result<Box<dyn Perform>, Fault> {
    let others = ready.into_iter().flat_map(|ready| ready.services.iter().map(String::as_str));
    if let Some(name) = std::iter::once(name).chain(others).find(|name| is_no_name(name)) {
        return Err(Fault::new(
            "BTN-0508",
            format!("{name:?} is not the name of a service."),
            "Give the unit's or the script's name, without a path.",
        ));
    }
    if let Manager::Commands { start, stop, status } = manager {
        // A product's own command tells of one thing only.
        if ready.is_some_and(|ready| !ready.services.is_empty()) {
            return Err(Fault::new(
                "BTN-0508",
                format!("ready.services of {name} are asked for by name, and manager.commands know no names."),
                "Take ready.probe with a command that exits 0 when all of them run.",
            ));
        }
        for command in [start, stop, status] {
            super::exec::check_argv(name, &command.argv)?;
        }
    }
    match ready.and_then(|ready| ready.probe.as_ref()) {
        Some(Probe::Http(wanted)) => http::check(wanted)?,
        Some(Probe::Command(command)) => super::exec::check_argv(name, &command.argv)?,
        Some(Probe::Tcp(_)) | None => {}
    }
    Ok(Box::new(Service { name: name.to_owned(), manager: manager.clone(), ready: ready.cloned(), wish, check }))
}

fn is_no_name(name: &str) -> bool {
    name.is_empty() || name.starts_with(['-', '.']) || name.contains(['/', '\0', '\n'])
}

impl Service {
    async fn door(&self, context: &Context) -> Result<Box<dyn ServiceManager>, Fault> {
        services::manager(&self.manager, context).await
    }

    /// Not ready: which services do not run, or what the probe saw.
    async fn unready(&self, door: &dyn ServiceManager, context: &Context) -> Option<String> {
        let ready = self.ready.as_ref()?;
        let mut down = Vec::new();
        for name in &ready.services {
            match door.state(name, context).await {
                Ok(State::Running(_)) => {}
                Ok(state) => down.push(format!("{name} is {}", state.text())),
                Err(fault) => down.push(format!("{name}: {}", fault.message)),
            }
        }
        if !down.is_empty() {
            return Some(down.join("; "));
        }
        match probe::ask(ready.probe.as_ref()?, context).await {
            probe::Answer::Yes(_) => None,
            probe::Answer::Refused(seen) | probe::Answer::NotYet(seen) | probe::Answer::Unasked(seen) => Some(seen),
        }
    }

    fn missing(&self, seen: &str) -> Fault {
        Fault::new(
            "BTN-0502",
            format!("there is no service {}: {seen}.", self.name),
            "Correct the name, or install it.",
        )
    }

    fn late(&self, verb: &str, code: &str, seen: &str) -> Failure {
        Failure::Failed(Fault::new(
            code,
            format!("{} did not {verb} in time; last seen: {seen}.", self.name),
            "Look at the service's own log on the host, then retry the step; or give it more time with timeout.",
        ))
    }

    async fn start(&self, door: &dyn ServiceManager, context: &Context) -> Result<(), Failure> {
        context.progress(format!("starting {}", self.name), None);
        door.start(&self.name, context).await?;
        let mut since: Option<Instant> = None;
        loop {
            let state = door.state(&self.name, context).await?;
            match &state {
                State::Running(_) => {
                    if since.get_or_insert_with(Instant::now).elapsed() >= STAND {
                        return Ok(());
                    }
                }
                // It ran, and then it did not: waiting longer will not bring it back.
                State::Stopped(seen) if since.is_some() => {
                    let message = format!("{} was started and ended again at once: {seen}.", self.name);
                    let remedy = "Look at the service's own log on the host, then retry the step.";
                    return Err(Failure::Failed(Fault::new("BTN-0503", message, remedy)));
                }
                State::Missing(seen) => return Err(self.missing(seen).into()),
                State::Stopped(_) | State::Changing(_) | State::Unknown(_) => since = None,
            }
            tokio::select! {
                () = context.cancelled() => return Err(self.late("start", "BTN-0503", state.text())),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn stop(&self, door: &dyn ServiceManager, context: &Context) -> Result<(), Failure> {
        context.progress(format!("stopping {}", self.name), None);
        door.stop(&self.name, context).await?;
        loop {
            let state = door.state(&self.name, context).await?;
            let seen = match &state {
                State::Stopped(_) | State::Missing(_) => match door.remains(&self.name).await {
                    left if left.is_empty() => return Ok(()),
                    left => format!("{}, but it left {} running", state.text(), left.join(", ")),
                },
                other => other.text().to_owned(),
            };
            tokio::select! {
                () = context.cancelled() => return Err(self.late("stop", "BTN-0504", &seen)),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Waits for the probe, and not longer than the service itself runs.
    async fn become_ready(&self, door: &dyn ServiceManager, context: &Context) -> Result<(), Failure> {
        let Some(ready) = &self.ready else { return Ok(()) };
        let end = Instant::now() + ready.within.to_std();
        let mut told = String::new();
        loop {
            let Some(seen) = self.unready(door, context).await else { return Ok(()) };
            if seen != told {
                context.progress(format!("{} runs, not ready yet: {seen}", self.name), None);
                told.clone_from(&seen);
            }
            if let State::Stopped(state) = door.state(&self.name, context).await? {
                let message = format!("{} ended before it was ready: {state}; last seen: {seen}.", self.name);
                let remedy = "Look at the service's own log on the host, then retry the step.";
                return Err(Failure::Failed(Fault::new("BTN-0505", message, remedy)));
            }
            let over = tokio::select! {
                () = context.cancelled() => true,
                () = tokio::time::sleep_until(end) => true,
                () = tokio::time::sleep(ASK) => false,
            };
            if over {
                let message =
                    format!("{} runs and was not ready within {}; last seen: {seen}.", self.name, ready.within);
                let remedy =
                    "Look at the service's own log on the host; give it more time with ready.within if it needs it.";
                return Err(Failure::Failed(Fault::new("BTN-0505", message, remedy)));
            }
        }
    }
}

#[async_trait]
impl Perform for Service {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let name = &self.name;
        let door = self.door(context).await?;
        let state = door.state(name, context).await?;
        if self.wish == Wish::Restarted {
            if let State::Missing(seen) = &state {
                return Err(self.missing(seen));
            }
            let why = format!("whether {name} was restarted cannot be seen; it is {}", state.text());
            return Ok(Observation::CannotTell { why });
        }
        Ok(match (self.wish, state) {
            (_, State::Unknown(seen)) => {
                Observation::CannotTell { why: format!("the state of {name} is unknown: {seen}") }
            }
            (Wish::Running, State::Running(seen)) => match self.unready(door.as_ref(), context).await {
                None => Observation::InPlace { note: format!("{name} is {seen}") },
                Some(unready) => {
                    Observation::Differs { change: format!("{name} runs; wait until it is ready: {unready}") }
                }
            },
            (Wish::Running, State::Missing(seen)) => return Err(self.missing(&seen)),
            (Wish::Running, state) => Observation::Differs { change: format!("start {name}: it is {}", state.text()) },
            (_, State::Stopped(seen)) => match door.remains(name).await {
                left if left.is_empty() => Observation::InPlace { note: format!("{name} is {seen}") },
                left => {
                    Observation::Differs { change: format!("stop {name}: it is {seen}, but {} runs", left.join(", ")) }
                }
            },
            // A name that was misspelt must not pass for a service that has stopped.
            (_, State::Missing(seen)) => return Err(self.missing(&seen)),
            (_, state) => Observation::Differs { change: format!("stop {name}: it is {}", state.text()) },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        if self.check {
            return match self.observe(context).await? {
                Observation::InPlace { note } => Ok(Effect { changed: Some(false), ..Effect::new(note) }),
                Observation::Differs { change } => Err(Failure::Failed(Fault::new(
                    "BTN-0507",
                    format!("{} is not as it must be; needed: {change}.", self.name),
                    "Bring it there, then retry the step.",
                ))),
                Observation::CannotTell { why } => {
                    let remedy = "Look at the service on the host by hand.";
                    Err(Failure::Failed(Fault::new("BTN-0506", format!("{why}."), remedy)))
                }
            };
        }
        let door = self.door(context).await?;
        let state = door.state(&self.name, context).await?;
        if let State::Missing(seen) = &state {
            return Err(self.missing(seen).into());
        }
        let begun = Instant::now();
        let summary = match self.wish {
            Wish::Running => {
                let ran = matches!(state, State::Running(_));
                if !ran {
                    self.start(door.as_ref(), context).await?;
                }
                self.become_ready(door.as_ref(), context).await?;
                if ran { format!("{} ran already", self.name) } else { format!("started {}", self.name) }
            }
            Wish::Stopped => {
                self.stop(door.as_ref(), context).await?;
                format!("stopped {}", self.name)
            }
            Wish::Restarted => {
                self.stop(door.as_ref(), context).await?;
                self.start(door.as_ref(), context).await?;
                self.become_ready(door.as_ref(), context).await?;
                format!("restarted {}", self.name)
            }
        };
        Ok(Effect::new(format!("{summary} in {:.1}s", begun.elapsed().as_secs_f64())))
    }

    /// Stop and start say where to end; a restart does not.
    fn repeatable(&self) -> bool {
        self.wish != Wish::Restarted
    }

    /// The same word once more, to a service whose state is not known, starts or stops nothing twice.
    fn repeatable_blind(&self) -> bool {
        self.repeatable()
    }

    fn only_observes(&self) -> bool {
        self.check
    }
}

#[cfg(test)]
mod tests;
