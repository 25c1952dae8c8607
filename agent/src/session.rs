//! The sessions: one to each coordinator, opened by the agent and opened again for ever.
//!
//! Apart because a session only carries: it parses what comes, gives it to the executor, and sends what the executor has for
//! this coordinator. It must never act, and never let one coordinator's slowness hold up another's.
//!
//! Who is on the other side: the [`Connector`] ends the handshake with an error unless the server's certificate names
//! `baton://coordinator/...`; that name is the one that counts here, and a `Welcome` under another is refused.

use std::{path::PathBuf, sync::Arc, time::Duration};

use baton_model::{action::Action, outcome::Fault, time::Span};
use baton_platform::{
    address::Address,
    backoff::{Backoff, BackoffOptions},
    clock::Clock,
    random::Random,
    tls::{Connector, Peer},
};
use baton_proto::v1::{
    self as pb, agent_sessions_client::AgentSessionsClient, from_agent::Message as Up, to_agent::Message as Down,
};
use baton_wire::{agent as wire, assignment};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    assignments,
    executor::{Handle, Request, UP_CAPACITY},
    guard::{Post, Pulse},
};

mod beats;
mod files;

use beats::Beats;

/// Beyond it a message is refused by the library: an order's parameters, a reign over many runs.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How long a coordinator may take for its Welcome.
const WELCOME_PATIENCE: Duration = Duration::from_secs(10);
/// A coordinator that answers no heartbeat for this many periods is not there any more.
const HEARTBEATS_MISSED_MAX: u32 = 5;
/// What was seen of components is told whole so often: a coordinator may have forgotten.
const TELL_ALL: Duration = Duration::from_secs(10);

/// What all sessions have in common.
#[derive(Clone)]
pub struct Options {
    pub connector: Connector,
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub backoff: BackoffOptions,
    /// The cluster this agent belongs to, as its configuration says; empty where it does not.
    pub cluster: String,
    /// Changes with each start of the process.
    pub boot: String,
    /// The longest period between heartbeats, whatever a coordinator asks for.
    pub heartbeat_max: Duration,
    pub state_directory: PathBuf,
    pub post: Post,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{}", status.message())]
    Status {
        #[from]
        status: tonic::Status,
    },
    #[error("the coordinator ended the stream")]
    Stream,
    #[error("no {0} came in time")]
    Silent(&'static str),
    #[error("the first message was not Welcome")]
    NotWelcome,
    #[error(
        "it calls itself {said:?}, and its certificate is for {proven:?}: correct its installation, or its host is in other hands"
    )]
    Impostor { said: String, proven: String },
    #[error(transparent)]
    Malformed(#[from] wire::Malformed),
    #[error("it took no more messages")]
    Slow,
    #[error("the executor has ended")]
    Executor,
    #[error("no answer for longer than a lease lasts, so that what comes may be old")]
    Stale,
}

/// Holds a session to this address until the token is cancelled.
pub async fn hold(options: Options, address: Address, executor: Handle, stop: CancellationToken) {
    let (channel, peer) = options.connector.channel_and_peer(&address);
    let mut client = AgentSessionsClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut backoff = Backoff::new(options.backoff);
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = once(&options, &mut client, &peer, &executor, &mut backoff) => ended,
        };
        let wait = backoff.next(&options.random);
        // Once as a story, then quietly: a coordinator that is down for a day must not fill the log.
        if backoff.failures() <= 1 {
            tracing::warn!(%address, reason = %ended, "no session with the coordinator; it is tried again until there is one");
        } else {
            tracing::debug!(%address, reason = %ended, ?wait, "no session with the coordinator");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One session, from Hello to its end.
async fn once(
    options: &Options,
    client: &mut AgentSessionsClient<tonic::transport::Channel>,
    peer: &Peer,
    executor: &Handle,
    backoff: &mut Backoff,
) -> Ended {
    let (up, messages) = mpsc::channel(UP_CAPACITY);
    let hello = pb::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: options.boot.clone(),
        cluster: options.cluster.clone(),
    };
    let hello_ms = options.clock.boot_ms();
    up.try_send(pb::FromAgent { message: Some(Up::Hello(hello)) }).expect("the channel is new and empty");
    let opened = async {
        let mut down = client.session(ReceiverStream::new(messages)).await?.into_inner();
        match down.message().await?.and_then(|message| message.message) {
            Some(Down::Welcome(welcome)) => Ok((down, welcome)),
            _ => Err(Ended::NotWelcome),
        }
    };
    let (down, welcome) = match tokio::time::timeout(WELCOME_PATIENCE, opened).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::Silent("Welcome"),
    };
    if let Err(impostor) = check_name(&welcome.coordinator, peer) {
        tracing::warn!(reason = %impostor, "a coordinator is refused");
        return impostor;
    }
    backoff.reset();
    tracing::info!(coordinator = %welcome.coordinator, "session begun");
    let session = Session {
        options,
        executor,
        coordinator: welcome.coordinator.clone(),
        files: files::Files::default(),
        beats: Beats::new(hello_ms),
        begun_ms: hello_ms,
        told: 0,
        all_told: Instant::now(),
    };
    if !executor.send(Request::Attach { coordinator: welcome.coordinator.clone(), up: up.clone() }).await {
        return Ended::Executor;
    }
    let weak = up.downgrade();
    let period = Duration::from_millis(welcome.heartbeat_ms.max(50)).min(options.heartbeat_max);
    // From here on only the executor (and what this session is answering) keeps the channel open: when the executor
    // drops its end, the session is over.
    drop(up);
    let ended = session.carry(down, weak.clone(), period).await;
    if let Some(up) = weak.upgrade() {
        executor.send(Request::Detach { coordinator: welcome.coordinator, up }).await;
    }
    ended
}

/// One coordinator must not speak for another: an order is obeyed because of who announced the reign.
fn check_name(said: &str, peer: &Peer) -> Result<(), Ended> {
    let proven = peer.name().map(|name| name.to_string()).unwrap_or_default();
    if proven == said && !said.is_empty() {
        return Ok(());
    }
    Err(Ended::Impostor { said: said.to_owned(), proven })
}

struct Session<'a> {
    options: &'a Options,
    executor: &'a Handle,
    coordinator: String,
    files: files::Files,
    beats: Beats,
    /// The version of what was seen of components that the coordinator has been told.
    /// When it was begun, by the clock that counts sleep.
    begun_ms: u64,
    told: u64,
    all_told: Instant,
}

impl Session<'_> {
    async fn carry(
        mut self,
        mut down: tonic::Streaming<pb::ToAgent>,
        up: mpsc::WeakSender<pb::FromAgent>,
        wished: Duration,
    ) -> Ended {
        let mut pulse = self.options.post.pulse();
        let mut known = *pulse.borrow_and_update();
        let mut heard = Instant::now();
        let mut beaten: Option<Instant> = None;
        loop {
            let period = beats::period(wished, self.options.post.shortest(), self.options.post.wants_word());
            let next = beaten.map_or_else(Instant::now, |beaten| beaten + period);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    if heard.elapsed() >= wished * HEARTBEATS_MISSED_MAX {
                        return Ended::Silent("answer to a heartbeat");
                    }
                    let Some(up) = up.upgrade() else { return Ended::Slow };
                    self.beat(&up);
                    self.tell(&up);
                    beaten = Some(Instant::now());
                }
                () = tokio::time::sleep_until(self.all_told + TELL_ALL) => {
                    (self.told, self.all_told) = (0, Instant::now());
                    let Some(up) = up.upgrade() else { return Ended::Slow };
                    self.tell(&up);
                }
                changed = changed(&mut pulse) => {
                    let before = std::mem::replace(&mut known, changed);
                    // What came in this session before the gap is not done: in another one it is said again.
                    let lost = changed.lost_ms != before.lost_ms && self.begun_ms <= changed.lost_ms;
                    if changed.paused != before.paused || lost {
                        return Ended::Stale;
                    }
                    let Some(up) = up.upgrade() else { return Ended::Slow };
                    if changed.tenures != before.tenures {
                        self.beat(&up);
                        beaten = Some(Instant::now());
                    }
                    self.tell(&up);
                }
                message = down.message() => {
                    let message = match message {
                        Ok(Some(pb::ToAgent { message: Some(message) })) => message,
                        // A message of a newer coordinator: nothing that this version could act on.
                        Ok(Some(pb::ToAgent { message: None })) => continue,
                        Ok(None) => return Ended::Stream,
                        Err(status) => return status.into(),
                    };
                    // Anything that comes shows that the other side is there.
                    heard = Instant::now();
                    if let Err(ended) = self.receive(message, &up).await {
                        return ended;
                    }
                }
                () = self.files.progress() => {}
            }
        }
    }

    fn beat(&mut self, up: &mpsc::Sender<pb::FromAgent>) {
        // Before what it says is looked up: a lease counts from here.
        let sent_monotonic_ms = self.options.clock.boot_ms();
        let sequence = self.beats.send(sent_monotonic_ms);
        let tenures = assignment::tenures(&self.options.post.tenures()).into();
        let beat = pb::Heartbeat { sequence, sent_monotonic_ms, tenures };
        // Full: the coordinator does not read, and the count will tell.
        let _ = up.try_send(pb::FromAgent { message: Some(Up::Heartbeat(beat)) });
    }

    /// What was seen of components and is new to this coordinator. Where there is no room, with the next heartbeat.
    fn tell(&mut self, up: &mpsc::Sender<pb::FromAgent>) {
        let (seen, version) = self.options.post.seen_since(self.told);
        if seen.is_empty()
            || up.try_send(pb::FromAgent { message: Some(Up::Probed(assignment::probed(&seen))) }).is_ok()
        {
            self.told = version;
        }
    }

    async fn receive(&mut self, message: Down, up: &mpsc::WeakSender<pb::FromAgent>) -> Result<(), Ended> {
        let from = self.coordinator.clone();
        let heard_ms = self.options.clock.boot_ms();
        let answered = match &message {
            Down::HeartbeatReply(reply) => self.beats.answered(reply.sequence),
            _ => None,
        };
        let post = &self.options.post;
        if self.beats.is_stale(post.shortest(), heard_ms) {
            return Err(Ended::Stale);
        }
        let request = match message {
            Down::Welcome(_) => return Ok(()),
            Down::HeartbeatReply(reply) => {
                let renewals = reply.renewals.into_iter().map(assignment::parse_renewal);
                let renewals = renewals.collect::<Result<Vec<_>, _>>()?;
                if let Some(sent_ms) = answered {
                    post.confirmed(&from, reply.confirmed_term, sent_ms, &renewals);
                }
                return Ok(());
            }
            Down::Assign(message) => {
                let assigning = assignment::parse_assign(message)?;
                // It may be what says how long an old word counts.
                if self.beats.is_stale(assignments::shortest(&assigning.assignments), heard_ms) {
                    return Err(Ended::Stale);
                }
                Request::Assign { from, assigning, heard_ms }
            }
            Down::DeedsKept(message) => Request::DeedsKept { from, number: message.number },
            Down::Reign(message) => Request::Reign { from, accession: wire::parse_reign(message)? },
            Down::Raise(message) => Request::Raise { from, raised: wire::parse_raise(message)? },
            Down::Execute(message) => Request::Execute { from, order: wire::parse_execute(message)?, heard_ms },
            Down::Forget(message) => Request::Forget { from, task: wire::parse_task_id("Forget", message.task)? },
            Down::Observe(message) => Request::Observe {
                from,
                request: message.request,
                action: parse_action(&message.action, &message.params),
                timeout: Span(message.timeout_ms),
            },
            Down::Sample(message) => Request::Sample {
                from,
                request: message.request,
                action: parse_action(&message.action, &message.params),
                timeout: Span(message.timeout_ms),
            },
            Down::ReadFile(message) => {
                let up = up.upgrade().ok_or(Ended::Slow)?;
                self.files.stream(&self.options.state_directory, message, up);
                return Ok(());
            }
        };
        if self.executor.send(request).await { Ok(()) } else { Err(Ended::Executor) }
    }
}

async fn changed(pulse: &mut watch::Receiver<Pulse>) -> Pulse {
    match pulse.changed().await {
        Ok(()) => *pulse.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

fn parse_action(action: &str, params: &[u8]) -> Result<Action, Fault> {
    let wrong = |reason: String| Fault::new("BTN-0497", reason, "Install the same version on agents and coordinators.");
    let params = serde_json::from_slice(params).map_err(|error| wrong(format!("params: {error}")))?;
    Action::parse(action, &params).map_err(|error| wrong(error.to_string()))
}
