//! One node of the log with a plain map of keys above it: what of Baton can be compared with etcd.
//!
//! Runs as a process of its own, started by [`crate::nodes`]: this program with `node` as its first word. Log, TLS and
//! server are those of the coordinator, with its defaults.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use baton_log::{Application, AppliedEntry, Log, Node, Options, ProposeError, Storage};
use baton_platform::{
    address::Address,
    dial::TcpDial,
    identity::require_coordinator,
    listen::TcpListen,
    tls::{AcceptOptions, ConnectOptions, Connector, Incoming, ReloadableTls},
};
use bytes::Bytes;
use clap::Args;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::kv::{
    KeyValue, PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader, StatusRequest, StatusResponse,
    kv_server::{Kv, KvServer},
    maintenance_server::{Maintenance, MaintenanceServer},
};

const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);

/// How a node is started.
#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(long)]
    pub id: u64,
    #[arg(long)]
    pub identity: PathBuf,
    #[arg(long)]
    pub data: PathBuf,
    /// Every node's address, in the order of their numbers, which begin at 1.
    #[arg(long, value_delimiter = ',')]
    pub members: Vec<SocketAddr>,
    /// Make the cluster.
    #[arg(long)]
    pub bootstrap: bool,
}

/// The keys.
#[derive(Default)]
struct Keys(BTreeMap<Bytes, Bytes>);

impl Application for Keys {
    fn apply(&mut self, entry: AppliedEntry<'_>) -> Result<Vec<u8>, String> {
        let put = PutRequest::decode(entry.payload).expect("only this program writes to its log");
        self.0.insert(put.key, put.value);
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Vec<u8> {
        let kvs = self.0.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() }).collect();
        RangeResponse { header: None, kvs }.encode_to_vec()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let contents = RangeResponse::decode(snapshot).map_err(|error| error.to_string())?;
        self.0 = contents.kvs.into_iter().map(|pair| (pair.key, pair.value)).collect();
        Ok(())
    }
}

#[derive(Clone)]
struct Server {
    id: u64,
    log: Log<Keys>,
}

impl Server {
    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { member_id: self.id })
    }
}

fn status_of(error: ProposeError) -> Status {
    match error {
        ProposeError::Timeout => Status::deadline_exceeded(error.to_string()),
        other => Status::failed_precondition(other.to_string()),
    }
}

#[tonic::async_trait]
impl Kv for Server {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let payload = request.into_inner().encode_to_vec();
        self.log.propose(payload, PROPOSE_DEADLINE).await.map_err(status_of)?;
        Ok(Response::new(PutResponse { header: self.header() }))
    }

    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        self.log.read_index().await.map_err(status_of)?;
        let key = request.into_inner().key;
        let found = self.log.with(|keys| keys.0.get(&key).cloned());
        let kvs = found.into_iter().map(|value| KeyValue { key: key.clone(), value }).collect();
        Ok(Response::new(RangeResponse { header: self.header(), kvs }))
    }
}

#[tonic::async_trait]
impl Maintenance for Server {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let leader = self.log.leadership().borrow().leader_id.unwrap_or(0);
        let raft_index = *self.log.applied().borrow();
        Ok(Response::new(StatusResponse { header: self.header(), leader, raft_index }))
    }
}

/// Serves until it is killed.
pub async fn run(arguments: Arguments) -> Result<()> {
    let number = usize::try_from(arguments.id)?;
    ensure!((1..=arguments.members.len()).contains(&number), "--id must be one of --members");
    let listen = arguments.members[number - 1];
    let tls = ReloadableTls::load(&arguments.identity)?;
    let connector = Connector::new(Arc::new(TcpDial), tls.clone(), ConnectOptions::default());
    let peers = move |_: u64, node: &Node| {
        let address: Address = node.address.parse().map_err(|error| format!("{error}"))?;
        Ok(connector.channel(&address))
    };
    let options = Options::new(arguments.id, format!("c{}", arguments.id));
    let log = Log::open(options, storage(&arguments.data)?, Keys::default(), peers).await?;
    let listener = TcpListen::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    if arguments.bootstrap && !log.is_initialized().await? {
        let members = (1..).zip(&arguments.members);
        let node =
            |(id, address): (u64, &SocketAddr)| (id, Node { name: format!("c{id}"), address: address.to_string() });
        log.initialize(members.map(node).collect()).await?;
    }
    let accept = AcceptOptions::default();
    let incoming = Incoming::start(listener, tls, accept.clone(), CancellationToken::new());
    let authorize =
        Arc::new(|request: &Request<()>| require_coordinator(request).map(drop).map_err(tonic::Status::from));
    let server = Server { id: arguments.id, log: log.clone() };
    accept
        .server()
        .add_service(log.raft_service(authorize))
        .add_service(KvServer::new(server.clone()))
        .add_service(MaintenanceServer::new(server))
        .serve_with_incoming(incoming)
        .await
        .context("serve")
}

fn storage(data: &Path) -> Result<Storage> {
    std::fs::create_dir_all(data).with_context(|| format!("make {}", data.display()))?;
    Ok(Storage::file(data.join("log.redb")))
}
