//! The actions of the simulated hosts: what the real ones are to the executor, over [`Ground`].
//!
//! Some can be observed and some cannot, and each can fail, hang or end unclear. They keep the contract of [`Perform`]: what is
//! cancelled is ended with what it started, and a failure that is called certain is one. Whether one may be done again is
//! what the real action says: the executor goes by it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use baton_agent::{
    action::{Context, Effect, Failure, Perform},
    executor::Bind,
    host::Respond,
    probe::Answer,
    watchdog::Timer,
};
use baton_model::{
    action::Action,
    group::ComponentProbe,
    outcome::{Fault, Observation},
    time::Span,
};

use crate::{
    ground::{Ending, Ground, Waiting, Work},
    life::Life,
    world::TICK_MS,
};

/// A job of a service manager that is under way is waited for so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// One host's doors, as one process holds them.
#[derive(Clone)]
pub struct Doors {
    pub ground: Ground,
    pub host: String,
    pub life: Arc<Life>,
}

enum Kind {
    Do { work: Work, observable: bool, repeatable: bool, blind: bool },
    Check { service: String, runs: bool },
}

struct Deed {
    doors: Doors,
    kind: Kind,
}

impl Doors {
    pub fn bind(&self) -> Bind {
        let doors = self.clone();
        Arc::new(move |action| {
            let kind = kind(action)?;
            Ok(Box::new(Deed { doors: doors.clone(), kind }) as Box<dyn Perform>)
        })
    }
}

fn kind(action: &Action) -> Result<Kind, Fault> {
    let service = |work| Kind::Do { work, observable: true, repeatable: true, blind: true };
    Ok(match action {
        Action::ServiceStart(start) => service(Work::Start(start.name.clone())),
        Action::ServiceStop(stop) => service(Work::Stop(stop.name.clone())),
        Action::ServiceRunning(running) => Kind::Check { service: running.name.clone(), runs: true },
        Action::ServiceStopped(stopped) => Kind::Check { service: stopped.name.clone(), runs: false },
        Action::SqlExec(exec) => {
            let key = exec.statements.first().and_then(|statement| statement.params.first());
            let key = key.and_then(|key| key.as_str()).unwrap_or_default().to_owned();
            let observable = exec.unless.is_some();
            Kind::Do {
                work: Work::Insert(key),
                observable,
                repeatable: observable || exec.repeatable,
                blind: exec.repeatable,
            }
        }
        Action::ExecRun(run) => {
            let key = run.argv.get(1).cloned().unwrap_or_default();
            let observable = run.creates.is_some() || run.unless.is_some();
            Kind::Do {
                work: Work::Once(key),
                observable,
                repeatable: observable || run.repeatable,
                blind: run.repeatable,
            }
        }
        other => return Err(fault(format!("the simulated hosts know no {}", other.name()))),
    })
}

fn fault(message: String) -> Fault {
    Fault::new("BTN-0498", message, "")
}

impl Deed {
    fn runs(&self, service: &str) -> bool {
        self.doors.ground.runs(&self.doors.host, service)
    }

    async fn settled(&self, service: &str) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.doors.ground.changes(&self.doors.host, service) {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(TICK_MS)).await;
        }
        true
    }

    async fn in_place(&self, work: &Work) -> Option<bool> {
        let host = &self.doors.host;
        Some(match work {
            Work::Start(service) if self.settled(service).await => self.runs(service),
            Work::Stop(service) if self.settled(service).await => !self.runs(service),
            Work::Start(_) | Work::Stop(_) => return None,
            Work::Insert(key) | Work::Once(key) => self.doors.ground.is_marked(host, key),
        })
    }
}

/// A job that nobody waits for any more is ended.
struct Held<'a> {
    doors: &'a Doors,
    waiting: Waiting,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Who is dead ends nothing.
        if !self.doors.life.is_over() {
            self.doors.ground.end(&self.doors.host, self.waiting.id);
        }
    }
}

#[async_trait]
impl Perform for Deed {
    async fn observe(&self, context: &Context) -> Result<Observation, Fault> {
        let Kind::Do { work, observable, .. } = &self.kind else {
            return Ok(Observation::CannotTell { why: "a check".to_owned() });
        };
        let Doors { ground, host, life } = &self.doors;
        if let Some(task) = context.task() {
            ground.end_leftovers(host, task, life);
        }
        let mut chance = ground.chance(&["observe", host, &format!("{work:?}")]);
        tokio::time::sleep(Duration::from_millis(TICK_MS * chance.up_to(3))).await;
        if !observable {
            return Ok(Observation::CannotTell { why: "it leaves no trace".to_owned() });
        }
        if !ground.is_calm() && context.task().is_some() {
            match chance.up_to(99) {
                0..=1 => return Ok(Observation::CannotTell { why: "it did not answer".to_owned() }),
                2 => return Err(fault("it cannot be asked".to_owned())),
                _ => {}
            }
        }
        Ok(match self.in_place(work).await {
            Some(true) => Observation::InPlace { note: format!("{work:?}") },
            Some(false) => Observation::Differs { change: format!("{work:?}") },
            None => Observation::CannotTell { why: "it is changing".to_owned() },
        })
    }

    async fn act(&self, context: &Context) -> Result<Effect, Failure> {
        let Doors { ground, host, life } = &self.doors;
        match &self.kind {
            Kind::Check { service, runs } => loop {
                if self.runs(service) == *runs {
                    return Ok(Effect::new(format!("{service} is as it should be")));
                }
                tokio::select! {
                    () = context.cancelled() => return Err(fault(format!("{service} is not as it should be")).into()),
                    () = tokio::time::sleep(Duration::from_millis(10 * TICK_MS)) => {}
                }
            },
            Kind::Do { work, .. } => {
                let held = Held {
                    doors: &self.doors,
                    waiting: ground.begin(host, work.clone(), context.task().cloned(), life),
                };
                let ending = tokio::select! {
                    biased;
                    ending = held.waiting.ended() => ending,
                    () = context.cancelled() => Ending::Unclear,
                };
                match ending {
                    Ending::Done => Ok(Effect::new(format!("{work:?}"))),
                    Ending::Failed => Err(fault(format!("{work:?} failed")).into()),
                    Ending::Unclear => Err(Failure::Unclear(fault(format!("{work:?} ended nobody knows how")))),
                }
            }
        }
    }

    fn repeatable(&self) -> bool {
        matches!(self.kind, Kind::Do { repeatable: true, .. } | Kind::Check { .. })
    }

    fn repeatable_blind(&self) -> bool {
        matches!(self.kind, Kind::Do { blind: true, .. } | Kind::Check { .. })
    }

    fn only_observes(&self) -> bool {
        matches!(self.kind, Kind::Check { .. })
    }
}

#[async_trait]
impl Respond for Doors {
    async fn answer(&self, probe: &ComponentProbe) -> Answer {
        let mut chance = self.ground.chance(&["probe", &self.host]);
        tokio::time::sleep(Duration::from_millis(TICK_MS * chance.up_to(2))).await;
        match probe {
            ComponentProbe::Service(service) if self.ground.runs(&self.host, &service.name) => {
                Answer::Healthy("it runs".to_owned())
            }
            ComponentProbe::Service(_) => Answer::Unhealthy("it does not run".to_owned()),
            _ => Answer::CannotTell("the simulated hosts have services alone".to_owned()),
        }
    }
}

/// The host's watchdog, as the agent holds it.
impl Timer for Doors {
    fn alive(&mut self, within: Span) {
        if !self.life.is_over() {
            self.ground.watch(&self.host, Some(within.0 / TICK_MS));
        }
    }

    fn close(&mut self) {
        if !self.life.is_over() {
            self.ground.watch(&self.host, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::story::Story;

    /// What the executor goes by.
    fn rules(perform: &dyn Perform) -> [bool; 3] {
        [perform.repeatable(), perform.repeatable_blind(), perform.only_observes()]
    }

    #[test]
    fn a_deed_may_be_done_again_where_the_real_action_may() {
        let ground = Ground::new(1, &["e1"], Story::default());
        let simulated = Doors { ground, host: "e1".to_owned(), life: Life::begin("e1") }.bind();
        let connection = json!({ "host": "e1", "database": "ledger", "user": "baton" });
        let statements = json!([{ "sql": "insert", "params": ["key"] }]);
        let unless = json!({ "sql": "is it there?" });
        let argv = json!(["/sim/once", "key"]);
        let all: [(&str, Value); 12] = [
            ("service.start", json!({ "name": "app" })),
            ("service.stop", json!({ "name": "app" })),
            ("service.running", json!({ "name": "app" })),
            ("service.stopped", json!({ "name": "app" })),
            ("sql.exec", json!({ "connection": connection, "statements": statements })),
            ("sql.exec", json!({ "connection": connection, "statements": statements, "repeatable": true })),
            ("sql.exec", json!({ "connection": connection, "statements": statements, "unless": unless })),
            ("exec.run", json!({ "argv": argv })),
            ("exec.run", json!({ "argv": argv, "repeatable": true })),
            ("exec.run", json!({ "argv": argv, "creates": "/sim/3" })),
            ("exec.run", json!({ "argv": argv, "unless": { "argv": ["/sim/there"] } })),
            ("exec.run", json!({ "argv": argv, "creates": "/sim/3", "repeatable": true })),
        ];
        for (name, params) in all {
            let action = Action::parse(name, &params).unwrap_or_else(|error| panic!("{name}: {error}"));
            let real = baton_agent::action::bind(&action).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            let deed = simulated(&action).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(rules(deed.as_ref()), rules(real.as_ref()), "{name} {params}");
        }
    }
}
