//! One performance of one task: guard → observe → journal → act → observe → report.
//!
//! Apart because it is what an order means, told in one piece. It must never act before its start is on disk, and never
//! call a failure what is only not known.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use baton_model::{
    action::Action,
    ids::TaskId,
    order::Order,
    outcome::{Fault, Observation, Outcome, Report},
    time::Moment,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    crash::Point,
    directories::Directories,
    report::{clean_fault, clean_observation, report},
};

use crate::{
    action::{Context, ContextOptions, Effect, Failure, Note, Perform},
    decide::{self, Beginning, Recovery},
    host::program::leftovers,
    policy::needs,
};

/// How long an action may take to end after it was told to; then it is given up.
pub const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long an observation may take that follows an effect, whatever is left of the task's time.
const OBSERVE_PATIENCE: Duration = Duration::from_secs(10);

/// What a performance asks of the executor.
pub(super) enum Ask {
    /// "My effect begins": answered when that is on disk, or with a refusal where the fence has moved.
    Begin {
        task: TaskId,
        answer: oneshot::Sender<Result<(), Fault>>,
    },
    Progress {
        task: TaskId,
        note: Note,
    },
}

pub(super) struct Attempt {
    pub order: Order,
    pub received: Moment,
    /// An earlier process had started it.
    pub interrupted: bool,
    /// Its fence was raised meanwhile: observe, and no more.
    pub superseded: bool,
    pub cancel: CancellationToken,
    pub options: Options,
    pub directories: Directories,
    pub asks: mpsc::Sender<Ask>,
}

/// How it ended, before it is made into a report.
pub(super) struct End {
    pub outcome: Outcome,
    pub summary: String,
    pub fault: Option<Fault>,
    pub data: serde_json::Value,
}

impl End {
    fn good(outcome: Outcome, summary: impl Into<String>) -> Self {
        Self { outcome, summary: summary.into(), fault: None, data: serde_json::Value::Null }
    }
    fn bad(outcome: Outcome, fault: Fault) -> Self {
        Self { outcome, summary: fault.message.clone(), fault: Some(fault), data: serde_json::Value::Null }
    }
}

/// Observes an action that nobody ordered.
pub(super) async fn dry_run(options: &Options, action: &Action, timeout: Duration) -> Result<Observation, Fault> {
    let perform = guard(options, action)?;
    observe(options, perform.as_ref(), timeout).await
}

/// What an observation says, bounded and without secrets.
pub(crate) async fn observe(options: &Options, perform: &dyn Perform, timeout: Duration) -> Result<Observation, Fault> {
    let context = unordered(options, timeout);
    let observed = bounded(timeout, perform.observe(&context)).await;
    observed.map(|observation| clean_observation(&context, observation)).map_err(|fault| clean_fault(&context, fault))
}

/// What an action finds that changes nothing. Nobody ordered it, so nothing else is performed this way.
pub(super) async fn sample(options: &Options, action: &Action, timeout: Duration) -> Result<Value, Fault> {
    let perform = guard(options, action)?;
    if !perform.only_observes() {
        let message = format!("{} changes something, and was asked for as a sample", action.name());
        return Err(Fault::new("BTN-0439", message, "Mend the group's samples."));
    }
    let context = unordered(options, timeout);
    let found = ended_in_time(&context, perform.act(&context)).await.ok_or_else(|| {
        let message = format!("{} did not end within {timeout:?}", action.name());
        Fault::new("BTN-0440", message, "Look at what it asks, or sample less often.")
    })?;
    match found {
        Ok(effect) => Ok(context.redactor().redact_value(effect.data)),
        Err(Failure::Failed(fault) | Failure::Unclear(fault)) => Err(clean_fault(&context, fault)),
    }
}

/// Of an action that nobody ordered.
pub(crate) fn unordered(options: &Options, timeout: Duration) -> Context {
    Context::new(ContextOptions {
        task: None,
        directory: None,
        run_directory: None,
        policy: options.policy.load_full(),
        secrets: options.secrets.clone(),
        host: options.host.clone(),
        timeout,
        cancel: CancellationToken::new(),
        progress: None,
    })
    .expect("without a directory nothing is opened")
}

/// The policy, then the parameters.
pub(crate) fn guard(options: &Options, action: &Action) -> Result<Box<dyn Perform>, Fault> {
    options.policy.load().check(&needs(action))?;
    (options.bind)(action)
}

/// A task without its own directory has nowhere to say what it did.
fn no_place(directory: &Path, error: &std::io::Error) -> Fault {
    let message = format!("the task's directory {} cannot be made or written: {error}", directory.display());
    let remedy = "See that the agent's state directory can be written and its disk has room; where too many files are open, raise \
                  LimitNOFILE of the agent's unit. Then \"baton retry\".";
    Fault::new("BTN-0491", message, remedy)
}

async fn bounded(
    patience: Duration,
    observing: impl Future<Output = Result<Observation, Fault>>,
) -> Result<Observation, Fault> {
    tokio::time::timeout(patience, observing).await.unwrap_or_else(|_| {
        let message = format!("the observation did not end within {patience:?}");
        Ok(Observation::CannotTell { why: message })
    })
}

impl Attempt {
    pub async fn perform(self) -> Report {
        let started = self.now();
        let task = self.order.task.clone();
        let directory = match self.directories.create(&task) {
            Ok(directory) => directory,
            Err(error) => {
                let end = self.not_possible(no_place(&self.directories.of_task(&task), &error));
                return report(end, None, started, self.now());
            }
        };
        if self.interrupted
            && let Err(error) = leftovers::end(&directory, &task, STOP_PATIENCE)
        {
            let fault =
                Fault::new("BTN-0492", format!("what {task} had started still runs: {error}"), "End it by hand.");
            return report(End::bad(Outcome::Unknown, fault), None, started, self.now());
        }
        let (progress, notes) = mpsc::channel(16);
        let context = match self.context(directory, progress) {
            Ok(context) => context,
            Err(error) => {
                let end = self.not_possible(no_place(&self.directories.of_task(&task), &error));
                return report(end, None, started, self.now());
            }
        };
        let end = tokio::select! {
            end = self.work(&context) => end,
            never = forward(notes, &self.asks, &task) => match never {},
        };
        report(end, Some(&context), started, self.now())
    }

    async fn work(&self, context: &Context) -> End {
        let action = match Action::parse(&self.order.action, &self.order.params) {
            Ok(action) => action,
            Err(error) => {
                let fault =
                    Fault::new("BTN-0497", error.to_string(), "Install the same version on agents and coordinators.");
                return self.not_possible(fault);
            }
        };
        let perform = match guard(&self.options, &action) {
            Ok(perform) => perform,
            Err(fault) => return self.not_possible(fault),
        };
        if perform.only_observes() {
            return self.check(perform.as_ref(), context).await;
        }
        let observed = bounded(self.patience(context), perform.observe(context)).await;
        let observation = match observed {
            Ok(observation) => observation,
            // An effect may have happened before, and this says nothing of it.
            Err(fault) if self.interrupted => return End::bad(Outcome::Unknown, fault),
            Err(fault) => return End::bad(refused_or_failed(&fault), fault),
        };
        let (repeatable, blind) = (perform.repeatable(), perform.repeatable_blind());
        if self.interrupted {
            match decide::recover(&observation, repeatable, blind, !self.superseded && !context.is_cancelled()) {
                Recovery::Act => {
                    context.output().line("The agent was restarted in the middle of this task; it is done again.")
                }
                Recovery::InPlace => {
                    let note = seen(&observation);
                    let words = format!("was interrupted by the end of the agent; found in place: {note}");
                    let end = End::good(Outcome::Changed, words);
                    return with_found(perform.as_ref(), context, end).await;
                }
                Recovery::NotDone => return End::bad(Outcome::Failed, self.interrupted_fault(&observation)),
                Recovery::Unknown => return End::bad(Outcome::Unknown, self.interrupted_fault(&observation)),
            }
        } else {
            match decide::begin(&observation, repeatable, blind, self.cancel.is_cancelled()) {
                Beginning::Act => {}
                Beginning::InPlace => {
                    let end = End::good(Outcome::Unchanged, seen(&observation));
                    return with_found(perform.as_ref(), context, end).await;
                }
                Beginning::Ended => return End::bad(Outcome::Refused, self.stopped_fault(context)),
                Beginning::Unanswered => {
                    let (task, why) = (&self.order.task, seen(&observation));
                    let message = format!("whether {task} is done already was asked, and there was no answer: {why}");
                    let remedy = "Nothing was done. See why there is no answer, then retry the step.";
                    return End::bad(Outcome::Failed, Fault::new("BTN-0466", message, remedy));
                }
            }
        }
        // What the life before did nobody has seen.
        let unseen = self.interrupted && matches!(observation, Observation::CannotTell { .. });
        match self.begin(context).await {
            Ok(()) => self.act(perform.as_ref(), context, unseen).await,
            Err(fault) if unseen => End::bad(Outcome::Unknown, self.unseen_fault(fault)),
            Err(fault) => End::bad(Outcome::Refused, fault),
        }
    }

    /// Nothing was done by this process; where an earlier one had started, nobody can tell.
    fn not_possible(&self, fault: Fault) -> End {
        let outcome = if self.interrupted { Outcome::Unknown } else { refused_or_failed(&fault) };
        End::bad(outcome, fault)
    }

    async fn check(&self, perform: &dyn Perform, context: &Context) -> End {
        tracing::info!(task = %self.order.task, "task begins");
        match ended_in_time(context, perform.act(context)).await {
            Some(Ok(effect)) => End { data: effect.data, ..End::good(Outcome::Unchanged, effect.summary) },
            // A check that was cut off has shown nothing; what it was to show does not hold as far as anybody knows.
            Some(Err(Failure::Failed(fault) | Failure::Unclear(fault))) => End::bad(refused_or_failed(&fault), fault),
            None => End::bad(Outcome::Failed, self.stopped_fault(context)),
        }
    }

    /// `unseen`: an earlier life may have done it, so that a failure of this one says nothing by itself.
    async fn act(&self, perform: &dyn Perform, context: &Context, unseen: bool) -> End {
        let acted = ended_in_time(context, perform.act(context)).await;
        self.options.crash.at(Point::Acted);
        // Whether its time was over when it ended, not when it has been observed.
        let stopped = context.is_cancelled();
        if acted.is_none()
            && let Some(directory) = context.directory()
            && let Err(error) = leftovers::end(directory, &self.order.task, STOP_PATIENCE)
        {
            tracing::warn!(task = %self.order.task, %error, "what the task had started still runs");
        }
        let fault = match acted {
            Some(Ok(effect)) => return self.confirm(perform, context, effect).await,
            Some(Err(Failure::Failed(fault))) if !stopped && !unseen => {
                return End::bad(refused_or_failed(&fault), fault);
            }
            Some(Err(Failure::Failed(fault) | Failure::Unclear(fault))) if !stopped => fault,
            Some(Err(Failure::Failed(fault) | Failure::Unclear(fault))) => {
                let mut stop = self.stopped_fault(context);
                stop.message = format!("{}: {}", stop.message, fault.message);
                // What kept it from its end is the action's to say; more time is the second thing to try. Who ended it by a word knows why.
                if !fault.remedy.is_empty() && !stop.remedy.is_empty() {
                    stop.remedy = format!("{} {}", fault.remedy, stop.remedy);
                }
                stop
            }
            None => self.stopped_fault(context),
        };
        match seen_in_time(context, perform.observe(context)).await {
            Some(Ok(Observation::InPlace { note })) => {
                End::good(Outcome::Changed, format!("found in place ({note}), although: {}", fault.message))
            }
            Some(Ok(Observation::Differs { .. })) => End::bad(Outcome::Failed, fault),
            Some(Ok(Observation::CannotTell { .. }) | Err(_)) | None if unseen => {
                End::bad(Outcome::Unknown, self.unseen_fault(fault))
            }
            Some(Ok(Observation::CannotTell { .. }) | Err(_)) | None => End::bad(Outcome::Unknown, fault),
        }
    }

    /// The second observation: an effect counts when it can be seen, or cannot be looked for.
    async fn confirm(&self, perform: &dyn Perform, context: &Context, effect: Effect) -> End {
        let outcome = if effect.changed == Some(false) { Outcome::Unchanged } else { Outcome::Changed };
        match seen_in_time(context, perform.observe(context)).await {
            Some(Ok(Observation::InPlace { .. } | Observation::CannotTell { .. })) => {
                End { data: effect.data, ..End::good(outcome, effect.summary) }
            }
            Some(Ok(Observation::Differs { change })) => {
                let message = format!("it was done ({}), and still differs: {change}", effect.summary);
                End::bad(Outcome::Failed, Fault::new("BTN-0460", message, "See what undoes it on the host."))
            }
            Some(Err(fault)) => End::bad(Outcome::Unknown, fault),
            None => {
                let mut fault = self.stopped_fault(context);
                fault.message = format!("{}; what came of it was not seen: {}", fault.message, effect.summary);
                End::bad(Outcome::Unknown, fault)
            }
        }
    }

    async fn begin(&self, context: &Context) -> Result<(), Fault> {
        if context.is_cancelled() {
            return Err(self.stopped_fault(context));
        }
        let (answer, verdict) = oneshot::channel();
        let gone = || Fault::new("BTN-0493", "the agent is ending", "");
        self.asks.send(Ask::Begin { task: self.order.task.clone(), answer }).await.map_err(|_| gone())?;
        tokio::select! {
            biased;
            verdict = verdict => verdict.map_err(|_| gone())??,
            // It may have waited for a leader that is certain, and in vain.
            () = context.cancelled() => {
                self.options.post.may_begin(&self.order.task.run.group, Some(u64::MAX))?;
                return Err(self.stopped_fault(context));
            }
        }
        // The disk may have taken its time.
        self.options.post.may_begin(&self.order.task.run.group, Some(u64::MAX))
    }

    fn context(&self, directory: PathBuf, progress: mpsc::Sender<Note>) -> std::io::Result<Context> {
        Context::new(ContextOptions {
            task: Some(self.order.task.clone()),
            directory: Some(directory),
            run_directory: Some(self.directories.of_run(&self.order.task.run)),
            policy: self.options.policy.load_full(),
            secrets: self.options.secrets.clone(),
            host: self.options.host.clone(),
            timeout: self.time_left(),
            cancel: self.cancel.clone(),
            progress: Some(progress),
        })
    }

    /// By the wall clock where an earlier process received the order; a clock that was set back gives no more time.
    fn time_left(&self) -> Duration {
        let deadline = self.received.plus(self.order.timeout);
        deadline.since(self.now()).to_std().min(self.order.timeout.to_std())
    }

    /// An interrupted task whose time is over is still observed.
    fn patience(&self, context: &Context) -> Duration {
        if self.interrupted { context.time_left().max(OBSERVE_PATIENCE) } else { context.time_left() }
    }

    fn stopped_fault(&self, context: &Context) -> Fault {
        let task = &self.order.task;
        if context.is_overdue() && !self.cancel.is_cancelled() {
            let message = format!("{task} did not end within {}", self.order.timeout);
            Fault::new("BTN-0461", message, "See its output; give the step a longer timeout if it needs one.")
        } else {
            Fault::new("BTN-0462", format!("{task} was ended: its fence was raised"), "")
        }
    }

    fn unseen_fault(&self, mut fault: Fault) -> Fault {
        let task = &self.order.task;
        fault.message = format!(
            "{task} was interrupted by the end of the agent; what it had done by then nobody has seen, and now: {}",
            fault.message
        );
        if fault.remedy.is_empty() {
            fault.remedy = "Look at the host, then retry or skip the step.".to_owned();
        }
        fault
    }

    fn interrupted_fault(&self, observation: &Observation) -> Fault {
        let found = match observation {
            Observation::Differs { change } => format!("it is not in place: {change}"),
            Observation::CannotTell { why } => format!("nobody can tell whether it happened: {why}"),
            Observation::InPlace { note } => note.clone(),
        };
        let message = format!("{} was interrupted by the end of the agent; {found}", self.order.task);
        Fault::new("BTN-0463", message, "Look at the host, then retry or skip the step.")
    }

    fn now(&self) -> Moment {
        Moment(self.options.clock.now_unix_ms())
    }
}

/// What was in place already still has data for later steps.
async fn with_found(perform: &dyn Perform, context: &Context, end: End) -> End {
    match tokio::time::timeout(OBSERVE_PATIENCE.max(context.time_left()), perform.found(context)).await {
        Ok(Ok(data)) => End { data, ..end },
        Ok(Err(fault)) => End::bad(refused_or_failed(&fault), fault),
        Err(_) => {
            let message = format!("{}; but what it is could not be read in time", end.summary);
            End::bad(Outcome::Failed, Fault::new("BTN-0465", message, "Retry the step."))
        }
    }
}

/// What an observation says, in words.
fn seen(observation: &Observation) -> &str {
    match observation {
        Observation::InPlace { note: words }
        | Observation::Differs { change: words }
        | Observation::CannotTell { why: words } => words,
    }
}

/// What the policy refuses is refused; anything else has failed.
fn refused_or_failed(fault: &Fault) -> Outcome {
    let refused = matches!(fault.code.strip_prefix("BTN-04").and_then(|n| n.parse().ok()), Some(0u32..=29));
    if refused { Outcome::Refused } else { Outcome::Failed }
}

/// None where it did not end soon after it was told to; it is dropped then.
pub(crate) async fn ended_in_time(
    context: &Context,
    acting: impl Future<Output = Result<Effect, Failure>>,
) -> Option<Result<Effect, Failure>> {
    let acting = std::pin::pin!(acting);
    let patience = async {
        context.cancelled().await;
        tokio::time::sleep(STOP_PATIENCE).await;
    };
    tokio::select! {
        biased;
        ended = acting => Some(ended),
        () = patience => None,
    }
}

/// An observation has as long as the task, and a little more: one that is slow is not one that cannot tell. None where it did
/// not end.
async fn seen_in_time<T>(context: &Context, observing: impl Future<Output = T>) -> Option<T> {
    let observing = std::pin::pin!(observing);
    let patience = async {
        context.cancelled().await;
        tokio::time::sleep(OBSERVE_PATIENCE).await;
    };
    tokio::select! {
        biased;
        seen = observing => Some(seen),
        () = patience => None,
    }
}

async fn forward(mut notes: mpsc::Receiver<Note>, asks: &mpsc::Sender<Ask>, task: &TaskId) -> std::convert::Infallible {
    while let Some(note) = notes.recv().await {
        // A note that finds no room is dropped: the next one says more.
        let _ = asks.try_send(Ask::Progress { task: task.clone(), note });
    }
    std::future::pending().await
}
