//! An agent's session. Who it is comes from its certificate, never from what it says.

use std::{pin::Pin, sync::Arc, time::Duration};

use baton_engine::command::Command;
use baton_log::{Log, ProposeError};
use baton_model::{
    assignment::Deed,
    author::Actor,
    ids::{HostName, TaskId},
    outcome::{DATA_BYTES_MAX, Fault, OUTPUT_BYTES_MAX, Output, Report},
};
use baton_platform::identity::require_agent;
use baton_proto::v1::{self, FromAgent, ToAgent, agent_sessions_server::AgentSessions, from_agent, to_agent};
use baton_wire::{agent as wire, assignment, fault};
use futures::Stream;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    leader::Lessor,
    proposer::{ProposalError, Proposer},
    replica::Replica,
    sessions::{SessionId, Sessions},
};

/// Reports being committed at once for all agents; more wait at their sessions.
const REPORTS_MAX: usize = 512;
/// An agent of which nothing was heard for so many periods of its heartbeat is not there any more: a cut network says nothing.
const HEARTBEATS_MISSED_MAX: u32 = 5;
/// How long an agent may take for its Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

pub struct AgentApi {
    name: String,
    heartbeat_ms: u64,
    context: Arc<Context>,
}

struct Context {
    log: Log<Replica>,
    proposer: Proposer,
    sessions: Sessions,
    lessor: Lessor,
    reports: Arc<Semaphore>,
}

impl AgentApi {
    pub fn new(
        name: String,
        heartbeat_ms: u64,
        log: Log<Replica>,
        proposer: Proposer,
        sessions: Sessions,
        lessor: Lessor,
    ) -> Self {
        let reports = Arc::new(Semaphore::new(REPORTS_MAX));
        Self { name, heartbeat_ms, context: Arc::new(Context { log, proposer, sessions, lessor, reports }) }
    }
}

#[tonic::async_trait]
impl AgentSessions for AgentApi {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<ToAgent, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::SessionStream>, Status> {
        let name = require_agent(&request)?;
        let host = HostName::new(name.as_str()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut from = request.into_inner();
        let hello = match tokio::time::timeout(HELLO_TIMEOUT, from.message()).await {
            Ok(Ok(Some(FromAgent { message: Some(from_agent::Message::Hello(hello)) }))) => hello,
            Ok(Err(status)) if is_garbage(&status) => return Err(not_begun(&host, malformed(status.message()))),
            Ok(Err(status)) => return Err(status),
            Ok(Ok(_)) => return Err(not_begun(&host, malformed("a session begins with Hello"))),
            Err(_) => return Err(Status::deadline_exceeded("no Hello came")),
        };
        let opened = self.context.sessions.open(&host, hello);
        let welcome = v1::Welcome { coordinator: self.name.clone(), heartbeat_ms: self.heartbeat_ms };
        // Boxed for the same reason as the session's own queue.
        let (sender, receiver) = mpsc::channel::<Box<Result<ToAgent, Status>>>(1);
        let context = self.context.clone();
        let (session, end) = (opened.id, opened.end.clone());
        let heartbeat_ms = self.heartbeat_ms.max(50);
        tracing::info!(%host, session, "agent on the line");
        tokio::spawn(async move {
            let mut down = opened.messages;
            let first = ToAgent { message: Some(to_agent::Message::Welcome(welcome)) };
            if sender.send(Box::new(Ok(first))).await.is_ok() {
                // Counted from its first heartbeat: what has come since then shows that the agent is there.
                let mut heard: Option<Instant> = None;
                loop {
                    let silence = context.lessor.silence(&host, heartbeat_ms, HEARTBEATS_MISSED_MAX);
                    let silent_at = heard.map(|heard| heard + silence);
                    tokio::select! {
                        () = fallen_silent(silent_at) => {
                            tracing::warn!(%host, session, "no heartbeat for {silence:?}: the session is ended");
                            let _ = sender.try_send(Box::new(Err(Status::deadline_exceeded("no heartbeat came"))));
                            break;
                        }
                        () = end.cancelled() => {
                            let _ = sender.send(Box::new(Err(Status::aborted("the session was ended by the coordinator")))).await;
                            break;
                        }
                        message = down.recv() => match message {
                            // Not without an eye on `end`: an agent that takes nothing must not hold its session up.
                            Some(message) => tokio::select! {
                                sent = sender.send(Box::new(Ok(*message))) => if sent.is_err() { break },
                                () = end.cancelled() => break,
                            },
                            None => break,
                        },
                        message = from.next() => match message {
                            Some(Ok(FromAgent { message: Some(message) })) => {
                                if heard.is_some() || matches!(message, from_agent::Message::Heartbeat(_)) {
                                    heard = Some(Instant::now());
                                }
                                // Boxed, so that a session that hears nothing has no room for it.
                                if let Err(status) = Box::pin(hear(&context, &host, session, message)).await {
                                    tracing::warn!(%host, session, "the session is ended: {}", told(&status));
                                    let _ = sender.send(Box::new(Err(status))).await;
                                    break;
                                }
                            }
                            Some(Ok(FromAgent { message: None })) => {}
                            // What is too long, or no message at all, is not a connection that broke.
                            Some(Err(status)) if is_garbage(&status) => {
                                let status = malformed(status.message());
                                tracing::warn!(%host, session, "the session is ended: {}", told(&status));
                                let _ = sender.send(Box::new(Err(status))).await;
                                break;
                            }
                            Some(Err(_)) | None => break,
                        },
                    }
                }
            }
            context.sessions.close(&host, session);
            tracing::info!(%host, session, "agent off the line");
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(|message| *message))))
    }
}

/// At that moment; never without one.
async fn fallen_silent(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Takes one message. An error ends the session with that status.
async fn hear(
    context: &Arc<Context>,
    host: &HostName,
    session: SessionId,
    message: from_agent::Message,
) -> Result<(), Status> {
    use from_agent::Message;
    match message {
        Message::Hello(_) => return Err(malformed("a session has one Hello")),
        Message::Heartbeat(beat) => {
            let tenures = assignment::parse_tenures(&beat.tenures).map_err(malformed)?;
            context.sessions.stands(host, session, tenures);
            context.lessor.answer(host, session, beat.sequence, beat.sent_monotonic_ms);
        }
        Message::Accepted(accepted) => {
            let task = own(host, wire::parse_task_id("Accepted", accepted.task).map_err(malformed)?)?;
            context.sessions.accepted(host, task);
        }
        Message::Progress(progress) => {
            let task = own(host, wire::parse_task_id("Progress", progress.task).map_err(malformed)?)?;
            let note: String = progress.note.chars().take(300).collect();
            context.sessions.progress(host, task, note, progress.percent, context.proposer.now());
        }
        Message::Finished(finished) => {
            let (task, _, report) = wire::parse_finished(finished).map_err(malformed)?;
            spawn_report(context, host, session, own(host, task)?, report).await;
        }
        Message::Declined(declined) => {
            let (task, fault, seen) = wire::parse_declined(declined).map_err(malformed)?;
            let task = own(host, task)?;
            tracing::warn!(%task, %seen, %fault, "declined");
            // The agent obeys somebody newer, or has been told something newer: that says nothing about the task, which may
            // be at work under the newer order. If it is not, its deadline says so.
            if ["BTN-0431", "BTN-0432", "BTN-0435"].contains(&fault.code.as_str()) {
                return Ok(());
            }
            let Ok(permit) = context.reports.clone().acquire_owned().await else { return Ok(()) };
            let (context, host) = (context.clone(), host.clone());
            tokio::spawn(async move {
                let _permit = permit;
                let command = Command::DeclineTask { task, fault };
                if let Err(error) = context.proposer.propose(Actor::Agent(host), "", None, command).await {
                    // A deposed leader cannot commit this; the next one asks again.
                    tracing::debug!(%error, "a declined order was not recorded");
                }
            });
        }
        Message::Acknowledged(acknowledged) => context.sessions.acknowledged(host, session, acknowledged),
        Message::Observed(observed) => {
            let (request, answer) = wire::parse_observed(observed).map_err(malformed)?;
            context.sessions.observed(host, request, answer);
        }
        Message::Sampled(sampled) => {
            let (request, answer) = wire::parse_sampled(sampled).map_err(malformed)?;
            context.sessions.sampled(host, request, answer);
        }
        Message::Assigned(assigned) => {
            let (_, reign, index) = assignment::parse_assigned(assigned);
            tracing::debug!(%host, %reign, index, "assigned");
        }
        Message::Probed(probed) => {
            context.sessions.probed(host, session, assignment::parse_probed(&probed).map_err(malformed)?);
        }
        Message::Deeds(deeds) => {
            let deeds = assignment::parse_deeds(&deeds).map_err(malformed)?;
            record_deeds(context, host, session, deeds).await;
        }
        Message::FilePart(part) => {
            let answer = match wire::parse_file_fault(&part).map_err(malformed)? {
                None => Ok((part.content, part.last)),
                Some(fault) => Err(fault),
            };
            context.sessions.file_part(host, part.request, answer);
        }
    }
    Ok(())
}

fn malformed(error: impl std::fmt::Display) -> Status {
    fault::to_status(&Fault::new(
        "BTN-0153",
        format!("an agent said what cannot be understood: {error}"),
        "Its session was ended, and it comes back. Install the same version on agents and coordinators; its certificate says who it is.",
    ))
}

/// Whether the stream ended because of what was said on it.
fn is_garbage(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::Internal | Code::InvalidArgument | Code::ResourceExhausted)
}

fn not_begun(host: &HostName, status: Status) -> Status {
    tracing::warn!(%host, "no session is begun: {}", told(&status));
    status
}

/// For the log.
fn told(status: &Status) -> String {
    fault::from_status(status).map_or_else(|| status.message().to_owned(), |fault| fault.to_string())
}

/// An agent speaks for its own host alone.
fn own(host: &HostName, task: TaskId) -> Result<TaskId, Status> {
    if task.host == *host {
        return Ok(task);
    }
    Err(Status::permission_denied(format!("BTN-0144 {host} spoke of a task of {}", task.host)))
}

/// Commits a report beside the session, and lets the agent forget the task once it is in the log.
///
/// Too many under way: waits here, and with it this session, so that a host that reports without end holds up itself alone.
async fn spawn_report(context: &Arc<Context>, host: &HostName, session: SessionId, task: TaskId, report: Report) {
    let Ok(permit) = context.reports.clone().acquire_owned().await else { return };
    let context = context.clone();
    let host = host.clone();
    tokio::spawn(async move {
        let _permit = permit;
        if commit_report(&context, &host, &task, report).await {
            context.sessions.forget(&host, &task);
            let forget = v1::Forget { task: Some(wire::task_id(&task)) };
            context.sessions.send(&host, session, to_agent::Message::Forget(forget));
        }
    });
}

/// Records what a host did on its own account, and lets its agent forget that. An agent tells it again until then.
async fn record_deeds(context: &Arc<Context>, host: &HostName, session: SessionId, deeds: Vec<Deed>) {
    let Some(number) = deeds.iter().map(|deed| deed.number).max() else { return };
    if !context.log.leadership().borrow().ready {
        return;
    }
    let Ok(permit) = context.reports.clone().acquire_owned().await else { return };
    for deed in &deeds {
        tracing::warn!(%host, group = %deed.group, failed = deed.failed, "{}", deed.what);
    }
    let (context, host) = (context.clone(), host.clone());
    tokio::spawn(async move {
        let _permit = permit;
        let command = Command::RecordDeeds { host: host.clone(), deeds };
        match context.proposer.propose(Actor::Agent(host.clone()), "", None, command).await {
            Ok(_) => {
                let kept = v1::DeedsKept { number };
                context.sessions.send(&host, session, to_agent::Message::DeedsKept(kept));
            }
            Err(error) => tracing::debug!(%host, %error, "deeds were not recorded here"),
        }
    });
}

/// True once the outcome is in the log. A report that this coordinator cannot commit comes again: the agent keeps it
/// until a leader says `Forget`.
async fn commit_report(context: &Context, host: &HostName, task: &TaskId, report: Report) -> bool {
    let mut report = bounded(report);
    loop {
        let command = Command::ReportTask { task: task.clone(), report: Box::new(report.clone()) };
        match context.proposer.propose(Actor::Agent(host.clone()), "", None, command).await {
            Ok(_) => return true,
            Err(ProposalError::Log(ProposeError::Timeout)) if context.log.leadership().borrow().is_self => {
                tracing::warn!(%task, "the report was not committed in time; again");
            }
            Err(ProposalError::Refused(fault)) if !report.data.is_null() || !report.output.is_empty() => {
                tracing::warn!(%task, %fault, "the report was refused; again without output and data");
                report.output = Output::default();
                report.data = serde_json::Value::Null;
                report.attachments.truncate(64);
            }
            Err(error) => {
                tracing::debug!(%task, %error, "the report was not committed here");
                return false;
            }
        }
    }
}

/// Agents cut before they report; one that does not must not be able to fill the log.
fn bounded(mut report: Report) -> Report {
    if report.output.head.len() + report.output.tail.len() > OUTPUT_BYTES_MAX {
        report.output = Output::bounded(&format!("{}{}", report.output.head, report.output.tail));
    }
    if report.data.to_string().len() > DATA_BYTES_MAX {
        report.data = serde_json::json!({ "left_out": "more than 16 KiB" });
    }
    report.summary = cut(report.summary);
    if let Some(fault) = &mut report.fault {
        fault.message = cut(std::mem::take(&mut fault.message));
        fault.remedy = cut(std::mem::take(&mut fault.remedy));
    }
    report.attachments.truncate(64);
    report
}

/// What a person reads of a task is a few lines; a quarter of the bound for each.
fn cut(text: String) -> String {
    const BYTES_MAX: usize = OUTPUT_BYTES_MAX / 4;
    if text.len() <= BYTES_MAX {
        return text;
    }
    let end = (0..=BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}
