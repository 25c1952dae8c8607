//! Asks coordinators: finds the one that answers, follows redirects, repeats what was not answered.
//!
//! Apart because "who do I ask, and when do I give up" is the same for every command. It must never repeat a change
//! under a new request id (the coordinators then take it for a second change), and never report a change that was not
//! answered as one that did not happen.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use baton_model::{bill::Bill, ids::RunId, outcome::Fault, view::PlanView};
use baton_platform::{
    address::Address,
    backoff::{Backoff, BackoffOptions},
    dial::TcpDial,
    random::Random,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use baton_proto::v1::{
    ActRequest, ApplyRequest, ClusterRequest, GetRequest, ListRequest, PlanRequest, ReadTaskFileRequest, StartRequest,
    WatchReply, WatchRequest, operator_client::OperatorClient,
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    exit::Exit,
    failure::{Failure, code},
    settings::Settings,
};

mod verdict;

pub use verdict::{Verdict, judge};

/// A run of a thousand hosts with their output fits.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A coordinator whose site is gone does not refuse: it is silent. The next one is asked after this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An election takes less than a second; there is no point in asking more often than this, or less.
const BACKOFF: BackoffOptions =
    BackoffOptions { first: Duration::from_millis(50), max: Duration::from_secs(1), least: Duration::from_millis(20) };
/// So many redirects without a pause; coordinators that point at each other are in an election.
const REDIRECTS_MAX: u32 = 3;

type Stub = OperatorClient<Channel>;

/// A run that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub run: RunId,
    /// The data-loss bill that it started with, where data may be lost.
    pub bill: Option<Bill>,
}

/// What a call is, for the message when it has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    /// And may have happened although no answer came.
    Changes,
}

pub struct Client {
    connector: Connector,
    /// In the order they were named; the first one is asked first.
    coordinators: Vec<Address>,
    /// Where the last answer came from, or a redirect led.
    preferred: Option<Address>,
    next: usize,
    channels: BTreeMap<Address, Channel>,
    random: Random,
    timeout: Duration,
}

impl Client {
    /// Reads the identity; connects to nobody yet.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let tls = ReloadableTls::load(&settings.identity)?;
        if !tls.material().valid_at(std::time::SystemTime::now()) {
            return Err(Failure::new(
                Exit::Usage,
                code::CERTIFICATE_ENDED,
                format!("the certificate in {} is not valid today.", settings.identity.display()),
                "Renew it with \"baton ca operator --replace\", or set the clock.",
            ));
        }
        let options =
            ConnectOptions { connect_timeout: CONNECT_TIMEOUT.min(settings.timeout), ..ConnectOptions::default() };
        let connector = Connector::new(Arc::new(TcpDial), tls, options);
        Ok(Self::over(connector, settings.coordinators.clone(), Random::from_system(), settings.timeout))
    }

    /// Over any network. `coordinators`: at least one.
    pub fn over(connector: Connector, coordinators: Vec<Address>, random: Random, timeout: Duration) -> Self {
        Self { connector, coordinators, preferred: None, next: 0, channels: BTreeMap::new(), random, timeout }
    }

    /// A new name for a change: repeated under it, the change is answered, and not done twice.
    pub fn request_id(&self) -> String {
        self.random.bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub async fn apply<T: DeserializeOwned>(&mut self, request: ApplyRequest) -> Result<T, Failure> {
        let reply = self.call(Effect::Changes, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.apply(request).await }
        });
        document(&reply.await?.document)
    }

    pub async fn plan(&mut self, request: PlanRequest) -> Result<PlanView, Failure> {
        let reply = self.call(Effect::Reads, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.plan(request).await }
        });
        document(&reply.await?.document)
    }

    pub async fn start(&mut self, request: StartRequest) -> Result<Started, Failure> {
        let reply = self.call(Effect::Changes, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.start(request).await }
        });
        let reply = reply.await?;
        let bill = if reply.bill.is_empty() { None } else { Some(document(&reply.bill)?) };
        Ok(Started { run: reply.run.parse().map_err(not_understood)?, bill })
    }

    pub async fn act<T: DeserializeOwned>(&mut self, request: ActRequest) -> Result<T, Failure> {
        let reply = self.call(Effect::Changes, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.act(request).await }
        });
        document(&reply.await?.document)
    }

    pub async fn get<T: DeserializeOwned>(&mut self, kind: &str, name: &str) -> Result<T, Failure> {
        let request = GetRequest { kind: kind.to_owned(), name: name.to_owned() };
        let reply = self.call(Effect::Reads, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.get(request).await }
        });
        document(&reply.await?.json)
    }

    pub async fn list<T: DeserializeOwned>(&mut self, kind: &str, group: &str) -> Result<T, Failure> {
        let request = ListRequest { kind: kind.to_owned(), group: group.to_owned() };
        let reply = self.call(Effect::Reads, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.list(request).await }
        });
        document(&reply.await?.json)
    }

    pub async fn cluster<T: DeserializeOwned>(&mut self, request: ClusterRequest) -> Result<T, Failure> {
        let reply = self.call(Effect::Changes, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.cluster(request).await }
        });
        document(&reply.await?.json)
    }

    /// A task's file, whole. Begun again from the start where it broke off.
    pub async fn read_task_file(&mut self, request: ReadTaskFileRequest) -> Result<Vec<u8>, Failure> {
        self.call(Effect::Reads, |mut stub: Stub| {
            let request = request.clone();
            async move {
                let mut chunks = stub.read_task_file(request).await?.into_inner();
                let mut content = Vec::new();
                while let Some(chunk) = chunks.message().await? {
                    content.extend_from_slice(&chunk.content);
                }
                Ok(tonic::Response::new(content))
            }
        })
        .await
    }

    /// Views of a run, from now on. The stream breaks off when its coordinator ends; open it again then.
    pub async fn watch(&mut self, run: &RunId) -> Result<Streaming<WatchReply>, Failure> {
        let request = WatchRequest { run: run.to_string() };
        self.call(Effect::Reads, |mut stub: Stub| {
            let request = request.clone();
            async move { stub.watch(request).await }
        })
        .await
    }

    /// The stream from the preferred coordinator broke off: what it said decides who is asked next. An error is final.
    pub fn broke_off(&mut self, status: &Status) -> Result<(), Failure> {
        match judge(status) {
            Verdict::Follow(leader) => self.preferred = leader,
            Verdict::Elsewhere { .. } => self.give_up_preferred(),
            Verdict::Final(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Who is asked next, for people.
    pub fn asking(&self) -> &Address {
        self.preferred.as_ref().unwrap_or(&self.coordinators[self.next])
    }

    async fn call<T, F>(&mut self, effect: Effect, ask: impl Fn(Stub) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let deadline = Instant::now() + self.timeout;
        let mut backoff = Backoff::new(BACKOFF);
        let mut said: BTreeMap<Address, String> = BTreeMap::new();
        let (mut redirects, mut may_have_happened, mut answered) = (0, false, false);
        loop {
            let address = self.asking().clone();
            let stub = self.stub(&address);
            let status = match timeout_at(deadline, ask(stub)).await {
                Ok(Ok(reply)) => {
                    self.preferred = Some(address);
                    return Ok(reply.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => {
                    said.insert(address, "no answer".to_owned());
                    return Err(self.no_answer(effect == Effect::Changes, answered, &said));
                }
            };
            match judge(&status) {
                Verdict::Final(failure) => return Err(failure),
                Verdict::Follow(leader) => {
                    answered = true;
                    said.insert(address.clone(), status.message().to_owned());
                    let known = leader.filter(|leader| *leader != address && redirects < REDIRECTS_MAX);
                    if let Some(leader) = known {
                        redirects += 1;
                        self.preferred = Some(leader);
                        continue;
                    }
                    self.give_up_preferred();
                }
                Verdict::Elsewhere { why, reached } => {
                    may_have_happened |= reached;
                    said.insert(address, why);
                    self.give_up_preferred();
                }
            }
            redirects = 0;
            // Everyone is asked once before the first wait.
            if said.len() >= self.coordinators.len() {
                let wait = backoff.next(&self.random);
                if Instant::now() + wait >= deadline {
                    return Err(self.no_answer(effect == Effect::Changes && may_have_happened, answered, &said));
                }
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn give_up_preferred(&mut self) {
        let given_up = self.asking().clone();
        self.preferred = None;
        self.next = (self.next + 1) % self.coordinators.len();
        if self.coordinators[self.next] == given_up {
            self.next = (self.next + 1) % self.coordinators.len();
        }
    }

    fn stub(&mut self, address: &Address) -> Stub {
        let connector = &self.connector;
        let channel = self.channels.entry(address.clone()).or_insert_with(|| connector.channel(address));
        OperatorClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn no_answer(&self, may_have_happened: bool, answered: bool, said: &BTreeMap<Address, String>) -> Failure {
        let each: Vec<String> = said.iter().map(|(address, what)| format!("{address}: {what}")).collect();
        let (each, timeout) = (each.join("; "), self.timeout);
        let fault = if may_have_happened {
            Fault::new(
                code::ANSWER_UNKNOWN,
                format!("no answer within {timeout:?}, and nobody here can tell whether the change was made ({each})."),
                "Look with \"baton status\" and \"baton runs\" before you ask again.",
            )
        } else if answered {
            Fault::new(
                code::NO_LEADER,
                format!("coordinators answer, but none leads, for {timeout:?} ({each})."),
                "A majority of them must run and reach each other.",
            )
        } else {
            Fault::new(
                code::UNREACHABLE,
                format!("no coordinator can be reached ({each})."),
                "Check the addresses, and that this identity is of the same authority.",
            )
        };
        Failure { exit: Exit::Unreachable, fault }
    }
}

/// A document of the model's, as the coordinators write it.
pub fn document<T: DeserializeOwned>(json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(not_understood)
}

fn not_understood(error: impl std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Failed,
        code::NOT_UNDERSTOOD,
        format!("the coordinator's answer is not understood: {error}."),
        "Its version may be newer than this command's; see \"baton version\".",
    )
}
