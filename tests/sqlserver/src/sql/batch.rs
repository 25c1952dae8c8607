//! A request on its way: statement after statement, with what must be waited for in between.
//!
//! Apart from the process that drives it: it is stepped with the world in hand and the time inside, and it never blocks. Between
//! two steps the world may have changed; nothing of it is kept.

mod outcome;

use super::backup;
use super::evaluate::Scope;
use super::parse;
use super::reader::{Reader, Variables};
use super::run;
use super::session::{Running, Session, Sessions};
use super::syntax::{Statement, What};
use super::value::cast;
use crate::answer::{Answer, Parameter, Request, Spid, Type, Value};
use crate::world::access::{Acknowledged, Committed};
use crate::world::fault;
use crate::world::{Alive, SqlError, World};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a statement may touch.
pub struct Host<'a> {
    pub world: &'a mut World,
    pub sessions: &'a mut Sessions,
    pub alive: &'a Alive,
    pub instance: &'a str,
    pub spid: Spid,
    /// Sessions that must be closed.
    pub cut: Vec<Spid>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Call again at once.
    Again,
    /// Call again when the world has moved, or when this time has come.
    Wait {
        until: i64,
    },
    Finished,
    /// The process kills itself now.
    Die,
}

/// What a statement came to.
pub enum Ran {
    Answers(Vec<Answer>),
    Pending(Pending),
    /// Statements were pushed; their answers come.
    Entered,
}

pub enum Pending {
    /// Commits that wait for their replicas.
    Commit {
        commits: Vec<Committed>,
        answers: Vec<Answer>,
    },
    Until {
        at: i64,
        answers: Vec<Answer>,
    },
    /// A statement that begins later.
    Delayed {
        at: i64,
        statement: Box<Statement>,
    },
    Backup(Box<backup::BackupJob>),
    Restore(Box<backup::RestoreJob>),
    Forever,
}

struct Frame {
    statements: Vec<Statement>,
    at: usize,
    kind: FrameKind,
}

enum FrameKind {
    Block,
    While(Box<What>),
    Try(Vec<Statement>),
    Catch,
    /// sp_executesql and EXEC: its database and variables end with it.
    Procedure {
        outputs: Vec<String>,
        into: Option<String>,
        database: String,
    },
}

pub struct Batch {
    frames: Vec<Frame>,
    scopes: Vec<Variables>,
    pending: Option<Pending>,
    /// Faults that act when the statement at work has had its effect.
    after: Vec<fault::What>,
    line: i32,
    caught: Vec<SqlError>,
    answers: Vec<Answer>,
    /// Statements left before a WHILE counts as endless.
    budget: u32,
    dying: bool,
}

const STATEMENTS_MAX: u32 = 1_000_000;
const PROCEDURES_MAX: usize = 32;
/// Errors of compilation: the rest of the batch does not run.
const ENDS_BATCH: [i32; 12] = [102, 105, 113, 137, 207, 208, 209, 213, 4104, 8120, 1205, 596];

pub fn done(rows: Option<u64>) -> Answer {
    Answer::Done { rows, failed: false }
}

impl Batch {
    pub fn new(request: &Request) -> Batch {
        let mut batch = Batch {
            frames: Vec::new(),
            scopes: vec![Variables::new()],
            pending: None,
            after: Vec::new(),
            line: 1,
            caught: Vec::new(),
            answers: Vec::new(),
            budget: STATEMENTS_MAX,
            dying: false,
        };
        match request {
            Request::Batch(text) => match parse::batch(text) {
                Ok(statements) => batch.push(statements, FrameKind::Block),
                Err((error, line)) => batch.fail(&error, line),
            },
            Request::Procedure { name, parameters } => batch.enter_procedure(name, parameters),
        }
        batch
    }

    /// What is to be sent so far.
    pub fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn push(&mut self, statements: Vec<Statement>, kind: FrameKind) {
        self.frames.push(Frame { statements, at: 0, kind });
    }

    fn fail(&mut self, error: &SqlError, line: i32) {
        self.answers.extend(error.messages(line).into_iter().map(Answer::Said));
        self.answers.push(Answer::Done { rows: None, failed: true });
    }

    /// A procedure that a client calls as such.
    fn enter_procedure(&mut self, name: &str, parameters: &[Parameter]) {
        let arguments: Vec<(String, Value)> =
            parameters.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
        let outputs: Vec<bool> = parameters.iter().map(|one| one.output).collect();
        let statement = Statement {
            what: What::Execute(super::syntax::Execute {
                into: None,
                procedure: name.split('.').map(|part| part.trim_matches(['[', ']']).to_owned()).collect(),
                arguments: arguments
                    .into_iter()
                    .zip(outputs)
                    .map(|((name, value), output)| {
                        let kind = super::value::type_of(&value);
                        let value = super::syntax::Expression::Literal(value, kind);
                        super::syntax::Argument { name, value, output }
                    })
                    .collect(),
            }),
            line: 1,
            text: name.to_owned(),
        };
        self.push(vec![statement], FrameKind::Block);
    }

    /// The client's attention: what waits ends.
    pub fn cancel(&mut self, host: &mut Host<'_>) {
        match self.pending.take() {
            Some(Pending::Restore(job)) => job.cancel(host),
            Some(Pending::Backup(_) | Pending::Until { .. } | Pending::Delayed { .. } | Pending::Forever) | None => {}
            // A commit that is in the log stays there.
            Some(Pending::Commit { .. }) => {}
        }
        self.end(host);
    }

    /// The request is over, however it ended.
    pub fn end(&mut self, host: &mut Host<'_>) {
        self.frames.clear();
        if let Some(session) = host.sessions.all.get_mut(&host.spid) {
            session.running = None;
        }
    }

    pub fn step(&mut self, host: &mut Host<'_>) -> Step {
        if self.dying {
            return Step::Die;
        }
        if let Some(pending) = self.pending.take() {
            return self.wait(host, pending);
        }
        let Some(statement) = self.next(host) else {
            self.end(host);
            return Step::Finished;
        };
        self.budget = self.budget.saturating_sub(1);
        if self.budget == 0 {
            self.fail(&SqlError::unsupported("a batch of a million statements"), statement.line);
            self.end(host);
            return Step::Finished;
        }
        self.line = statement.line;
        if !self.meet_faults(host, &statement) {
            return if self.frames.is_empty() && self.pending.is_none() { Step::Finished } else { Step::Again };
        }
        if self.dying {
            return Step::Die;
        }
        self.begin(host, statement)
    }

    fn begin(&mut self, host: &mut Host<'_>, statement: Statement) -> Step {
        let now = host.world.clock;
        if let Some(session) = host.sessions.all.get_mut(&host.spid) {
            let command = run::command(&statement.what).to_owned();
            session.running = Some(Running { command, text: statement.text.clone(), since: now, until: None });
            session.last_batch = now;
        }
        match run::run(self, host, &statement) {
            Ok(Ran::Answers(answers)) => self.conclude(host, answers),
            Ok(Ran::Pending(pending)) => {
                self.pending = Some(pending);
                Step::Again
            }
            Ok(Ran::Entered) => Step::Again,
            Err(error) => self.failed(host, error),
        }
    }

    /// The next statement, after frames that have ended.
    fn next(&mut self, host: &mut Host<'_>) -> Option<Statement> {
        loop {
            let frame = self.frames.last_mut()?;
            if let Some(statement) = frame.statements.get(frame.at) {
                frame.at += 1;
                return Some(statement.clone());
            }
            let frame = self.frames.pop()?;
            match frame.kind {
                FrameKind::While(condition) => {
                    let text = String::new();
                    return Some(Statement { what: *condition, line: self.line, text });
                }
                FrameKind::Catch => {
                    self.caught.pop();
                }
                FrameKind::Procedure { outputs, into, database } => self.leave_procedure(host, outputs, into, database),
                FrameKind::Block | FrameKind::Try(_) => {}
            }
        }
    }

    fn leave_procedure(&mut self, host: &mut Host<'_>, outputs: Vec<String>, into: Option<String>, database: String) {
        let scope = self.scopes.pop().unwrap_or_default();
        for name in outputs {
            if let Some((_, value)) = scope.get(&name.to_lowercase()) {
                let outer = self.scopes.last_mut().and_then(|outer| outer.get_mut(&name.to_lowercase()));
                if let Some(outer) = outer {
                    outer.1 = value.clone();
                }
                self.answers.push(Answer::Output(Parameter { name, value: value.clone(), output: true }));
            }
        }
        if let Some(into) = into
            && let Some(variable) = self.variables_mut().get_mut(&into.to_lowercase())
        {
            variable.1 = Value::Int(0);
        }
        if let Some(session) = host.sessions.all.get_mut(&host.spid)
            && session.database != database
        {
            enter(host.world, host.instance, session, &database);
            self.answers.push(Answer::Database(database));
        }
        self.answers.push(Answer::Returned(0));
    }

    /// sp_executesql: its text, its parameters.
    pub fn enter(
        &mut self,
        host: &Host<'_>,
        text: &str,
        variables: Variables,
        outputs: Vec<String>,
        into: Option<String>,
    ) -> Result<Ran, SqlError> {
        let statements = parse::batch(text).map_err(|(error, _)| error)?;
        if self.scopes.len() > PROCEDURES_MAX {
            return Err(SqlError::unsupported("procedures nested more than 32 deep"));
        }
        let database = host.sessions.all[&host.spid].database.clone();
        self.scopes.push(variables);
        self.push(statements, FrameKind::Procedure { outputs, into, database });
        Ok(Ran::Entered)
    }

    pub fn enter_block(&mut self, statements: Vec<Statement>) -> Ran {
        self.push(statements, FrameKind::Block);
        Ran::Entered
    }

    pub fn enter_loop(&mut self, what: &What, body: &Statement) -> Ran {
        self.push(vec![body.clone()], FrameKind::While(Box::new(what.clone())));
        Ran::Entered
    }

    pub fn enter_try(&mut self, body: Vec<Statement>, catch: Vec<Statement>) -> Ran {
        self.push(body, FrameKind::Try(catch));
        Ran::Entered
    }

    /// RETURN: out of the procedure, or of the batch.
    pub fn leave(&mut self, host: &mut Host<'_>) -> Ran {
        while let Some(frame) = self.frames.pop() {
            if let FrameKind::Procedure { outputs, into, database } = frame.kind {
                self.leave_procedure(host, outputs, into, database);
                break;
            }
        }
        Ran::Entered
    }

    pub fn variables_mut(&mut self) -> &mut Variables {
        if self.scopes.is_empty() {
            self.scopes.push(Variables::new());
        }
        self.scopes.last_mut().expect("one was just pushed")
    }

    pub fn caught(&self) -> Option<&SqlError> {
        self.caught.last()
    }

    pub fn reader<'a>(&'a self, host: &'a Host<'_>) -> Reader<'a> {
        Reader {
            world: host.world,
            sessions: host.sessions,
            alive: host.alive,
            instance: host.instance,
            spid: host.spid,
            variables: self.scopes.last().expect("there is always a scope"),
            caught: self.caught.last(),
            with: Rc::new(BTreeMap::new()),
        }
    }

    pub fn evaluate(&self, host: &Host<'_>, expression: &super::syntax::Expression) -> Result<Value, SqlError> {
        self.reader(host).value(expression, &Scope::EMPTY)
    }

    pub fn assign(&mut self, name: &str, value: &Value) -> Result<(), SqlError> {
        let variable = self.variables_mut().get_mut(&name.to_lowercase()).ok_or_else(|| SqlError::new(137, &[name]))?;
        variable.1 = cast(value, variable.0)?;
        Ok(())
    }

    pub fn declare(&mut self, name: &str, kind: Type, value: &Value) -> Result<(), SqlError> {
        let value = cast(value, kind)?;
        self.variables_mut().insert(name.to_lowercase(), (kind, value));
        Ok(())
    }

    fn wait(&mut self, host: &mut Host<'_>, pending: Pending) -> Step {
        let now = host.world.clock;
        match pending {
            Pending::Until { at, answers } if now >= at => self.conclude(host, answers),
            Pending::Delayed { at, statement } if now >= at => self.begin(host, *statement),
            Pending::Until { at, .. } | Pending::Delayed { at, .. } => {
                self.pending = Some(pending);
                Step::Wait { until: at }
            }
            Pending::Forever => {
                self.pending = Some(Pending::Forever);
                Step::Wait { until: i64::MAX }
            }
            Pending::Commit { mut commits, answers } => {
                let mut lost = false;
                commits.retain(|commit| match host.world.acknowledged(host.instance, commit) {
                    Acknowledged::Yes => false,
                    Acknowledged::NotYet => true,
                    Acknowledged::Never => {
                        lost = true;
                        false
                    }
                });
                if lost {
                    self.answers.push(Answer::Cut);
                    self.end(host);
                    return Step::Finished;
                }
                if commits.is_empty() {
                    return self.conclude(host, answers);
                }
                self.pending = Some(Pending::Commit { commits, answers });
                Step::Wait { until: now + 10 }
            }
            Pending::Backup(job) if now >= job.until => match job.finish(host) {
                Ok(answers) => self.conclude(host, answers),
                Err(error) => self.failed(host, error),
            },
            Pending::Restore(job) if now >= job.until => match job.finish(host) {
                Ok(answers) => self.conclude(host, answers),
                Err(error) => self.failed(host, error),
            },
            Pending::Backup(_) | Pending::Restore(_) => {
                let until = match &pending {
                    Pending::Backup(job) => job.until,
                    Pending::Restore(job) => job.until,
                    _ => now,
                };
                if let Some(running) =
                    host.sessions.all.get_mut(&host.spid).and_then(|session| session.running.as_mut())
                {
                    running.until = Some(until);
                }
                self.pending = Some(pending);
                Step::Wait { until }
            }
        }
    }
}

/// A session's database becomes another.
pub fn enter(world: &World, instance: &str, session: &mut Session, database: &str) {
    if let Some(found) = world.database(instance, database) {
        session.database.clone_from(&found.name);
        session.epoch = found.epoch;
    }
}
