//! The handle to the replicated log: propose, read, watch, change the cluster, stop.
//!
//! It only translates: every rule of consensus is openraft's, every rule about the state is the application's. It must never
//! report a timeout as a failure, and never answer a read that a newer leader could contradict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, InitializeError, RaftError};
use openraft::{AsyncRuntime, Instant, LinearizerOption, Raft};
use tokio::sync::watch;

use crate::application::Application;
use crate::error::{Error, Failure, ProposeError};
use crate::leadership::{self, Leadership};
use crate::machine::Machine;
use crate::options::{Options, Storage};
use crate::peers::{PeerConnector, Peers};
use crate::raft::{Node, Payload, Tokio, Types};
use crate::receiver::{Authorize, RaftServer, Receiver};
use crate::status::Status;
use crate::store::LogStore;

/// A committed and applied proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// Its place in the log.
    pub index: u64,
    /// The term it was written in.
    pub term: u64,
    /// What the application answered.
    pub response: Vec<u8>,
}

/// A node of the log. A cheap handle; the node lives until [`Log::shutdown`], or until its runtime ends.
pub struct Log<A: Application, R: AsyncRuntime = Tokio> {
    inner: Arc<Inner<A, R>>,
}

struct Inner<A: Application, R: AsyncRuntime> {
    options: Options,
    raft: Raft<Types<R>, Machine<A>>,
    machine: Machine<A>,
    store: LogStore,
    leadership: watch::Receiver<Leadership>,
}

impl<A: Application, R: AsyncRuntime> Clone for Log<A, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<A: Application> Log<A> {
    /// Starts a node on tokio: opens its log, restores its last snapshot into `application`, and applies again what was
    /// committed after it. A node of a cluster then waits for its peers; a new one waits to be initialized or added.
    pub async fn open(
        options: Options,
        storage: Storage,
        application: A,
        peers: impl PeerConnector,
    ) -> Result<Self, Error> {
        Self::open_on(options, storage, application, peers).await
    }
}

impl<A: Application, R: AsyncRuntime> Log<A, R> {
    /// [`Log::open`] on a runtime of the caller's, for example openraft's deterministic one. Randomness (election
    /// timeouts) and time come from it.
    pub async fn open_on(
        options: Options,
        storage: Storage,
        application: A,
        peers: impl PeerConnector,
    ) -> Result<Self, Error> {
        let config = Arc::new(options.raft_config()?);
        let store = LogStore::open(storage)?;
        store.claim(&options.cluster, options.node_id)?;
        let machine = Machine::new(application, store.clone());
        let applied_term = machine.applied_term();
        let network = Peers::new(Arc::new(peers), &options);
        // What the application said goes before what openraft makes of it.
        let explained = |error: Error| machine.refusal().map_or(error, |why| Error::NotUnderstood(why.to_owned()));
        let raft = Raft::new(options.node_id, config, network, store.clone(), machine.clone())
            .await
            .map_err(|e| explained(Error::Storage(e.to_string())))?;
        // Answered by openraft's core, so that whoever has the handle sees the node's state and not that of an empty one.
        raft.is_initialized().await.map_err(|e| explained(Error::from_fatal(e)))?;
        let (sender, leadership) = watch::channel(Leadership::default());
        drop(R::spawn(leadership::watch(raft.clone(), applied_term, sender)));
        Ok(Self { inner: Arc::new(Inner { options, raft, machine, store, leadership }) })
    }

    /// Whether this node belongs to a cluster: it was initialized, or has heard from a leader.
    pub async fn is_initialized(&self) -> Result<bool, Error> {
        self.inner.raft.is_initialized().await.map_err(Error::from_fatal)
    }

    /// Makes a cluster of these members, all of them empty. On exactly one of them.
    pub async fn initialize(&self, members: BTreeMap<u64, Node>) -> Result<(), Error> {
        self.inner.raft.initialize(members).await.map_err(|e| match e {
            RaftError::APIError(InitializeError::NotAllowed(_)) => Error::AlreadyInitialized,
            RaftError::APIError(InitializeError::NotInMembers(e)) => Error::Refused(e.to_string()),
            RaftError::Fatal(fatal) => Error::from_fatal(fatal),
        })
    }

    /// Appends `payload` and waits until it is committed and applied here. When the deadline passes, the outcome
    /// is unknown: the entry may still be committed.
    pub async fn propose(&self, payload: Vec<u8>, deadline: Duration) -> Result<Proposed, ProposeError> {
        let limit = self.inner.options.payload_bytes_max;
        if payload.len() > limit {
            return Err(ProposeError::TooLarge { bytes: payload.len(), limit });
        }
        let write = self.inner.raft.client_write(Payload(Bytes::from(payload)));
        match tokio::time::timeout(deadline, write).await {
            Err(_) => Err(ProposeError::Timeout),
            Ok(Err(e)) => Err(ProposeError::from_write(e)),
            Ok(Ok(written)) => Ok(Proposed {
                index: written.log_id.index(),
                term: **written.log_id.committed_leader_id(),
                response: written.data,
            }),
        }
    }

    /// After it, [`Log::with`] shows everything that was committed before it was called. A majority confirms that this
    /// node still leads, so a deposed leader cannot answer.
    pub async fn read_index(&self) -> Result<(), ProposeError> {
        let deadline = self.inner.options.read_deadline();
        // An age of zero: the majority's word must be newer than this call.
        let confirmed = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(deadline);
        match tokio::time::timeout(deadline, self.inner.raft.ensure_linearizable(confirmed)).await {
            Err(_) => Err(ProposeError::NoQuorum),
            Ok(Err(e)) => Err(ProposeError::from_read(e)),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// Looks at the state. Be short: entries wait meanwhile. Panics if the application panicked: nobody may act on what
    /// it left behind.
    pub fn with<T>(&self, f: impl FnOnce(&A) -> T) -> T {
        self.inner.machine.with(f)
    }

    /// Who leads, now and whenever it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// The last applied index; changes after the state does.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.machine.applied()
    }

    /// Resolves when this node has stopped and nobody had asked it to. It will not come back by itself: a process whose log has
    /// stopped should end, and be started again.
    pub async fn failed(&self) -> Failure {
        let mut metrics = self.inner.raft.metrics();
        loop {
            match metrics.borrow_watched().running_state.as_ref() {
                Ok(()) => {}
                Err(Fatal::Stopped) => break,
                Err(fatal) => {
                    let broken = || Failure::Broken(fatal.to_string());
                    return self
                        .inner
                        .machine
                        .refusal()
                        .map_or_else(broken, |why| Failure::NotUnderstood(why.to_owned()));
                }
            }
            if metrics.changed().await.is_err() {
                break;
            }
        }
        // It was asked to, or it is gone without a word, as a whole runtime is.
        std::future::pending().await
    }

    /// How this node is.
    pub fn status(&self) -> Status {
        // Cloned at once: a borrow would block openraft's core.
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        Status::from_metrics(&metrics)
    }

    /// Adds a node without a vote, and waits until it has caught up. The first step of adding a coordinator.
    pub async fn add_learner(&self, id: u64, node: Node, deadline: Duration) -> Result<(), Error> {
        match tokio::time::timeout(deadline, self.inner.raft.add_learner(id, node, true)).await {
            Err(_) => Err(Error::Timeout("catching up")),
            Ok(result) => result.map(|_| ()).map_err(Error::from_change),
        }
    }

    /// Makes exactly these the voters; who is not among them leaves the cluster. All must be members already.
    pub async fn change_members(&self, voters: BTreeSet<u64>, deadline: Duration) -> Result<(), Error> {
        match tokio::time::timeout(deadline, self.inner.raft.change_membership(voters, false)).await {
            Err(_) => Err(Error::Timeout("the membership change")),
            Ok(result) => result.map(|_| ()).map_err(Error::from_change),
        }
    }

    /// Hands the leadership to `to`, or to the voter that is furthest, and waits until somebody else leads.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<Leadership, Error> {
        let mut leadership = self.leadership();
        let before = leadership.borrow_and_update().clone();
        if !before.is_self {
            return Err(Error::NotLeader { leader: before.leader });
        }
        let target = match to {
            Some(id) => id,
            None => self.furthest_voter().ok_or_else(|| Error::Refused("no other voter answers".to_owned()))?,
        };
        self.inner.raft.trigger().transfer_leader(target).await.map_err(Error::from_fatal)?;
        let moved = leadership.wait_for(|l| l.term > before.term && l.leader_id.is_some());
        match tokio::time::timeout(self.inner.options.read_deadline(), moved).await {
            Err(_) => Err(Error::Timeout("the transfer of leadership")),
            Ok(Err(_)) => Err(Error::Stopped("while handing over".to_owned())),
            Ok(Ok(now)) if to.is_some() && now.leader_id != to => {
                let name = now.leader.as_ref().map_or_else(String::new, Node::to_string);
                Err(Error::Refused(format!("{name} was elected instead")))
            }
            Ok(Ok(now)) => Ok(now.clone()),
        }
    }

    /// Of the other voters that have just answered a heartbeat, the one that has most of the log. A dead one would take
    /// the leadership nowhere, and stopping the last nodes of a cluster must not wait for nodes that are gone.
    fn furthest_voter(&self) -> Option<u64> {
        let alive = Duration::from_millis(2 * self.inner.options.election_max_ms);
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let heartbeats = metrics.heartbeat?;
        let answers = |id: &u64| heartbeats.get(id).copied().flatten().is_some_and(|at| at.elapsed() < alive);
        let replication = metrics.replication?;
        let others = metrics.membership_config.voter_ids().filter(|id| *id != metrics.id && answers(id));
        others.max_by_key(|id| replication.get(id).copied().flatten())
    }

    /// Stops this node: hands over the leadership if it has it, writes what is queued, and lets go of the file. Proposals that
    /// are on their way have an unknown outcome.
    pub async fn shutdown(&self) {
        if self.leadership().borrow().is_self
            && let Err(error) = self.transfer_leadership(None).await
        {
            tracing::info!(%error, "stopping without handing over the leadership");
        }
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        // A second shutdown finds it closed, which is what it wants.
        let _ = self.inner.store.close().await;
    }

    /// The gRPC service that the other coordinators call. `authorize` must let in coordinators alone.
    pub fn raft_service(&self, authorize: Authorize) -> RaftServer<A, R> {
        Receiver::server(self.inner.raft.clone(), authorize, &self.inner.options)
    }
}
