//! A cluster in one process: each node has its own tokio runtime, its own disk, and a real gRPC server on loopback.
//! Dropping the runtime is the hard stop: every task of the node ends where it is.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as Listener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_log::{Leadership, Log, Node, Options, ProposeError, Proposed, Storage};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};

use crate::disk::Disk;
use crate::ledger::Ledger;

/// Nothing here takes this long unless it never happens.
pub const LONG: Duration = Duration::from_secs(30);

pub enum Place {
    File(PathBuf),
    Disk(Disk),
}

pub struct Member {
    pub id: u64,
    pub node: Node,
    pub place: Place,
    pub options: Options,
    runtime: Option<Runtime>,
    log: Option<Log<Ledger>>,
}

pub struct Cluster {
    pub members: Vec<Member>,
    _directory: TempDir,
}

impl Member {
    fn new(id: u64, place: Place, options: impl Fn(&mut Options)) -> Self {
        // The port stays this node's over its restarts.
        let listener = Listener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let mut chosen = Options::new(id, format!("c{id}"));
        options(&mut chosen);
        Self { id, node: Node { name: format!("c{id}"), address }, place, options: chosen, runtime: None, log: None }
    }

    pub fn log(&self) -> &Log<Ledger> {
        self.log.as_ref().expect("the node runs")
    }

    pub fn runs(&self) -> bool {
        self.log.is_some()
    }

    pub fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name(&self.node.name)
            .build()
            .expect("a runtime");
        let deadline = Instant::now() + LONG;
        let log = loop {
            let storage = match &self.place {
                Place::File(path) => Storage::file(path),
                Place::Disk(disk) => Storage::backend(disk.open()),
            };
            let opened = runtime.block_on(Log::open(self.options.clone(), storage, Ledger::default(), connect));
            match opened {
                Ok(log) => break log,
                // A node that was just stopped hard may still be letting go of its file.
                Err(e) if Instant::now() < deadline && e.to_string().contains("already open") => {
                    std::thread::yield_now();
                }
                Err(e) => panic!("{} does not open: {e}", self.node.name),
            }
        };
        let service = log.raft_service(Arc::new(|_| Ok(())));
        let address: SocketAddr = self.node.address.parse().expect("an address");
        let listener = runtime.block_on(async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) if Instant::now() < deadline => tokio::task::yield_now().await,
                    Err(e) => panic!("bind {address}: {e}"),
                }
            }
        });
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        self.runtime = Some(runtime);
        self.log = Some(log);
    }

    /// As a power cut does it: nothing is handed over, nothing is finished, unsynced writes are gone.
    pub fn kill(&mut self) {
        if let Place::Disk(disk) = &self.place {
            disk.cut(|| false);
        }
        self.log = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// As a service manager does it.
    pub fn stop(&mut self) {
        let log = self.log.take().expect("the node runs");
        let runtime = self.runtime.take().expect("the node runs");
        runtime.block_on(log.shutdown());
        runtime.shutdown_background();
    }
}

fn connect(_: u64, node: &Node) -> Result<tonic::transport::Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.address)).map_err(|e| e.to_string())?;
    Ok(endpoint.connect_timeout(Duration::from_millis(500)).tcp_nodelay(true).connect_lazy())
}

impl Cluster {
    /// Members on files, started and initialized.
    pub fn of(n: u64, options: impl Fn(&mut Options)) -> Self {
        let mut cluster = Self::prepare(n, false, options);
        cluster.start_all();
        cluster.initialize();
        cluster
    }

    /// Members on disks that lose what was not synced, started and initialized.
    pub fn on_disks(n: u64, options: impl Fn(&mut Options)) -> Self {
        let mut cluster = Self::prepare(n, true, options);
        cluster.start_all();
        cluster.initialize();
        cluster
    }

    fn prepare(n: u64, disks: bool, options: impl Fn(&mut Options)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let members = (1..=n).map(|id| {
            let place = match disks {
                true => Place::Disk(Disk::default()),
                false => Place::File(directory.path().join(format!("{id}.redb"))),
            };
            Member::new(id, place, &options)
        });
        Self { members: members.collect(), _directory: directory }
    }

    /// One more node, which belongs to nothing yet.
    pub fn add(&mut self, id: u64) -> &mut Member {
        let mut member = Member::new(id, Place::Disk(Disk::default()), |_| {});
        member.start();
        self.members.push(member);
        self.members.last_mut().expect("just added")
    }

    pub fn start_all(&mut self) {
        for member in &mut self.members {
            member.start();
        }
    }

    fn initialize(&self) {
        let members: BTreeMap<u64, Node> = self.members.iter().map(|m| (m.id, m.node.clone())).collect();
        block_on(self.members[0].log().initialize(members)).expect("the cluster is initialized");
    }

    pub fn member(&self, id: u64) -> &Member {
        self.members.iter().find(|m| m.id == id).expect("a member")
    }

    pub fn member_mut(&mut self, id: u64) -> &mut Member {
        self.members.iter_mut().find(|m| m.id == id).expect("a member")
    }

    pub fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.runs())
    }

    /// Waits for a leader that is ready.
    pub fn leader(&self) -> &Member {
        let deadline = Instant::now() + LONG;
        loop {
            let mut ready: Vec<(u64, &Member)> = self
                .running()
                .map(|m| (m.log().leadership().borrow().clone(), m))
                .filter(|(l, _)| l.ready)
                .map(|(l, m)| (l.term, m))
                .collect();
            // A deposed leader may not know it yet.
            ready.sort_by_key(|(term, _)| *term);
            if let Some((_, member)) = ready.pop() {
                return member;
            }
            assert!(Instant::now() < deadline, "no leader");
            std::thread::yield_now();
        }
    }

    pub fn followers(&self) -> Vec<&Member> {
        let leader = self.leader().id;
        self.running().filter(|m| m.id != leader).collect()
    }

    /// Proposes wherever the leader is until it is acknowledged. May commit more than once.
    pub fn propose(&self, payload: &[u8]) -> Proposed {
        let deadline = Instant::now() + LONG;
        loop {
            match propose(self.leader().log(), payload) {
                Ok(proposed) => return proposed,
                Err(e) => assert!(Instant::now() < deadline, "never acknowledged: {e}"),
            }
        }
    }
}

pub fn propose(log: &Log<Ledger>, payload: &[u8]) -> Result<Proposed, ProposeError> {
    block_on(log.propose(payload.to_vec(), Duration::from_secs(5)))
}

/// Waits until the node's state satisfies `condition`.
pub fn wait_applied(log: &Log<Ledger>, what: &str, condition: impl Fn(&Ledger) -> bool) {
    let mut applied = log.applied();
    let wait = async {
        loop {
            applied.borrow_and_update();
            if log.with(&condition) {
                return;
            }
            applied.changed().await.expect("the node runs");
        }
    };
    block_on(async { tokio::time::timeout(LONG, wait).await }).unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits until the node sees a leadership that satisfies `condition`.
pub fn wait_leadership(log: &Log<Ledger>, what: &str, condition: impl Fn(&Leadership) -> bool) -> Leadership {
    let mut leadership = log.leadership();
    let wait = async { leadership.wait_for(|l| condition(l)).await.map(|l| l.clone()) };
    let seen = block_on(async { tokio::time::timeout(LONG, wait).await });
    seen.unwrap_or_else(|_| panic!("never: {what}")).expect("the node runs")
}

/// Runs a future of a test, outside of every node.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
