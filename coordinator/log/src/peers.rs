//! The sending side: how this node talks to the other coordinators.
//!
//! One channel per peer, made by a connector that is injected (mutual TLS in production, plain TCP in tests, a simulated
//! network in simulations) and that connects when first used. Every call has a deadline: a peer that accepts and never
//! answers must not hang an election. It must never retry by itself: openraft decides what is worth repeating.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_proto::v1::raft_peer_client::RaftPeerClient;
use baton_proto::v1::raft_snapshot_part::Part;
use baton_proto::v1::{RaftReply, RaftRequest, RaftRoute, RaftSnapshotBegin, RaftSnapshotPart};
use bytes::Bytes;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::encoding::{decode, encode};
use crate::options::Options;
use crate::raft::{Node, Snapshot, Types, Vote};

/// The version of the payloads. Peers of another one are refused.
pub(crate) const FORMAT: u32 = 1;

/// Largest message between coordinators: one append, which is bounded by bytes unless it is a single large entry.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A snapshot goes in parts of this size.
const SNAPSHOT_PART_BYTES: usize = 1024 * 1024;

/// Makes the channel to a peer. It must not connect yet, but when first used, and again whenever the connection is lost.
pub trait PeerConnector: Send + Sync + 'static {
    /// The channel to node `id`, or why there can be none (an address that is not one).
    fn channel(&self, id: u64, node: &Node) -> Result<Channel, String>;
}

impl<F> PeerConnector for F
where
    F: Fn(u64, &Node) -> Result<Channel, String> + Send + Sync + 'static,
{
    fn channel(&self, id: u64, node: &Node) -> Result<Channel, String> {
        self(id, node)
    }
}

/// The channels to all peers. A cheap handle.
#[derive(Clone)]
pub(crate) struct Peers {
    connector: Arc<dyn PeerConnector>,
    channels: Arc<Mutex<BTreeMap<u64, (Node, Channel)>>>,
    cluster: String,
    node_id: u64,
    append_deadline: Duration,
}

impl Peers {
    pub(crate) fn new(connector: Arc<dyn PeerConnector>, options: &Options) -> Self {
        Self {
            connector,
            channels: Arc::default(),
            cluster: options.cluster.clone(),
            node_id: options.node_id,
            append_deadline: Duration::from_millis(options.append_deadline_ms),
        }
    }

    fn channel(&self, id: u64, node: &Node) -> Result<Channel, String> {
        let mut channels = self.channels.lock().expect("no code panics while it holds the channels");
        if let Some((known, channel)) = channels.get(&id)
            && known == node
        {
            return Ok(channel.clone());
        }
        let channel = self.connector.channel(id, node)?;
        channels.insert(id, (node.clone(), channel.clone()));
        Ok(channel)
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<Types<R>> for Peers {
    type Network = Peer<R>;

    async fn new_client(&mut self, target: u64, node: &Node) -> Peer<R> {
        let client = self.channel(target, node).map(|channel| {
            RaftPeerClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        });
        if let Err(error) = &client {
            tracing::warn!(peer = %node, %error, "no channel to a coordinator");
        }
        Peer { client, peers: self.clone(), target, runtime: PhantomData }
    }
}

/// One peer.
pub(crate) struct Peer<R> {
    client: Result<RaftPeerClient<Channel>, String>,
    peers: Peers,
    target: u64,
    runtime: PhantomData<fn() -> R>,
}

impl<R: AsyncRuntime> Peer<R> {
    fn route(&self) -> RaftRoute {
        RaftRoute { format: FORMAT, cluster: self.peers.cluster.clone(), from: self.peers.node_id, to: self.target }
    }

    /// One request, one reply, one deadline.
    async fn call<Q, A, F>(
        &mut self,
        action: RPCTypes,
        request: &Q,
        deadline: Duration,
        send: impl FnOnce(RaftPeerClient<Channel>, Request<RaftRequest>) -> F,
    ) -> Result<A, RPCError<Types<R>>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        F: Future<Output = Result<Response<RaftReply>, Status>>,
    {
        let client = self.client.clone().map_err(|e| unreachable(&Status::unavailable(e)))?;
        let payload = encode(request).into();
        let mut request = Request::new(RaftRequest { route: Some(self.route()), payload });
        // Tells the receiver too, so that it stops working on what nobody waits for.
        request.set_timeout(deadline);
        let reply = match tokio::time::timeout(deadline, send(client, request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => {
                return Err(self.timeout(action, deadline).into());
            }
            Ok(Err(status)) => return Err(unreachable(&status).into()),
            Err(_) => return Err(self.timeout(action, deadline).into()),
        };
        decode(&reply.payload).map_err(|e| unreachable(&e).into())
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<Types<R>> {
        Timeout { action, id: self.peers.node_id, target: self.target, timeout }
    }
}

/// Everything that is not a timeout makes openraft back off: a refused connection is answered at once, and
/// repeating it at once would burn a core.
fn unreachable<R: AsyncRuntime>(error: &(impl std::error::Error + 'static)) -> Unreachable<Types<R>> {
    Unreachable::new(error)
}

impl<R: AsyncRuntime> RaftNetworkV2<Types<R>> for Peer<R> {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        // A heartbeat must be quick or it is worth nothing; entries wait for the follower's fsync.
        let deadline = match request.entries.is_empty() {
            true => option.soft_ttl(),
            false => option.soft_ttl().max(self.peers.append_deadline),
        };
        self.call(RPCTypes::AppendEntries, &request, deadline, |mut c, r| async move { c.append(r).await }).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let deadline = option.soft_ttl();
        self.call(RPCTypes::Vote, &request, deadline, |mut c, r| async move { c.vote(r).await }).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let deadline = option.soft_ttl();
        self.call(RPCTypes::Vote, &request, deadline, |mut c, r| async move { c.pre_vote(r).await }).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let deadline = option.soft_ttl();
        self.call(RPCTypes::TransferLeader, &request, deadline, |mut c, r| async move { c.transfer_leader(r).await })
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let deadline = option.soft_ttl();
        let mut client = self.client.clone().map_err(|e| unreachable(&Status::unavailable(e)))?;
        let begin = RaftSnapshotBegin {
            route: Some(self.route()),
            vote: encode(&vote).into(),
            meta: encode(&snapshot.meta).into(),
            bytes: snapshot.snapshot.len() as u64,
        };
        let data = split(snapshot.snapshot).map(Part::Data);
        let parts = std::iter::once(Part::Begin(begin)).chain(data).map(|part| RaftSnapshotPart { part: Some(part) });
        let mut request = Request::new(futures::stream::iter(parts));
        request.set_timeout(deadline);
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = tokio::time::timeout(deadline, client.snapshot(request)) => reply,
        };
        match reply {
            Err(_) => Err(self.timeout(RPCTypes::InstallSnapshot, deadline).into()),
            Ok(Err(status)) => Err(unreachable(&status).into()),
            Ok(Ok(reply)) => decode(&reply.into_inner().payload).map_err(|e| unreachable(&e).into()),
        }
    }
}

fn split(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(SNAPSHOT_PART_BYTES))))
}
