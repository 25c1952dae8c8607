//! A coordinator that says what it is told to say, over the real wire: mutual TLS, operator.proto, a runtime of its own,
//! so that it can die with all its connections at once.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
};

use baton_model::{
    bill::Bill,
    outcome::Fault,
    view::{PlanView, RunView},
};
use baton_platform::{
    ca::{CertificateAuthority, CreateOptions, IssueOptions},
    clock::SystemClock,
    identity::Identity,
    listen::{Listen as _, TcpListen},
    tls::{AcceptOptions, Incoming, ReloadableTls},
};
use baton_proto::v1::{
    operator_server::{Operator, OperatorServer},
    *,
};
use baton_wire::fault::{not_leader, to_status};
use serde::Serialize;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// What it says, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// It follows: where the leader is, if it knows.
    pub follows: Option<Option<String>>,
    /// It refuses everything with this.
    pub refuses: Option<Fault>,
    /// So many starts are taken and not answered.
    pub starts_unanswered: usize,
    pub plan: Option<PlanView>,
    /// It starts runs with this bill.
    pub bill: Option<Bill>,
    /// It refuses to start with this.
    pub start_refuses: Option<Fault>,
    /// What a watch shows; it then stays open.
    pub views: Vec<RunView>,
    pub runs: Vec<RunView>,
    pub files: BTreeMap<(String, String), Vec<u8>>,
    pub plans: Vec<PlanRequest>,
    pub starts: Vec<StartRequest>,
    pub acts: Vec<ActRequest>,
    pub applied: Vec<ApplyRequest>,
}

pub struct Coordinator {
    pub address: String,
    pub script: Arc<Mutex<Script>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Coordinator {
    pub fn start(world: &World, script: Script) -> Self {
        let tls = ReloadableTls::load(world.identity("baton://coordinator/c1", &["127.0.0.1"])).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let script = Arc::new(Mutex::new(script));
        let api = Api { script: script.clone() };
        let address = runtime.block_on(async {
            let listener = TcpListen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let options = AcceptOptions::default();
            let incoming = Incoming::start(listener, tls, options.clone(), CancellationToken::new());
            tokio::spawn(options.server().add_service(OperatorServer::new(api)).serve_with_incoming(incoming));
            address
        });
        Self { address, script, runtime: Some(runtime) }
    }

    /// With everything that is open, as by SIGKILL.
    pub fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.die();
    }
}

/// An authority, an operator's identity, and a folder for the command to run in.
pub struct World {
    directory: tempfile::TempDir,
    ca: CertificateAuthority,
}

impl World {
    pub fn new() -> Self {
        baton_platform::tls::install_crypto_provider();
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions::named("test".parse().unwrap());
        let ca = CertificateAuthority::create(&directory.path().join("ca"), &options, &SystemClock::new()).unwrap();
        let world = Self { directory, ca };
        world.identity("baton://operator/ana?role=operator", &[]);
        world
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn identity(&self, identity: &str, addresses: &[&str]) -> PathBuf {
        let identity: Identity = identity.parse().unwrap();
        let directory = self.path().join(format!("{}-{}", identity.kind(), identity.name()));
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let issued = self.ca.issue(identity, &addresses, &IssueOptions::default(), &SystemClock::new()).unwrap();
        issued.replace(&directory).unwrap();
        directory
    }

    /// The command, with these coordinators and ana's identity in its environment.
    pub fn command(&self, coordinators: &[&Coordinator], arguments: &[&str]) -> std::process::Command {
        let addresses: Vec<&str> = coordinators.iter().map(|coordinator| coordinator.address.as_str()).collect();
        let mut command = crate::baton::command(self.path(), arguments);
        command.env("BATON_COORDINATORS", addresses.join(",")).env("BATON_IDENTITY", self.path().join("operator-ana"));
        command
    }

    pub fn run(&self, coordinators: &[&Coordinator], arguments: &[&str]) -> crate::baton::Ended {
        crate::baton::end(self.command(coordinators, arguments))
    }
}

struct Api {
    script: Arc<Mutex<Script>>,
}

type Reply<T> = Result<Response<T>, Status>;
type Flow<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn json<T: Serialize>(value: &T) -> tonic::codegen::Bytes {
    serde_json::to_vec(value).unwrap().into()
}

fn no_run() -> Status {
    to_status(&Fault::new("BTN-0111", "there is no such run.", "List the runs with \"baton runs\"."))
}

impl Api {
    fn with<T>(&self, answer: impl FnOnce(&mut Script) -> Result<T, Status>) -> Reply<T> {
        let mut script = self.script.lock().unwrap();
        if let Some(leader) = &script.follows {
            return Err(not_leader(leader.as_deref()));
        }
        if let Some(fault) = &script.refuses {
            return Err(to_status(fault));
        }
        answer(&mut script).map(Response::new)
    }
}

#[tonic::async_trait]
impl Operator for Api {
    async fn apply(&self, request: Request<ApplyRequest>) -> Reply<ApplyReply> {
        self.with(|script| {
            script.applied.push(request.into_inner());
            let change =
                serde_json::json!({"group": "pom", "change": "created", "revision": 1, "runbooks": ["switchover"]});
            Ok(ApplyReply { document: json(&serde_json::json!({"changes": [change]})) })
        })
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Reply<PlanReply> {
        self.with(|script| {
            script.plans.push(request.into_inner());
            let plan =
                script.plan.as_ref().ok_or_else(|| to_status(&Fault::new("BTN-0110", "there is no group x.", "")))?;
            Ok(PlanReply { document: json(plan) })
        })
    }

    async fn start(&self, request: Request<StartRequest>) -> Reply<StartReply> {
        self.with(|script| {
            script.starts.push(request.into_inner());
            if script.starts_unanswered > 0 {
                script.starts_unanswered -= 1;
                return Err(Status::unavailable("no quorum"));
            }
            if let Some(fault) = &script.start_refuses {
                return Err(to_status(fault));
            }
            Ok(StartReply { run: "pom-17".into(), bill: script.bill.as_ref().map(json).unwrap_or_default() })
        })
    }

    async fn act(&self, request: Request<ActRequest>) -> Reply<ActReply> {
        self.with(|script| {
            script.acts.push(request.into_inner());
            Ok(ActReply { document: json(script.runs.first().ok_or_else(no_run)?) })
        })
    }

    type WatchStream = Flow<WatchReply>;

    async fn watch(&self, _: Request<WatchRequest>) -> Reply<Self::WatchStream> {
        self.with(|script| {
            let views: Vec<_> = script.views.iter().map(|view| Ok(WatchReply { document: json(view) })).collect();
            if views.is_empty() {
                return Err(no_run());
            }
            Ok(Box::pin(tokio_stream::iter(views).chain(tokio_stream::pending())) as Self::WatchStream)
        })
    }

    async fn get(&self, request: Request<GetRequest>) -> Reply<Document> {
        self.with(|script| {
            let name = request.into_inner().name;
            let view = script.runs.iter().find(|view| view.summary.id.to_string() == name).ok_or_else(no_run)?;
            Ok(Document { json: json(view) })
        })
    }

    async fn list(&self, _: Request<ListRequest>) -> Reply<Document> {
        self.with(|script| {
            let runs: Vec<_> = script.runs.iter().map(|view| &view.summary).collect();
            Ok(Document { json: json(&runs) })
        })
    }

    type ReadTaskFileStream = Flow<FileChunk>;

    async fn read_task_file(&self, request: Request<ReadTaskFileRequest>) -> Reply<Self::ReadTaskFileStream> {
        self.with(|script| {
            let request = request.into_inner();
            let content = script.files.get(&(request.run, request.name)).cloned().ok_or_else(no_run)?;
            let chunks: Vec<_> =
                content.chunks(10).map(|part| Ok(FileChunk { content: part.to_vec().into() })).collect();
            Ok(Box::pin(tokio_stream::iter(chunks)) as Self::ReadTaskFileStream)
        })
    }

    async fn cluster(&self, _: Request<ClusterRequest>) -> Reply<Document> {
        self.with(|_| Ok(Document { json: json(&crate::pictures::cluster_view()) }))
    }
}
