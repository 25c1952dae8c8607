//! Runs tasks: the one owner of the journal.
//!
//! Apart because everything that must be on disk before something happens is ordered here, by one loop. It must never
//! block on a session: what cannot be sent now is sent again later.
//!
//! [`Executor::run`] is the loop, [`Handle`] the way in. What comes in is already parsed; what goes out goes to the
//! coordinator it is for, through the channel that its session registered.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use baton_model::{
    action::Action,
    ids::{HostName, TaskId},
    order::Order,
    outcome::{Fault, Outcome, Report},
    time::Moment,
};
use baton_platform::clock::Clock;
use baton_proto::v1::{self as pb, from_agent::Message as Up};
use baton_wire::agent as wire;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::JoinMap};

use crate::{
    action::Perform,
    decide::{self, Admission, Presence},
    guard::Post,
    host::Host,
    journal::{Journal, JournalError},
    ledger::{Change, Entry},
    policy::Policy,
    secrets::Secrets,
};

pub mod attempt;
pub mod crash;
pub mod directories;
mod assigning;
mod handle;
mod questions;
mod raises;
pub(crate) mod report;

pub use handle::{Handle, Request, UP_CAPACITY};

use assigning::Deeds;
use attempt::{Ask, Attempt};
use crash::{Crash, Point};
use directories::Directories;

/// Requests waiting for the loop; the sessions wait when it is full.
const REQUESTS_MAX: usize = 256;
/// How often an outcome is sent again until it is forgotten.
const RESEND: Duration = Duration::from_secs(3);
/// A reign lifts the marks of its runs above orders that it wants as well; it gives those again at once, with the new index.
/// So long what is below waits, or goes on, before it is over.
const RESPITE: Duration = Duration::from_secs(5);

/// Turns a model action into one that can be performed; [`crate::action::bind`] unless a test brings its own.
pub type Bind = Arc<dyn Fn(&Action) -> Result<Box<dyn Perform>, Fault> + Send + Sync>;

/// What the executor works with.
#[derive(Clone)]
pub struct Options {
    pub host_name: HostName,
    /// Where tasks have their directories.
    pub state_directory: PathBuf,
    /// Swapped on SIGHUP; a task keeps the policy with which it began.
    pub policy: Arc<ArcSwap<Policy>>,
    pub secrets: Arc<dyn Secrets>,
    pub host: Host,
    pub clock: Arc<dyn Clock>,
    /// How many tasks act at once; more wait.
    pub tasks_max: usize,
    /// How many dry runs go on at once; more are refused.
    pub observations_max: usize,
    pub bind: Bind,
    pub crash: Arc<dyn Crash>,
    /// Where this host stands with its groups.
    pub post: Post,
}

/// See the module.
pub struct Executor {
    options: Options,
    journal: Journal,
    directories: Directories,
    requests: mpsc::Receiver<Request>,
    asks_sender: mpsc::Sender<Ask>,
    asks: mpsc::Receiver<Ask>,
    sessions: BTreeMap<String, mpsc::Sender<pb::FromAgent>>,
    queue: VecDeque<TaskId>,
    running: JoinMap<TaskId, Report>,
    cancels: BTreeMap<TaskId, CancellationToken>,
    observing: JoinMap<u64, ()>,
    observations: u64,
    /// Raises whose tasks have not all ended.
    raises: Vec<(String, wire::Raised)>,
    sent: BTreeMap<TaskId, Instant>,
    /// See [`RESPITE`].
    respite: Option<Instant>,
    /// Asked in the respite, under a fence that is too low; or while it is not certain who rules.
    held: Vec<Ask>,
    /// When a task was ordered last, on the clock that counts sleep.
    told: BTreeMap<TaskId, u64>,
    deeds: Deeds,
    /// Tasks of an earlier process wait for a coordinator that says what is over meanwhile.
    recovered: bool,
}

impl Executor {
    /// Nothing happens before [`Executor::run`].
    pub fn new(options: Options, journal: Journal) -> (Self, Handle) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let (asks_sender, asks) = mpsc::channel(REQUESTS_MAX);
        let directories = Directories::new(options.state_directory.clone());
        let executor = Self {
            options,
            journal,
            directories,
            requests,
            asks_sender,
            asks,
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            running: JoinMap::new(),
            cancels: BTreeMap::new(),
            observing: JoinMap::new(),
            observations: 0,
            raises: Vec::new(),
            sent: BTreeMap::new(),
            respite: None,
            held: Vec::new(),
            told: BTreeMap::new(),
            deeds: Deeds::default(),
            recovered: false,
        };
        (executor, Handle::new(sender))
    }

    /// Until the token is cancelled (tasks are then left to their journal) or the journal cannot be written.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JournalError> {
        let mut pulse = self.options.post.pulse();
        self.begin_account()?;
        let mut resend = tokio::time::interval(RESEND);
        resend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some((task, ended)) = self.running.join_next() => {
                    let report = ended.unwrap_or_else(|error| self.broken(&task, &error.to_string()));
                    self.finish(task, report)?;
                }
                Some(_) = self.observing.join_next() => {}
                Some(ask) = self.asks.recv() => self.answer(ask)?,
                Some(request) = self.requests.recv() => self.handle(request)?,
                _ = resend.tick() => self.resend(),
                // A leader that is certain may be what a task waits for.
                Ok(()) = pulse.changed(), if !self.held.is_empty() || self.journal.ledger().waiting.is_some() => {
                    self.end_waiting()?;
                    self.answer_held()?;
                }
                () = end_of(self.respite) => self.end_respite()?,
            }
            self.settle_raises();
            self.fill();
        }
    }

    fn handle(&mut self, request: Request) -> Result<(), JournalError> {
        match request {
            Request::Attach { coordinator, up } => {
                self.sessions.insert(coordinator, up);
            }
            Request::Detach { coordinator, up } => {
                // A newer session of the same coordinator may have taken its place already.
                if self.sessions.get(&coordinator).is_some_and(|current| current.same_channel(&up)) {
                    self.sessions.remove(&coordinator);
                }
            }
            Request::Reign { from, accession } => self.accede(&from, accession)?,
            Request::Raise { from, raised } => self.raise(from, raised)?,
            Request::Execute { from, order, heard_ms } => self.execute(&from, order, heard_ms)?,
            Request::Assign { from, assigning, heard_ms } => self.assign(&from, assigning, heard_ms)?,
            Request::DeedsKept { from, number } => self.deeds_kept(&from, number)?,
            Request::Undertaken { group, component, undertaken, done } => {
                self.journal.commit(vec![Change::Undertaken(group, component, undertaken)])?;
                let _ = done.send(());
            }
            Request::Happened(happened) => self.happened(happened)?,
            Request::Forget { from, task } => {
                let changes = decide::forget(self.journal.ledger(), &from, &task);
                if !changes.is_empty() {
                    self.journal.commit(changes)?;
                    self.sent.remove(&task);
                    self.directories.prune(self.journal.ledger());
                }
            }
            Request::Observe { from, request, action, timeout } => self.observe(from, request, action, timeout),
            Request::Sample { from, request, action, timeout } => self.sample(from, request, action, timeout),
        }
        Ok(())
    }

    fn accede(&mut self, from: &str, accession: wire::Accession) -> Result<(), JournalError> {
        let ledger = self.journal.ledger();
        match decide::accede(ledger, from, accession.reign, &accession.marks, &accession.floors) {
            Err(fault) => {
                // No acknowledgement is the answer: whoever is behind does not get to order.
                tracing::warn!(%fault, "a reign is not acknowledged");
                return Ok(());
            }
            Ok(changes) => self.journal.commit(changes)?,
        }
        tracing::info!(coordinator = from, reign = %accession.reign, "reign acknowledged");
        self.options.post.accede(self.journal.ledger().ruler.clone());
        self.respite = Some(Instant::now() + RESPITE);
        let open_tasks = self.journal.ledger().unforgotten().map(|(task, _)| task.clone()).collect();
        let answer = wire::Acknowledgement { request: accession.request, reign: accession.reign, index: 0, open_tasks };
        self.send(from, Up::Acknowledged(wire::acknowledged(&answer)));
        self.sent.clear();
        self.deeds = Deeds::default();
        self.resend();
        if !std::mem::replace(&mut self.recovered, true) {
            let open = self.journal.ledger().tasks.iter().filter(|(_, entry)| entry.is_open());
            let open: Vec<TaskId> = open.map(|(task, _)| task.clone()).filter(|task| !self.is_alive(task)).collect();
            self.queue.extend(open);
        }
        Ok(())
    }

    fn execute(&mut self, from: &str, order: Order, heard_ms: u64) -> Result<(), JournalError> {
        let task = order.task.clone();
        if self.is_late(heard_ms) {
            tracing::warn!(%task, "an order lay here for longer than a lease lasts; it is not taken");
            // It is over with this session: in the next one what is still wanted is ordered again.
            self.sessions.remove(from);
            return Ok(());
        }
        let now = Moment(self.options.clock.now_unix_ms());
        let presence = self.presence(&task);
        match decide::admit(self.journal.ledger(), from, &self.options.host_name, &order, presence, now) {
            Admission::Run(changes) => {
                self.journal.commit(changes)?;
                self.options.crash.at(Point::Received);
                self.queue.push_back(task.clone());
                self.send(from, Up::Accepted(pb::Accepted { task: Some(wire::task_id(&task)) }));
            }
            Admission::AlreadyRunning(changes) => {
                self.journal.commit(changes)?;
                self.send(from, Up::Accepted(pb::Accepted { task: Some(wire::task_id(&task)) }));
            }
            Admission::ObserveFirst(changes) => {
                self.journal.commit(changes)?;
                self.queue.push_back(task.clone());
                self.send(from, Up::Accepted(pb::Accepted { task: Some(wire::task_id(&task)) }));
            }
            Admission::RepeatOutcome(_) => self.send_finished(&task),
            Admission::Refuse { fault, seen } => {
                tracing::warn!(%task, fence = %order.fence, %fault, "order refused");
                self.send(from, Up::Declined(wire::declined(&task, &fault, seen)));
            }
        }
        if self.is_alive(&task) {
            self.told.insert(task, heard_ms);
        }
        // Its fence may have become good.
        self.answer_held()
    }

    fn answer_held(&mut self) -> Result<(), JournalError> {
        std::mem::take(&mut self.held).into_iter().try_for_each(|ask| self.answer(ask))
    }

    /// What the new reign has not ordered again by now is not wanted.
    fn end_respite(&mut self) -> Result<(), JournalError> {
        self.respite = None;
        self.end_superseded(None)?;
        self.answer_held()
    }

    fn not_begun(&self, task: &TaskId) -> Report {
        let now = Moment(self.options.clock.now_unix_ms());
        let fault = Fault::new("BTN-0437", format!("{task} was ended before it began: its fence was raised"), "");
        Report {
            outcome: Outcome::Refused,
            summary: "ended before it began".to_owned(),
            fault: Some(fault),
            output: Default::default(),
            data: Default::default(),
            attachments: Vec::new(),
            started: now,
            ended: now,
        }
    }

    /// A performance that panicked: nobody can tell how far it got.
    fn broken(&self, task: &TaskId, error: &str) -> Report {
        tracing::error!(%task, error, "a task broke");
        let fault = Fault::new("BTN-0494", format!("the agent broke while it performed {task}"), "Look at the host.");
        Report {
            outcome: Outcome::Unknown,
            summary: "the agent broke".into(),
            fault: Some(fault),
            ..self.not_begun(task)
        }
    }

    /// Begins what waits, as far as the bound allows.
    fn fill(&mut self) {
        let mut waiting = VecDeque::new();
        while self.running.len() < self.options.tasks_max {
            let Some(task) = self.queue.pop_front() else { break };
            let (order, received, interrupted) = match self.journal.ledger().tasks.get(&task) {
                Some(Entry::Received { order, received }) => (order.clone(), *received, false),
                Some(Entry::Started { order, received, .. }) => (order.clone(), *received, true),
                _ => continue,
            };
            if self.waits_for_word(&task, &order)
                || self.waits_for_earlier(&task)
                || decide::waits_for_superseded(self.journal.ledger(), &task, order.fence)
            {
                waiting.push_back(task);
                continue;
            }
            let cancel = CancellationToken::new();
            let superseded = decide::may_begin(self.journal.ledger(), &task, order.fence).is_err();
            if superseded {
                cancel.cancel();
            }
            self.cancels.insert(task.clone(), cancel.clone());
            let attempt = Attempt {
                order,
                received,
                interrupted,
                superseded,
                cancel,
                options: self.options.clone(),
                directories: self.directories.clone(),
                asks: self.asks_sender.clone(),
            };
            self.running.spawn(task, attempt.perform());
        }
        waiting.append(&mut self.queue);
        self.queue = waiting;
    }

    fn presence(&self, task: &TaskId) -> Presence {
        match self.cancels.get(task) {
            Some(cancel) if cancel.is_cancelled() => Presence::Ending,
            None if !self.queue.contains(task) => Presence::Absent,
            _ => Presence::Alive,
        }
    }

    /// Below a raised fence, and not told yet whether it is wanted all the same.
    fn waits_for_word(&self, task: &TaskId, order: &Order) -> bool {
        self.respite.is_some() && decide::may_begin(self.journal.ledger(), task, order.fence).is_err()
    }

    /// An earlier attempt of the same step has not ended yet; two of them must not act at once.
    fn waits_for_earlier(&self, task: &TaskId) -> bool {
        self.journal.ledger().tasks.iter().any(|(other, entry)| {
            entry.is_open() && other.run == task.run && other.step == task.step && other.attempt < task.attempt
        })
    }

    fn is_alive(&self, task: &TaskId) -> bool {
        self.cancels.contains_key(task) || self.queue.contains(task)
    }

    fn answer(&mut self, ask: Ask) -> Result<(), JournalError> {
        match ask {
            Ask::Begin { task, answer } => {
                let ledger = self.journal.ledger();
                let Some(Entry::Received { order, received } | Entry::Started { order, received, .. }) =
                    ledger.tasks.get(&task)
                else {
                    return Ok(());
                };
                if self.waits_for_word(&task, order) {
                    self.held.push(Ask::Begin { task, answer });
                    return Ok(());
                }
                let verdict = decide::may_begin(ledger, &task, order.fence);
                let told_ms = self.told.get(&task).copied();
                if verdict.is_ok() && self.options.post.may_begin(&task.run.group, told_ms).is_err() {
                    // Whoever asks gives up at the end of its time.
                    if !answer.is_closed() {
                        self.held.push(Ask::Begin { task, answer });
                    }
                    return Ok(());
                }
                if verdict.is_ok() {
                    let started = Moment(self.options.clock.now_unix_ms());
                    let entry = Entry::Started { order: order.clone(), received: *received, started };
                    self.options.crash.at(Point::BeforeStarted);
                    self.journal.commit(vec![Change::Task(task.clone(), entry)])?;
                    tracing::info!(%task, "task begins");
                    self.options.crash.at(Point::Started);
                }
                let _ = answer.send(verdict);
            }
            Ask::Progress { task, note } => {
                let message = pb::Progress {
                    task: Some(wire::task_id(&task)),
                    note: note.note,
                    percent: note.percent.map_or(u32::MAX, u32::from),
                };
                let ruler = self.journal.ledger().ruler.coordinator.clone();
                if let Some(session) = self.sessions.get(&ruler) {
                    // Half of the channel is for what must arrive.
                    if session.capacity() > UP_CAPACITY / 2 {
                        let _ = session.try_send(pb::FromAgent { message: Some(Up::Progress(message)) });
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, task: TaskId, report: Report) -> Result<(), JournalError> {
        self.cancels.remove(&task);
        self.told.remove(&task);
        let Some(order) = self.journal.ledger().tasks.get(&task).and_then(Entry::order).cloned() else { return Ok(()) };
        tracing::info!(%task, outcome = report.outcome.as_str(), summary = %report.summary, "task ended");
        self.options.crash.at(Point::BeforeFinished);
        self.journal.commit(vec![Change::Task(task.clone(), Entry::Finished { order, report })])?;
        self.options.crash.at(Point::Finished);
        self.send_finished(&task);
        Ok(())
    }

    fn resend(&mut self) {
        let due = |task: &TaskId| self.sent.get(task).is_none_or(|sent| sent.elapsed() >= RESEND);
        let finished = self.journal.ledger().tasks.iter().filter(|(_, entry)| matches!(entry, Entry::Finished { .. }));
        let due: Vec<TaskId> = finished.map(|(task, _)| task.clone()).filter(due).collect();
        due.iter().for_each(|task| self.send_finished(task));
        self.send_deeds();
    }

    /// To whoever rules now; if that one is not here, or is slow, later.
    fn send_finished(&mut self, task: &TaskId) {
        let ledger = self.journal.ledger();
        let Some(Entry::Finished { order, report }) = ledger.tasks.get(task) else { return };
        let Some(session) = self.sessions.get(&ledger.ruler.coordinator) else { return };
        let message = Up::Finished(wire::finished(task, order.fence, report));
        if session.try_send(pb::FromAgent { message: Some(message) }).is_ok() {
            self.sent.insert(task.clone(), Instant::now());
        }
    }

    fn send(&mut self, to: &str, message: Up) {
        let Some(session) = self.sessions.get(to) else { return };
        if session.try_send(pb::FromAgent { message: Some(message) }).is_err() {
            // Its coordinator does not read, or it is over: without a sender the session ends, and begins anew.
            tracing::warn!(coordinator = to, "the session cannot take more; it is ended");
            self.sessions.remove(to);
        }
    }
}

async fn end_of(respite: Option<Instant>) {
    match respite {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Where a task's files are, for whoever streams them.
pub fn task_directory(state_directory: &Path, task: &TaskId) -> PathBuf {
    Directories::new(state_directory.to_owned()).of_task(task)
}
