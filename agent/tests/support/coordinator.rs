//! A coordinator of the smallest kind, for tests: real TLS, real gRPC, and a script instead of a mind.

pub mod world;

use std::{path::Path, sync::Arc, time::Duration};

use baton_model::{
    assignment::{Assignment, Deed, Seen, Tenure},
    fence::{Fence, Reign},
    ids::{StepId, TaskId},
    order::Order,
    outcome::{Fault, Report},
    time::Span,
};
use baton_platform::{
    address::Address,
    ca::{CertificateAuthority, CreateOptions, IssueOptions},
    clock::SystemClock,
    listen::TcpListen,
    tls::{AcceptOptions, Incoming, ReloadableTls},
};
use baton_proto::v1::{
    self as pb,
    agent_sessions_server::{AgentSessions, AgentSessionsServer},
    from_agent::Message as Up,
    to_agent::Message as Down,
};
use baton_wire::{
    agent as wire,
    assignment::{self, Assigning, Renewal},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// An authority in a directory, and identities beside it.
pub fn authority(directory: &Path) -> CertificateAuthority {
    let options = CreateOptions::named("test".parse().expect("a name"));
    CertificateAuthority::create(&directory.join("ca"), &options, &SystemClock::new()).expect("an authority")
}

pub fn agent_identity(authority: &CertificateAuthority, directory: &Path, host: &str) -> std::path::PathBuf {
    let issued = authority
        .issue_agent(&host.parse().expect("a name"), &IssueOptions::default(), &SystemClock::new())
        .expect("issued");
    let place = directory.join(format!("agent-{host}"));
    issued.write(&place).expect("written");
    place
}

/// One session of an agent, as the coordinator sees it.
pub struct Peer {
    up: Streaming<pb::FromAgent>,
    down: mpsc::Sender<Result<pb::ToAgent, Status>>,
    /// Everything that came and was not waited for.
    pub log: Vec<Up>,
    /// What heartbeats are answered with: the term that was confirmed (0: none), and the leases that go on.
    pub confirms: u64,
    pub renews: Vec<Renewal>,
    /// Of the last heartbeat.
    pub tenures: Vec<Tenure>,
    /// What the agent said of its components last.
    pub seen: Vec<Seen>,
    /// What it did on its own account, as often as it was sent.
    pub deeds: Vec<Deed>,
}

pub struct Coordinator {
    pub address: Address,
    sessions: mpsc::Receiver<Peer>,
    _stop: tokio_util::sync::DropGuard,
}

struct Service {
    name: String,
    sessions: mpsc::Sender<Peer>,
}

#[tonic::async_trait]
impl AgentSessions for Service {
    type SessionStream = ReceiverStream<Result<pb::ToAgent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        baton_platform::identity::require_agent(&request)?;
        let (down, messages) = mpsc::channel(64);
        let welcome = pb::Welcome { coordinator: self.name.clone(), heartbeat_ms: 200 };
        down.send(Ok(pb::ToAgent { message: Some(Down::Welcome(welcome)) })).await.expect("the stream is open");
        let peer = Peer {
            up: request.into_inner(),
            down,
            log: Vec::new(),
            confirms: 0,
            renews: Vec::new(),
            tenures: Vec::new(),
            seen: Vec::new(),
            deeds: Vec::new(),
        };
        self.sessions.send(peer).await.map_err(|_| Status::unavailable("the test has ended"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Coordinator {
    pub async fn start(authority: &CertificateAuthority, directory: &Path, name: &str) -> Self {
        let issued = authority
            .issue_coordinator(
                &name.parse().expect("a name"),
                &["127.0.0.1".to_owned()],
                &IssueOptions::default(),
                &SystemClock::new(),
            )
            .expect("issued");
        let place = directory.join(format!("coordinator-{name}"));
        issued.write(&place).expect("written");
        Self::start_as(name, &place).await
    }

    /// With any identity: also one that is no coordinator's.
    pub async fn start_as(name: &str, identity: &Path) -> Self {
        let tls: Arc<ReloadableTls> = ReloadableTls::load(identity).expect("an identity");
        let stop = CancellationToken::new();
        let listen = TcpListen::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let incoming = Incoming::start(listen, tls, AcceptOptions::default(), stop.clone());
        let address = Address::from(incoming.local_addr().expect("a port"));
        let (sender, sessions) = mpsc::channel(8);
        let service = AgentSessionsServer::new(Service { name: name.to_owned(), sessions: sender });
        let server = AcceptOptions::default().server().add_service(service);
        let ended = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = server.serve_with_incoming(incoming) => served.expect("served"),
                () = ended.cancelled() => {}
            }
        });
        Self { address, sessions, _stop: stop.drop_guard() }
    }

    /// The next session that an agent opens; its Hello has come.
    pub async fn peer(&mut self) -> Peer {
        let mut peer = tokio::time::timeout(PATIENCE, self.sessions.recv()).await.expect("in time").expect("a session");
        peer.wait("Hello", |message| matches!(message, Up::Hello(_)).then_some(())).await;
        peer
    }

    /// Whether an agent opens a session within this time.
    pub async fn is_called(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.sessions.recv()).await.is_ok()
    }
}

impl Peer {
    pub async fn send(&self, message: Down) {
        self.down.send(Ok(pb::ToAgent { message: Some(message) })).await.expect("the session is open");
    }

    /// Reads on until something fits; answers heartbeats meanwhile.
    pub async fn wait<T>(&mut self, what: &str, mut fits: impl FnMut(&Up) -> Option<T>) -> T {
        let reading = async {
            loop {
                let message = self.read().await;
                if let Some(found) = fits(&message) {
                    return found;
                }
                self.log.push(message);
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{what} did not come in time"))
    }

    /// The next message; what an agent says all the time is taken down, and heartbeats are answered.
    async fn read(&mut self) -> Up {
        let message = self.up.message().await.expect("the session goes on").expect("the session goes on");
        let message = message.message.expect("a known message");
        match &message {
            Up::Heartbeat(beat) => {
                self.tenures = assignment::parse_tenures(&beat.tenures).expect("well formed");
                let reply = pb::HeartbeatReply {
                    sequence: beat.sequence,
                    // An agent that counts from here counts wrong.
                    sent_monotonic_ms: beat.sent_monotonic_ms + 3_600_000,
                    confirmed_term: self.confirms,
                    renewals: self.renews.iter().map(assignment::renewal).collect(),
                };
                self.send(Down::HeartbeatReply(reply)).await;
            }
            Up::Probed(probed) => {
                for seen in assignment::parse_probed(probed).expect("well formed") {
                    self.seen.retain(|old| (&old.group, &old.component) != (&seen.group, &seen.component));
                    self.seen.push(seen);
                }
            }
            Up::Deeds(deeds) => self.deeds.extend(assignment::parse_deeds(deeds).expect("well formed")),
            _ => {}
        }
        message
    }

    /// Reads and answers until something holds, of what came or of the world.
    pub async fn until(&mut self, what: &str, holds: impl AsyncFn(&Peer) -> bool) {
        let reading = async {
            while !holds(self).await {
                // A message that is read in part is not lost: the stream keeps it.
                if let Ok(message) = tokio::time::timeout(Duration::from_millis(10), self.read()).await {
                    self.log.push(message);
                }
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            panic!("{what} did not come true; tenures {:?}, seen {:?}, deeds {:?}", self.tenures, self.seen, self.deeds)
        }
    }

    /// Assigns under a reign and an index, and does not wait.
    pub async fn assign(&self, (term, index): (u64, u64), assignments: &[Assignment]) {
        let fence = Fence { generation: 1, term, index };
        let assigning = Assigning { request: index, fence, assignments: assignments.to_vec() };
        self.send(Down::Assign(assignment::assign(&assigning))).await;
    }

    pub async fn assigned(&mut self, index: u64) {
        self.wait("Assigned", |message| match message {
            Up::Assigned(answer) => (answer.index == index).then_some(()),
            _ => None,
        })
        .await
    }

    /// Renews the lease of these, from the next heartbeat on.
    pub fn renew(&mut self, term: u64, assignments: &[Assignment]) {
        self.confirms = term;
        let of = |assignment: &Assignment| Renewal {
            group: assignment.group.clone(),
            epoch: assignment.epoch,
            index: assignment.index,
            lasts: assignment.lease.expect("a lease").lasts,
        };
        self.renews = assignments.iter().map(of).collect();
    }

    /// Announces a reign and waits until it is acknowledged.
    pub async fn reign(&mut self, term: u64) -> wire::Acknowledgement {
        let reign = Reign { generation: 1, term };
        let accession = wire::Accession { request: term, reign, marks: Vec::new(), floors: Vec::new() };
        self.send(Down::Reign(wire::reign(&accession))).await;
        self.acknowledged(term).await
    }

    pub async fn acknowledged(&mut self, request: u64) -> wire::Acknowledgement {
        self.wait("Acknowledged", |message| match message {
            Up::Acknowledged(answer) if answer.request == request => {
                Some(wire::parse_acknowledged(answer.clone()).expect("well formed"))
            }
            _ => None,
        })
        .await
    }

    pub async fn execute(&mut self, order: &Order) {
        self.send(Down::Execute(wire::execute(order))).await;
    }

    pub async fn accepted(&mut self, task: &TaskId) {
        let wanted = wire::task_id(task);
        self.wait("Accepted", |message| match message {
            Up::Accepted(accepted) => (accepted.task.as_ref() == Some(&wanted)).then_some(()),
            _ => None,
        })
        .await
    }

    pub async fn finished(&mut self, task: &TaskId) -> Report {
        self.wait("Finished", |message| match message {
            Up::Finished(finished) => {
                let (of, _, report) = wire::parse_finished(finished.clone()).expect("well formed");
                (of == *task).then_some(report)
            }
            _ => None,
        })
        .await
    }

    pub async fn declined(&mut self, task: &TaskId) -> Fault {
        self.wait("Declined", |message| match message {
            Up::Declined(declined) => {
                let (of, fault, _) = wire::parse_declined(declined.clone()).expect("well formed");
                (of == *task).then_some(fault)
            }
            _ => None,
        })
        .await
    }
}

/// An `exec.run` of a shell script, which appends what it does to a file.
pub fn order(host: &str, step: &str, (term, index): (u64, u64), script: &str, timeout: Span) -> Order {
    exec(host, step, (term, index), serde_json::json!({ "argv": ["/bin/sh", "-c", script] }), timeout)
}

pub fn exec(host: &str, step: &str, (term, index): (u64, u64), params: serde_json::Value, timeout: Span) -> Order {
    let task = TaskId {
        run: "g-1".parse().expect("a run"),
        step: StepId(step.to_owned()),
        host: host.parse().expect("a host"),
        attempt: 1,
    };
    Order { task, fence: Fence { generation: 1, term, index }, action: "exec.run".to_owned(), params, timeout }
}
