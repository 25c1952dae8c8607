//! The receiving side: what the other coordinators ask of this node.
//!
//! It checks who asks, whether this node is meant, and whether both speak the same format; then it only
//! hands over to openraft. It must never answer a caller that the injected hook did not let in: whoever may append can
//! rewrite everything.

use std::pin::pin;
use std::sync::Arc;

use baton_proto::v1::raft_peer_server::{RaftPeer, RaftPeerServer};
use baton_proto::v1::raft_snapshot_part::Part;
use baton_proto::v1::{RaftReply, RaftRequest, RaftRoute, RaftSnapshotPart};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::{AsyncRuntime, Raft};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status, Streaming};

use crate::application::Application;
use crate::encoding::encode;
use crate::machine::Machine;
use crate::options::Options;
use crate::peers::{FORMAT, MESSAGE_BYTES_MAX};
use crate::raft::{Snapshot, Types};

/// Says whether the caller is a coordinator of this installation: looks at its certificate
/// ([`Request::peer_certs`]), never at the message.
pub type Authorize = Arc<dyn Fn(&Request<()>) -> Result<(), Status> + Send + Sync>;

/// The server of `baton.v1.RaftPeer`, to be mounted where the other coordinators connect.
pub type RaftServer<A, R> = RaftPeerServer<Receiver<A, R>>;

/// Implements `baton.v1.RaftPeer`.
pub struct Receiver<A: Application, R: AsyncRuntime> {
    raft: Raft<Types<R>, Machine<A>>,
    authorize: Authorize,
    cluster: String,
    node_id: u64,
    snapshot_bytes_max: u64,
}

impl<A: Application, R: AsyncRuntime> Receiver<A, R> {
    pub(crate) fn server(
        raft: Raft<Types<R>, Machine<A>>,
        authorize: Authorize,
        options: &Options,
    ) -> RaftServer<A, R> {
        RaftPeerServer::new(Self {
            raft,
            authorize,
            cluster: options.cluster.clone(),
            node_id: options.node_id,
            snapshot_bytes_max: options.snapshot_bytes_max,
        })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Lets in, checks the route, decodes.
    fn accept<Q: DeserializeOwned>(&self, request: Request<RaftRequest>) -> Result<Q, Status> {
        let message = self.authorized(request)?;
        self.meant_for_us(message.route.as_ref())?;
        decode(&message.payload)
    }

    fn authorized<T>(&self, request: Request<T>) -> Result<T, Status> {
        let (metadata, extensions, message) = request.into_parts();
        (self.authorize)(&Request::from_parts(metadata, extensions, ()))?;
        Ok(message)
    }

    fn meant_for_us(&self, route: Option<&RaftRoute>) -> Result<(), Status> {
        let route = route.ok_or_else(|| Status::invalid_argument("no route"))?;
        if route.format != FORMAT {
            let text = format!("raft format {}, this node speaks {FORMAT}", route.format);
            return Err(Status::failed_precondition(text));
        }
        if route.cluster != self.cluster || route.to != self.node_id {
            let text = format!(
                "meant for node {} of {:?}, this is node {} of {:?}",
                route.to, route.cluster, self.node_id, self.cluster
            );
            return Err(Status::failed_precondition(text));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl<A: Application, R: AsyncRuntime> RaftPeer for Receiver<A, R> {
    async fn append(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        let request = self.accept(request)?;
        reply(&self.raft.append_entries(request).await.map_err(gone)?)
    }

    async fn vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        let request = self.accept(request)?;
        reply(&self.raft.vote(request).await.map_err(gone)?)
    }

    async fn pre_vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        let request = self.accept(request)?;
        reply(&self.raft.pre_vote(request).await.map_err(gone)?)
    }

    async fn transfer_leader(&self, request: Request<RaftRequest>) -> Result<Response<RaftReply>, Status> {
        let request = self.accept(request)?;
        reply(&self.raft.handle_transfer_leader(request).await.map_err(gone)?)
    }

    async fn snapshot(&self, request: Request<Streaming<RaftSnapshotPart>>) -> Result<Response<RaftReply>, Status> {
        let mut parts = self.authorized(request)?;
        let Some(RaftSnapshotPart { part: Some(Part::Begin(begin)) }) = parts.next().await.transpose()? else {
            return Err(Status::invalid_argument("a snapshot without a beginning"));
        };
        self.meant_for_us(begin.route.as_ref())?;
        if begin.bytes > self.snapshot_bytes_max {
            let text = format!("a snapshot of {} bytes; the limit is {}", begin.bytes, self.snapshot_bytes_max);
            return Err(Status::resource_exhausted(text));
        }
        let vote = decode(&begin.vote)?;
        let meta = decode(&begin.meta)?;
        let snapshot = receive(begin.bytes, parts).await?;
        reply(&self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await.map_err(gone)?)
    }
}

/// Collects a snapshot that said to be `length` bytes long.
async fn receive(length: u64, parts: impl Stream<Item = Result<RaftSnapshotPart, Status>>) -> Result<Bytes, Status> {
    let mut snapshot = Vec::new();
    let mut parts = pin!(parts);
    while let Some(part) = parts.next().await {
        let Some(Part::Data(data)) = part?.part else {
            return Err(Status::invalid_argument("a second beginning of a snapshot"));
        };
        snapshot.extend_from_slice(&data);
        if snapshot.len() as u64 > length {
            return Err(Status::invalid_argument("a snapshot longer than it said"));
        }
    }
    if (snapshot.len() as u64) < length {
        return Err(Status::invalid_argument("a snapshot shorter than it said"));
    }
    Ok(Bytes::from(snapshot))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Status> {
    crate::encoding::decode(bytes).map_err(|e| Status::invalid_argument(format!("raft payload: {e}")))
}

fn reply<T: Serialize>(response: &T) -> Result<Response<RaftReply>, Status> {
    Ok(Response::new(RaftReply { payload: encode(response).into() }))
}

/// openraft itself has stopped; the peer tries again later.
fn gone(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
