//! Whom the peer service lets in, and what it takes to be for itself.

#[path = "support/ledger.rs"]
mod ledger;

use std::sync::Arc;

use baton_log::{Log, Node, Options, Storage};
use baton_proto::v1::raft_peer_client::RaftPeerClient;
use baton_proto::v1::raft_snapshot_part::Part;
use baton_proto::v1::{RaftRequest, RaftRoute, RaftSnapshotBegin, RaftSnapshotPart};
use ledger::Ledger;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};

/// A node that lets in whoever says the word, as the coordinator lets in whoever has the right certificate.
async fn node() -> (Log<Ledger>, RaftPeerClient<Channel>) {
    let options = Options { snapshot_bytes_max: 1_000, ..Options::new(1, "c1") };
    let storage = Storage::backend(redb::backends::InMemoryBackend::new());
    let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
    let log = Log::open(options, storage, Ledger::default(), nobody).await.expect("a new node opens");
    let service = log.raft_service(Arc::new(|request: &Request<()>| match request.metadata().contains_key("word") {
        true => Ok(()),
        false => Err(Status::permission_denied("not a coordinator")),
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let client = RaftPeerClient::connect(format!("http://{address}")).await.expect("it listens");
    (log, client)
}

fn route() -> RaftRoute {
    RaftRoute { format: 1, cluster: "baton".to_owned(), from: 2, to: 1 }
}

fn with_word<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("word", "please".parse().expect("ascii"));
    request
}

fn begin(route: RaftRoute, bytes: u64) -> RaftSnapshotPart {
    let begin = RaftSnapshotBegin { route: Some(route), bytes, ..RaftSnapshotBegin::default() };
    RaftSnapshotPart { part: Some(Part::Begin(begin)) }
}

#[tokio::test]
async fn who_is_not_let_in_reaches_no_method() {
    let (log, mut client) = node().await;
    let message = || Request::new(RaftRequest { route: Some(route()), ..RaftRequest::default() });
    let answers = [
        client.append(message()).await.map(|_| ()),
        client.vote(message()).await.map(|_| ()),
        client.pre_vote(message()).await.map(|_| ()),
        client.transfer_leader(message()).await.map(|_| ()),
        client.snapshot(tokio_stream::iter([begin(route(), 0)])).await.map(|_| ()),
    ];
    for answer in answers {
        assert_eq!(answer.map_err(|s| s.code()), Err(Code::PermissionDenied));
    }
    log.shutdown().await;
}

#[tokio::test]
async fn what_is_meant_for_another_node_cluster_or_format_is_refused() {
    let (log, mut client) = node().await;
    let routes = [
        RaftRoute { to: 3, ..route() },
        RaftRoute { cluster: "another".to_owned(), ..route() },
        RaftRoute { format: 2, ..route() },
    ];
    for route in routes {
        let message = RaftRequest { route: Some(route.clone()), ..RaftRequest::default() };
        let answer = client.append(with_word(message)).await.map(|_| ());
        assert_eq!(answer.map_err(|s| s.code()), Err(Code::FailedPrecondition), "{route:?}");
        let answer = client.snapshot(with_word(tokio_stream::iter([begin(route.clone(), 0)]))).await.map(|_| ());
        assert_eq!(answer.map_err(|s| s.code()), Err(Code::FailedPrecondition), "{route:?}");
    }
    log.shutdown().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_the_node_lives_on() {
    let (log, mut client) = node().await;
    let garbage = RaftRequest { route: Some(route()), payload: vec![0xff; 40].into() };
    let answer = client.append(with_word(garbage)).await.map(|_| ());
    assert_eq!(answer.map_err(|s| s.code()), Err(Code::InvalidArgument));
    let nothing = client.append(with_word(RaftRequest::default())).await.map(|_| ());
    assert_eq!(nothing.map_err(|s| s.code()), Err(Code::InvalidArgument));
    let headless = client.snapshot(with_word(tokio_stream::iter([]))).await.map(|_| ());
    assert_eq!(headless.map_err(|s| s.code()), Err(Code::InvalidArgument));
    let enormous = client.snapshot(with_word(tokio_stream::iter([begin(route(), 1_001)]))).await.map(|_| ());
    assert_eq!(enormous.map_err(|s| s.code()), Err(Code::ResourceExhausted));
    assert_eq!(log.status().failure, None);
    log.shutdown().await;
}
