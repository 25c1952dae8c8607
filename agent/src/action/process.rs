//! `process.stop` and `process.running`: processes found by what they are, ended for certain, and watched for a while.
//!
//! Apart from `host/processes.rs` (which reads and signals) because this is the order of things: watchdogs first, TERM,
//! grace, KILL, gone, and then the wait in which what comes back is caught. It must never believe that a process is gone
//! because a signal was sent.

use std::time::Duration;

use async_trait::async_trait;
use baton_model::action::process::{Running, Selector, Stop};
use baton_model::outcome::{Fault, Observation};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{Context, Effect, Failure, Perform};
use crate::host::processes::{self, Held, Matcher, Seen, SelectorError};
use crate::policy::Policy;

/// How long a process may take to disappear after KILL; longer means the kernel cannot end it.
const KILLED: Duration = Duration::from_secs(5);
/// How often the settle time is looked at: a respawn that lives shorter than this is not seen.
const LOOK: Duration = Duration::from_millis(25);

/// What was ended, and how.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stopped {
    pub terminated: Vec<String>,
    /// Those that did not heed TERM.
    pub killed: Vec<String>,
}

impl Stopped {
    pub fn summary(&self) -> String {
        match (self.terminated.len(), self.killed.len()) {
            (0, 0) => "none was running".to_owned(),
            (_, 0) => format!("ended {}", self.terminated.join(", ")),
            (0, _) => format!("killed {} after the grace", self.killed.join(", ")),
            _ => format!("ended {}; killed {} after the grace", self.terminated.join(", "), self.killed.join(", ")),
        }
    }
}

/// What `process.stop` would end.
pub fn observe_stop(stop: &Stop) -> Result<Observation, Fault> {
    let (matcher, watchdogs) = matchers(stop)?;
    let guarding: Vec<Seen> = watchdogs.iter().flat_map(processes::find).collect();
    let running = processes::find(&matcher);
    if running.is_empty() && guarding.is_empty() {
        return Ok(Observation::InPlace { note: format!("no process {} runs", described(&stop.selector())) });
    }
    let lines = guarding.iter().map(|seen| ("watchdog", seen)).chain(running.iter().map(|seen| ("process", seen)));
    let change: Vec<String> = lines.map(|(what, seen)| format!("end {what} {seen}: {}", cut(seen))).collect();
    Ok(Observation::Differs { change: change.join("\n") })
}

/// Ends the watchdogs, then the processes, and waits until they stay away. `progress` gets a line for each phase.
pub async fn stop(
    stop: &Stop,
    policy: &Policy,
    deadline: Instant,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Stopped, Fault> {
    let (matcher, watchdogs) = matchers(stop)?;
    let mut stopped = Stopped::default();
    let guarding: Vec<Seen> = watchdogs.iter().flat_map(processes::find).collect();
    end_all(guarding, stop, policy, deadline, progress, &mut stopped).await?;
    // Several of them need not go at once: one that a dying one leaves behind, or that a watchdog brought up in the
    // middle, counts as there from the beginning. Only what starts after all are gone has been brought back.
    let mut known = processes::find(&matcher);
    for _ in 0..3 {
        end_all(known, stop, policy, deadline, progress, &mut stopped).await?;
        let gone = processes::now_ticks();
        let settled = Instant::now() + stop.settle.to_std();
        let mut left = loop {
            let found = processes::find(&matcher);
            if !found.is_empty() || Instant::now() >= settled {
                break found;
            }
            tokio::time::sleep(LOOK.min(settled - Instant::now())).await;
        };
        if left.is_empty() {
            return Ok(stopped);
        }
        if let Some(back) = left.iter().find(|seen| seen.started_ticks > gone) {
            return Err(respawned(back, stop));
        }
        known = std::mem::take(&mut left);
    }
    let back = processes::find(&matcher).into_iter().next();
    back.map_or(Ok(stopped), |back| Err(respawned(&back, stop)))
}

async fn end_all(
    found: Vec<Seen>,
    stop: &Stop,
    policy: &Policy,
    deadline: Instant,
    progress: &(dyn Fn(String) + Send + Sync),
    stopped: &mut Stopped,
) -> Result<(), Fault> {
    // All of them before the first signal.
    found.iter().try_for_each(|seen| may_end(policy, seen))?;
    let mut held = Vec::new();
    for seen in &found {
        held.extend(Held::hold(seen).map_err(|error| cannot_end(seen, &error.to_string()))?);
    }
    if held.is_empty() {
        return Ok(());
    }
    progress(format!("TERM to {}", held.iter().map(|held| held.seen.to_string()).collect::<Vec<_>>().join(", ")));
    for process in &held {
        process.signal(Signal::TERM).map_err(|error| cannot_end(&process.seen, &error.to_string()))?;
    }
    let grace = (Instant::now() + stop.grace.to_std()).min(deadline);
    let mut stubborn = Vec::new();
    for process in held {
        if gone_by(&process, grace).await {
            stopped.terminated.push(process.seen.to_string());
        } else {
            stubborn.push(process);
        }
    }
    for process in &stubborn {
        progress(format!("KILL to {}, which did not heed TERM within {}", process.seen, stop.grace));
        process.signal(Signal::KILL).map_err(|error| cannot_end(&process.seen, &error.to_string()))?;
    }
    // Not cut short by the task's deadline: what was killed is worth knowing.
    let killed = Instant::now() + KILLED;
    for process in stubborn {
        if !gone_by(&process, killed).await {
            return Err(cannot_end(&process.seen, "it is still there 5s after KILL, so it hangs in the kernel"));
        }
        stopped.killed.push(process.seen.to_string());
    }
    Ok(())
}

/// A process is found by what it calls itself; whether it may be ended is asked of what it is.
fn may_end(policy: &Policy, seen: &Seen) -> Result<(), Fault> {
    let runs = seen.runs();
    let Some(executable) = runs.first() else {
        return if seen.alive() { Err(cannot_end(seen, "its executable cannot be seen")) } else { Ok(()) };
    };
    if runs.iter().any(|program| policy.check_executable(program).is_ok()) {
        return Ok(());
    }
    policy.check_executable(executable).map_err(|mut fault| {
        fault.message = format!("{seen} is not ended: {}", fault.message);
        fault
    })
}

/// A pidfd becomes readable when its process has ended; as a zombie already.
async fn gone_by(process: &Held, moment: Instant) -> bool {
    match process.exit() {
        Ok(exit) => timeout_at(moment, exit.readable()).await.is_ok() || !process.seen.alive(),
        Err(_) => {
            while process.seen.alive() && Instant::now() < moment {
                tokio::time::sleep(LOOK).await;
            }
            !process.seen.alive()
        }
    }
}

/// Whether such processes run, as `running` wishes; with what was found.
pub fn observe_running(running: &Running) -> Result<(Observation, Value), Fault> {
    let selector = running.selector();
    let found = processes::find(&Matcher::new(&selector).map_err(bad_selector)?);
    let data = json!({ "count": found.len(), "pids": found.iter().map(|seen| seen.pid).collect::<Vec<_>>() });
    let names = found.iter().map(Seen::to_string).collect::<Vec<_>>().join(", ");
    let observation = match (running.running, found.is_empty()) {
        (true, false) => Observation::InPlace { note: format!("{names} runs") },
        (false, true) => Observation::InPlace { note: format!("no process {} runs", described(&selector)) },
        (true, true) => Observation::Differs { change: format!("no process {} runs", described(&selector)) },
        (false, false) => Observation::Differs { change: format!("{names} runs") },
    };
    Ok((observation, data))
}

/// The fault of `process.running` where the observation was not the wished one.
pub fn not_as_wished(running: &Running, seen: &str) -> Fault {
    let remedy = match running.running {
        true => "Start it, or take the step out.",
        false => "End it with process.stop, or by hand, and retry.",
    };
    Fault::new("BTN-0514", format!("{seen}."), remedy)
}

fn matchers(stop: &Stop) -> Result<(Matcher, Vec<Matcher>), Fault> {
    let matcher = Matcher::new(&stop.selector()).map_err(bad_selector)?;
    let watchdogs = stop.watchdogs.iter().map(Matcher::new).collect::<Result<_, _>>().map_err(bad_selector)?;
    Ok((matcher, watchdogs))
}

pub(crate) fn bad_selector(error: SelectorError) -> Fault {
    match error {
        SelectorError::Empty => Fault::new(
            "BTN-0511",
            format!("the processes are not named: {error}."),
            "Give program, arguments_contain or user.",
        ),
        SelectorError::NoSuchUser(_) => {
            Fault::new("BTN-0516", format!("{error}."), "Correct the step's user, or create the user.")
        }
    }
}

fn cannot_end(seen: &Seen, why: &str) -> Fault {
    Fault::new("BTN-0512", format!("cannot end {seen} ({}): {why}.", cut(seen)), "End it by hand, then retry the step.")
}

fn respawned(back: &Seen, stop: &Stop) -> Fault {
    let origin = processes::origin_of(back);
    Fault::new(
        "BTN-0513",
        format!("{back} ({}) came back within {}; it was started by {origin}.", cut(back), stop.settle),
        "Name what restarts it under watchdogs, or stop that service first, then retry the step.",
    )
}

pub(crate) fn described(selector: &Selector) -> String {
    let part = |name: &str, text: &Option<String>| text.as_ref().map(|text| format!("{name} {text:?}"));
    let parts = [
        selector.program.as_ref().map(|program| format!("{program:?}")),
        part("with arguments", &selector.arguments_contain),
        part("of user", &selector.user),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn cut(seen: &Seen) -> String {
    seen.command_line().chars().take(160).collect()
}

/// The actions of parameters; a fault where they make no sense.
pub mod bind {
    use super::*;

    pub fn stop(parameters: &Stop) -> Result<Box<dyn Perform>, Fault> {
        matchers(parameters)?;
        Ok(Box::new(parameters.clone()))
    }
    pub fn running(parameters: &Running) -> Result<Box<dyn Perform>, Fault> {
        Matcher::new(&parameters.selector()).map_err(bad_selector)?;
        Ok(Box::new(parameters.clone()))
    }
}

#[async_trait]
impl Perform for Stop {
    async fn observe(&self, _: &Context) -> Result<Observation, Fault> {
        observe_stop(self)
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let end =
            async { stop(self, context.policy(), context.deadline(), &|note| context.progress(note, None)).await };
        let stopped = tokio::select! {
            stopped = end => stopped?,
            () = context.cancelled() => {
                let left = observe_stop(self)?;
                let seen = match left {
                    Observation::Differs { change } => change,
                    _ => "none of them runs at the moment".to_owned(),
                };
                return Err(Failure::Unclear(Fault::new(
                    "BTN-0517",
                    format!("the task's time was over before {} were certainly gone; {seen}.", described(&self.selector())),
                    "Give the step a timeout longer than grace and settle together, and retry it.",
                )));
            }
        };
        let data = json!({ "ended": stopped.terminated, "killed": stopped.killed });
        Ok(Effect { summary: stopped.summary(), data, changed: None })
    }

    /// It says what must be gone, whenever it is said.
    fn repeatable(&self) -> bool {
        true
    }
}

#[async_trait]
impl Perform for Running {
    async fn observe(&self, _: &Context) -> Result<Observation, Fault> {
        observe_running(self).map(|(observation, _)| observation)
    }

    async fn act(&self, _: &Context) -> Result<Effect, Failure> {
        match observe_running(self)? {
            (Observation::InPlace { note }, data) => Ok(Effect { summary: note, data, changed: Some(false) }),
            (Observation::Differs { change: seen } | Observation::CannotTell { why: seen }, _) => {
                Err(not_as_wished(self, &seen).into())
            }
        }
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
