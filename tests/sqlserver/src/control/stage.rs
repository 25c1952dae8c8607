//! A whole world in one thread with its clock in hand: every instance, no process, no file but backups.
//!
//! Apart from the processes, for tests that step time and for properties that hold over thousands of worlds.

use crate::answer::{Answer, Login, Message, Request, Spid, Value};
use crate::sql::batch::{Batch, Host, Step, enter};
use crate::sql::session::Sessions;
use crate::world::{Alive, Life, World};
use std::collections::BTreeMap;

pub struct Stage {
    pub world: World,
    pub alive: Alive,
    pub sessions: BTreeMap<String, Sessions>,
}

/// What a request came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub answers: Vec<Answer>,
    /// It had not ended when the patience was over, or its session was cut, or its process died.
    pub unfinished: bool,
}

impl Outcome {
    /// Errors and information, in order.
    pub fn messages(&self) -> Vec<&Message> {
        self.answers
            .iter()
            .filter_map(|answer| match answer {
                Answer::Said(message) => Some(message),
                _ => None,
            })
            .collect()
    }

    /// The numbers of its errors.
    pub fn errors(&self) -> Vec<i32> {
        self.messages().iter().filter(|message| message.class > 10).map(|message| message.number).collect()
    }

    pub fn succeeded(&self) -> bool {
        !self.unfinished && self.errors().is_empty() && !self.answers.contains(&Answer::Cut)
    }

    pub fn rows(&self) -> Vec<&Vec<Value>> {
        self.answers
            .iter()
            .filter_map(|answer| match answer {
                Answer::Row(row) => Some(row),
                _ => None,
            })
            .collect()
    }

    /// Every row, its values written and joined by blanks; NULL is a dash.
    pub fn lines(&self) -> Vec<String> {
        let write =
            |value: &Value| if *value == Value::Null { "-".to_owned() } else { crate::sql::value::write(value) };
        self.rows().iter().map(|row| row.iter().map(write).collect::<Vec<_>>().join(" ")).collect()
    }
}

impl Stage {
    pub fn new(mut world: World) -> Stage {
        let names: Vec<String> = world.servers.keys().cloned().collect();
        for server in world.servers.values_mut() {
            server.begun = true;
        }
        Stage {
            world,
            alive: names.iter().map(|name| (name.clone(), Life::Running)).collect(),
            sessions: names.into_iter().map(|name| (name, Sessions::default())).collect(),
        }
    }

    /// Time passes in steps; sessions that lost their database are cut.
    pub fn pass(&mut self, ms: i64) {
        let end = self.world.clock + ms;
        while self.world.clock < end {
            self.world.advance((self.world.clock + 50).min(end), &self.alive);
            self.cut_outdated();
        }
    }

    fn cut_outdated(&mut self) {
        for (name, sessions) in &mut self.sessions {
            for spid in sessions.outdated(&self.world, name) {
                sessions.all.remove(&spid);
            }
        }
    }

    /// The process dies.
    pub fn kill(&mut self, instance: &str) {
        self.alive.insert(instance.to_owned(), Life::Dead);
        self.sessions.insert(instance.to_owned(), Sessions::default());
    }

    pub fn start(&mut self, instance: &str) {
        self.alive.insert(instance.to_owned(), Life::Running);
        let now = self.world.clock;
        self.world.start(instance, now);
    }

    /// A session of `sa`, in master.
    pub fn log_in(&mut self, instance: &str) -> Spid {
        self.log_in_as(instance, "sa")
    }

    pub fn log_in_as(&mut self, instance: &str, user: &str) -> Spid {
        let login = Login {
            user: user.to_owned(),
            password: String::new(),
            database: String::new(),
            application: "stage".into(),
            client_host: "stage".into(),
            read_only_intent: false,
            encrypted: false,
        };
        let now = self.world.clock;
        let sessions = self.sessions.get_mut(instance).expect("the stage has this instance");
        let spid = sessions.open(&login, "master", now);
        let session = sessions.all.get_mut(&spid).expect("it was just opened");
        enter(&self.world, instance, session, "master");
        spid
    }

    /// Runs a batch to its end, time passing where it waits, for at most a minute.
    pub fn run(&mut self, instance: &str, spid: Spid, text: &str) -> Outcome {
        let mut batch = Batch::new(&Request::Batch(text.to_owned()));
        let mut outcome = Outcome::default();
        let deadline = self.world.clock + 60_000;
        loop {
            let step = self.step(instance, spid, &mut batch);
            outcome.answers.extend(batch.take_answers());
            match step {
                Some(Step::Again) => {}
                Some(Step::Wait { .. }) if self.world.clock < deadline => self.pass(10),
                Some(Step::Finished) => return outcome,
                Some(Step::Die) => {
                    self.kill(instance);
                    outcome.unfinished = true;
                    return outcome;
                }
                Some(Step::Wait { .. }) | None => {
                    outcome.unfinished = true;
                    return outcome;
                }
            }
        }
    }

    /// One step of a batch; nothing where its session or process has gone.
    pub fn step(&mut self, instance: &str, spid: Spid, batch: &mut Batch) -> Option<Step> {
        if self.alive.get(instance) != Some(&Life::Running) {
            return None;
        }
        let sessions = self.sessions.get_mut(instance)?;
        if !sessions.all.contains_key(&spid) {
            return None;
        }
        let mut host = Host { world: &mut self.world, sessions, alive: &self.alive, instance, spid, cut: Vec::new() };
        let step = batch.step(&mut host);
        let cut = std::mem::take(&mut host.cut);
        for spid in cut {
            sessions.all.remove(&spid);
        }
        self.world.advance(self.world.clock, &self.alive);
        self.cut_outdated();
        Some(step)
    }

    /// Runs one batch in a session of its own.
    pub fn ask(&mut self, instance: &str, text: &str) -> Outcome {
        let spid = self.log_in(instance);
        let outcome = self.run(instance, spid, text);
        if let Some(sessions) = self.sessions.get_mut(instance) {
            sessions.all.remove(&spid);
        }
        outcome
    }
}
