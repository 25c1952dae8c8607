//! One component's sentry: asks how it is where it may run, and stops it where it must not.
//!
//! Apart because each component has a pace of its own, and one that does not answer must not hold up another. It must never act but
//! by its present duty; what it began to stop it stops to the end.

use std::time::Duration;

use baton_model::{
    action::Action,
    assignment::{Health, Watched},
    group::jitter,
    outcome::{Fault, Observation},
};
use baton_platform::random::Random;
use tokio::{sync::watch, time::Instant};

use super::{account::Account, health::Count, post::Post};
use crate::{
    action::{Failure, Perform},
    executor::{self, attempt, report},
    probe::{Answer, Probe},
    standing::{Duty, Stopping, Why},
};

/// How long stopping may take where the group has no lease that says it.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// What must not run is not left alone for longer, however seldom it is asked.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Once a lease is over, so long is looked whether it runs at all before it is stopped.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// Between two questions, whatever disturbs.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// What is said of a component is one line.
const WORDS_MAX: usize = 300;

pub(super) struct Sentry {
    account: Account,
    watched: Watched,
    perform: executor::Options,
    post: Post,
    random: Random,
    probe: Result<Probe, Fault>,
    count: Count,
    /// The index under which its stop ended well, where nobody can see that it does not run.
    stopped_blind: Option<u64>,
}

/// What is known of something that must not run.
enum Found {
    Gone(String),
    Runs(String),
    /// Nobody can tell, and stopping it again does no harm.
    Unclear(String),
}

impl Sentry {
    pub fn new(account: Account, watched: Watched, perform: executor::Options, post: Post, random: Random) -> Self {
        let probe = watched.probe.as_ref().map_err(Fault::clone).and_then(Probe::new);
        let count = Count::new(watched.checks);
        Self { account, watched, perform, post, random, probe, count, stopped_blind: None }
    }

    /// Until it is not wanted any more.
    pub async fn run(mut self, mut duties: watch::Receiver<Duty>) {
        loop {
            let duty = *duties.borrow_and_update();
            let begun = Instant::now();
            let pause = match duty {
                Duty::Ask(_) => tokio::select! {
                    biased;
                    changed = duties.changed() => if changed.is_ok() { continue } else { return },
                    answer = self.ask() => self.answered(answer),
                },
                Duty::Stop(stopping) => self.enforce(&stopping, &duties).await,
            };
            tokio::select! {
                changed = duties.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
                () = disturbed(&mut self.probe, begun) => {}
            }
        }
    }

    async fn ask(&mut self) -> Answer {
        let answer = self.ask_within(self.watched.timeout.to_std()).await;
        answer.unwrap_or_else(|| Answer::Unhealthy(format!("no answer within {}", self.watched.timeout)))
    }

    async fn ask_within(&mut self, patience: Duration) -> Option<Answer> {
        let context = attempt::unordered(&self.perform, patience);
        match &mut self.probe {
            Ok(probe) => tokio::time::timeout(patience, probe.ask(&context)).await.ok(),
            Err(fault) => Some(Answer::CannotTell(fault.to_string())),
        }
    }

    fn answered(&mut self, answer: Answer) -> Duration {
        // Where it may run, what was undertaken against it before is over.
        self.account.give_up();
        self.stopped_blind = None;
        let health = self.count.health(&answer);
        let (Answer::Healthy(what) | Answer::Unhealthy(what) | Answer::Died(what) | Answer::CannotTell(what)) = answer;
        self.saw(health, &what, None);
        self.pause()
    }

    /// What must not run does not: seen, or seen to.
    async fn enforce(&mut self, stopping: &Stopping, duties: &watch::Receiver<Duty>) -> Duration {
        self.count = Count::new(self.watched.checks);
        let action = self.action();
        let found = match &action {
            Ok((action, perform)) => self.look(stopping, action, perform.as_ref()).await,
            Err(fault) => Err(fault.clone()),
        };
        let runs = match found {
            Ok(Found::Gone(note)) => return self.gone(stopping, &note),
            Ok(Found::Runs(change)) => {
                self.saw(Health::Intruding, &format!("{change}; it is stopped"), None);
                self.account.undertake(stopping).await;
                true
            }
            // No intrusion that anybody has seen, and so no deed: it is made sure of.
            Ok(Found::Unclear(why)) => {
                self.saw(Health::Unknown, &format!("{why}; it is stopped"), None);
                false
            }
            // Nothing stops it. Whether that matters, the probe may know.
            Err(fault) => return self.helpless(stopping, fault).await,
        };
        let (action, perform) = action.expect("it was looked at with it");
        // Looking takes a while: the role may have come meanwhile, or the lease, and a run may have started it by now.
        if *duties.borrow() != Duty::Stop(*stopping) {
            return Duration::ZERO;
        }
        match self.stop(stopping, &action, perform.as_ref()).await {
            Ok(how) => self.gone(stopping, &how),
            // What nobody has seen to run, and what cannot be stopped, may not be there at all.
            Err(fault) if !runs => self.helpless(stopping, fault).await,
            Err(fault) => {
                self.saw(Health::Intruding, &fault.to_string(), None);
                self.account.undertake(stopping).await;
                self.account.fail(&fault);
                self.pause().min(RETRY_MAX)
            }
        }
    }

    fn action(&self) -> Result<(Action, Box<dyn Perform>), Fault> {
        let Some(stop) = &self.watched.stop else {
            let message = format!("nothing says how {} is stopped", self.watched.component);
            return Err(Fault::new("BTN-0446", message, "Add a stop to the group's component."));
        };
        let action = Action::parse(&stop.action, &stop.params).map_err(|error| {
            Fault::new("BTN-0497", error.to_string(), "Install the same version on agents and coordinators.")
        })?;
        let perform = attempt::guard(&self.perform, &action)?;
        Ok((action, perform))
    }

    async fn look(&mut self, stopping: &Stopping, action: &Action, perform: &dyn Perform) -> Result<Found, Fault> {
        let patience = match stopping.why {
            Why::LeaseOver => self.watched.timeout.to_std().min(LOOK_PATIENCE),
            Why::Standby | Why::Yielding | Why::AgentEnds => self.watched.timeout.to_std(),
        };
        let why = match attempt::observe(&self.perform, perform, patience).await {
            Ok(Observation::InPlace { note }) => return Ok(Found::Gone(note)),
            Ok(Observation::Differs { change }) => return Ok(Found::Runs(change)),
            Ok(Observation::CannotTell { why }) => why,
            // What cannot be looked at by what would stop it is stopped all the same.
            Err(fault) => fault.to_string(),
        };
        // A lease that is over waits for no probe either, but for one stop.
        let hurry = stopping.why == Why::LeaseOver && self.stopped_blind != Some(stopping.index);
        let answer = if hurry {
            let none = || Answer::CannotTell(format!("no answer within {patience:?}"));
            self.ask_within(patience).await.unwrap_or_else(none)
        } else {
            self.ask().await
        };
        match answer {
            Answer::Healthy(seen) => Ok(Found::Runs(seen)),
            Answer::Unhealthy(seen) | Answer::Died(seen) if self.stopped_blind == Some(stopping.index) => {
                Ok(Found::Gone(format!("it was stopped, and {seen}")))
            }
            Answer::Unhealthy(_) | Answer::Died(_) | Answer::CannotTell(_) if perform.repeatable() => {
                Ok(Found::Unclear(why))
            }
            Answer::Unhealthy(_) | Answer::Died(_) | Answer::CannotTell(_) => {
                let message =
                    format!("whether {} runs cannot be seen by {}: {why}", self.watched.component, action.name());
                Err(Fault::new("BTN-0447", message, "Give its stop a condition: unless, or creates."))
            }
        }
    }

    /// Acts, and looks again.
    async fn stop(&mut self, stopping: &Stopping, action: &Action, perform: &dyn Perform) -> Result<String, Fault> {
        let component = self.watched.component.clone();
        let within = stopping.within.map_or(STOP_WITHIN, |within| within.to_std());
        let context = attempt::unordered(&self.perform, within);
        let acted = attempt::ended_in_time(&context, perform.act(&context)).await;
        let acted = match acted {
            Some(Ok(effect)) => Ok(context.redact(&effect.summary)),
            Some(Err(Failure::Failed(fault) | Failure::Unclear(fault))) => Err(report::clean_fault(&context, fault)),
            None => {
                let message = format!("{} did not end within {within:?}", action.name());
                Err(Fault::new("BTN-0448", message, "Look at what holds it up on the host."))
            }
        };
        let observed = attempt::observe(&self.perform, perform, self.watched.timeout.to_std()).await;
        match (observed, acted) {
            (Ok(Observation::InPlace { note }), acted) => Ok(acted.unwrap_or(note)),
            (Ok(Observation::Differs { change }), Ok(how)) => {
                let message = format!("{component} was stopped ({how}), and still runs: {change}");
                Err(Fault::new("BTN-0448", message, "See what brings it back on the host."))
            }
            // Its own word is all there is, unless it is seen to run.
            (Ok(Observation::CannotTell { .. }) | Err(_), Ok(how)) => match self.ask().await {
                Answer::Healthy(seen) => {
                    let message = format!("{component} was stopped ({how}), and still runs: {seen}");
                    Err(Fault::new("BTN-0448", message, "See whether its stop is the right one."))
                }
                Answer::Unhealthy(_) | Answer::Died(_) | Answer::CannotTell(_) => {
                    self.stopped_blind = Some(stopping.index);
                    Ok(how)
                }
            },
            (_, Err(fault)) => Err(fault),
        }
    }

    fn gone(&mut self, stopping: &Stopping, note: &str) -> Duration {
        self.account.settle(note);
        self.saw(Health::Stopped, note, Some(stopping.index));
        self.pause()
    }

    async fn helpless(&mut self, stopping: &Stopping, fault: Fault) -> Duration {
        match self.ask().await {
            Answer::Healthy(seen) => {
                self.saw(Health::Intruding, &format!("{seen}; {fault}"), None);
                self.account.undertake(stopping).await;
                self.account.fail(&fault);
            }
            Answer::Unhealthy(_) | Answer::Died(_) | Answer::CannotTell(_) => {
                self.saw(Health::Unknown, &fault.to_string(), None);
            }
        }
        self.pause().min(RETRY_MAX)
    }

    fn saw(&self, health: Health, what: &str, stopped_under: Option<u64>) {
        let line: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect();
        self.post.saw(&self.account.key, health, line.trim().to_owned(), stopped_under);
    }

    /// With chance in it: the agents of a site do not all ask at once.
    fn pause(&self) -> Duration {
        let every = self.watched.every;
        Duration::from_millis(every.0 + self.random.up_to(jitter(every)))
    }
}

/// When the probe wants to be asked; not sooner than a little after the last question.
async fn disturbed(probe: &mut Result<Probe, Fault>, begun: Instant) {
    match probe {
        Ok(probe) => probe.disturbed().await,
        Err(_) => std::future::pending().await,
    }
    tokio::time::sleep_until(begun + PAUSE_MIN).await;
}
