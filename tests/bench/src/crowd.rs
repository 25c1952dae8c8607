//! Many agents in one process: each with a certificate and connections of its own, speaking the agents' protocol. What they
//! are ordered they answer at once, as done; what a real agent does in between is measured elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use baton_model::{
    outcome::{Outcome, Report},
    time::Moment,
};
use baton_platform::{
    address::Address,
    ca::{CertificateAuthority, IssueOptions},
    clock::{Clock as _, SystemClock},
    tls::Connector,
};
use baton_proto::v1::{
    Finished, FromAgent, Heartbeat, Hello, ToAgent, agent_sessions_client::AgentSessionsClient,
    from_agent::Message as Up, to_agent::Message as Down,
};
use baton_wire::agent as wire;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::ground;

/// Handshakes at once: more would only wait at the coordinators.
const CONNECTING_MAX: usize = 64;

/// As often as an agent tells an outcome again.
const RESEND: Duration = Duration::from_secs(3);

/// What has happened to all of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub welcomed: usize,
    pub acknowledged: usize,
    pub ordered: usize,
    /// Outcomes that are committed, as the coordinators told.
    pub forgotten: usize,
    /// Outcomes told again, as an agent does when it has not been told to forget.
    pub repeated: usize,
    pub lost: usize,
}

/// Dropped, they leave.
pub struct Crowd {
    tally: watch::Receiver<Tally>,
    sender: Arc<watch::Sender<Tally>>,
    connecting: Arc<Semaphore>,
    stop: CancellationToken,
    present: TaskTracker,
}

pub fn host(number: usize) -> String {
    format!("h{number:05}")
}

/// Certificates of hosts `first..end`, a folder each.
pub fn identities(authority: &Path, folder: &Path, first: usize, end: usize) -> Result<Vec<PathBuf>> {
    let authority = CertificateAuthority::open(authority)?;
    fs::create_dir_all(folder)?;
    let issue = |number: usize| {
        let path = folder.join(host(number));
        let issued =
            authority.issue_agent(&ground::name(&host(number))?, &IssueOptions::default(), &SystemClock::new())?;
        issued.write(&path)?;
        Ok(path)
    };
    (first..end).map(issue).collect()
}

impl Crowd {
    pub fn new() -> Self {
        let (sender, tally) = watch::channel(Tally::default());
        let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
        Self {
            tally,
            sender: Arc::new(sender),
            connecting,
            stop: CancellationToken::new(),
            present: TaskTracker::new(),
        }
    }

    /// More agents, each with a session to every one of these coordinators.
    pub fn join(&self, identities: &[PathBuf], coordinators: &[Address]) -> Result<()> {
        for (number, identity) in identities.iter().enumerate() {
            let connector = ground::connector(identity)?;
            for address in coordinators {
                let agent = Agent {
                    connector: connector.clone(),
                    address: address.clone(),
                    tally: self.sender.clone(),
                    connecting: self.connecting.clone(),
                    // Heartbeats spread over their period.
                    offset: number as f64 / identities.len() as f64,
                };
                let stop = self.stop.clone();
                self.present.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        ended = agent.attend() => {
                            let mut first = false;
                            agent.tally.send_modify(|tally| {
                                first = tally.lost == 0;
                                tally.lost += 1;
                            });
                            if let (true, Err(error)) = (first, ended) {
                                eprintln!("the first session that was lost: {error:#}");
                            }
                        }
                    }
                });
            }
        }
        Ok(())
    }

    /// All of them go, before their coordinators do: otherwise they would be seen to lose them.
    pub async fn leave(self) {
        self.stop.cancel();
        self.present.close();
        self.present.wait().await;
    }

    pub fn tally(&self) -> Tally {
        *self.tally.borrow()
    }

    /// Waits for this to be so, and says when.
    pub async fn wait(&self, what: &str, within: Duration, holds: impl Fn(&Tally) -> bool) -> Result<Instant> {
        let mut tally = self.tally.clone();
        let waited = tokio::time::timeout(within, tally.wait_for(|tally| holds(tally))).await;
        match waited {
            Ok(Ok(_)) => Ok(Instant::now()),
            _ => bail!("not within {within:?}: {what}; {:?}", self.tally()),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Agent {
    connector: Connector,
    address: Address,
    tally: Arc<watch::Sender<Tally>>,
    connecting: Arc<Semaphore>,
    offset: f64,
}

impl Agent {
    async fn attend(&self) -> Result<()> {
        let turn = self.connecting.acquire().await?;
        let (up, messages) = mpsc::channel(64);
        let hello =
            Hello { version: env!("CARGO_PKG_VERSION").to_owned(), boot: "bench".to_owned(), ..Hello::default() };
        up.try_send(FromAgent { message: Some(Up::Hello(hello)) }).context("say hello")?;
        let mut client = AgentSessionsClient::new(self.connector.channel(&self.address));
        let mut down = client.session(ReceiverStream::new(messages)).await.context("open a session")?.into_inner();
        let first = down.message().await?.and_then(|message| message.message);
        let Some(Down::Welcome(welcome)) = first else { bail!("the first message was not Welcome") };
        drop(turn);
        self.tally.send_modify(|tally| tally.welcomed += 1);
        let period = Duration::from_millis(welcome.heartbeat_ms.max(50));
        let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + period.mul_f64(self.offset), period);
        let mut sequence = 0;
        let mut untold: Vec<(Finished, Instant)> = Vec::new();
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    sequence += 1;
                    let beat = Heartbeat { sequence, sent_monotonic_ms: 0, tenures: Default::default() };
                    up.send(FromAgent { message: Some(Up::Heartbeat(beat)) }).await?;
                    for (finished, told) in untold.iter_mut().filter(|(_, told)| told.elapsed() >= RESEND) {
                        *told = Instant::now();
                        self.tally.send_modify(|tally| tally.repeated += 1);
                        up.send(FromAgent { message: Some(Up::Finished(finished.clone())) }).await?;
                    }
                }
                message = down.message() => match message? {
                    Some(ToAgent { message: Some(message) }) => {
                        if let Down::Forget(forget) = &message {
                            untold.retain(|(finished, _)| finished.task != forget.task);
                        }
                        if let Some(answer) = self.take(message)? {
                            if let Up::Finished(finished) = &answer {
                                untold.push((finished.clone(), Instant::now()));
                            }
                            up.send(FromAgent { message: Some(answer) }).await?;
                        }
                    }
                    Some(ToAgent { message: None }) => {}
                    None => bail!("the coordinator ended the session"),
                },
            }
        }
    }

    fn take(&self, message: Down) -> Result<Option<Up>> {
        Ok(match message {
            Down::Reign(message) => {
                let accession = wire::parse_reign(message)?;
                self.tally.send_modify(|tally| tally.acknowledged += 1);
                let answer = wire::Acknowledgement {
                    request: accession.request,
                    reign: accession.reign,
                    index: 0,
                    open_tasks: Vec::new(),
                };
                Some(Up::Acknowledged(wire::acknowledged(&answer)))
            }
            Down::Execute(message) => {
                let order = wire::parse_execute(message)?;
                self.tally.send_modify(|tally| tally.ordered += 1);
                Some(Up::Finished(wire::finished(&order.task, order.fence, &done())))
            }
            Down::Forget(_) => {
                self.tally.send_modify(|tally| tally.forgotten += 1);
                None
            }
            Down::Raise(_)
            | Down::Welcome(_)
            | Down::HeartbeatReply(_)
            | Down::Observe(_)
            | Down::Sample(_)
            | Down::Assign(_)
            | Down::DeedsKept(_)
            | Down::ReadFile(_) => None,
        })
    }
}

/// As an agent reports a program that went well.
fn done() -> Report {
    let now = Moment(SystemClock::new().now_unix_ms());
    Report {
        outcome: Outcome::Changed,
        summary: "/bin/true ended with exit code 0".to_owned(),
        fault: None,
        output: Default::default(),
        data: serde_json::json!({ "exit_code": 0 }),
        attachments: Vec::new(),
        started: now,
        ended: now,
    }
}
