//! A host with a good certificate that says what no agent says: bytes that are no messages, messages that are too long, messages that make no
//! sense, and every number at its end. Its own session ends with the reason, on both sides; nobody else notices.

use std::{path::PathBuf, time::Duration};

use baton_platform::{
    dial::TcpDial,
    identity::Role,
    tls::{ConnectOptions, Connector, ReloadableTls},
};
use baton_proto::v1::{self as pb, agent_sessions_client::AgentSessionsClient, from_agent::Message as Up};
use baton_system_tests::{
    PATIENCE, World,
    calls::{channel, operator, told},
    stricken::Party,
};
use bytes::{Buf as _, BufMut as _, Bytes};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use super::{finishes, under_way, whole_again};

/// Longer than anything that a coordinator takes.
const TOO_LONG: usize = 17 * 1024 * 1024;
/// As deep as JSON can be read; what is around it in the log makes it deeper.
const DEEP: usize = 120;

/// Messages of a session as bytes, whatever they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A session that begins with these bytes; how the coordinator ends it.
async fn raw_session(channel: Channel, messages: Vec<Bytes>) -> Status {
    let mut client = Grpc::new(channel).max_encoding_message_size(2 * TOO_LONG);
    client.ready().await.expect("connected");
    let path = http::uri::PathAndQuery::from_static("/baton.v1.AgentSessions/Session");
    let (up, stream) = tokio::sync::mpsc::channel(messages.len().max(1));
    for message in messages {
        up.try_send(message).expect("there is room");
    }
    let opened = client.streaming(Request::new(ReceiverStream::new(stream)), path, Raw).await;
    let mut down = match opened {
        Ok(down) => down.into_inner(),
        Err(status) => return status,
    };
    let ended = loop {
        match down.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break Status::ok("the session ended without a word"),
            Err(status) => break status,
        }
    };
    // Until here the agent's side was open: it was the coordinator that ended it.
    drop(up);
    ended
}

fn message(message: Up) -> Bytes {
    use prost::Message as _;
    pb::FromAgent { message: Some(message) }.encode_to_vec().into()
}

fn hello() -> Bytes {
    message(Up::Hello(pb::Hello { version: "0".into(), boot: "1".into(), cluster: String::new() }))
}

fn task() -> Option<pb::TaskId> {
    Some(pb::TaskId { run: "shop-1".into(), step: "2".into(), host: "db1".into(), attempt: 1 })
}

fn finished(report: String) -> Up {
    let fence = Some(pb::Fence { generation: u64::MAX, term: u64::MAX, index: u64::MAX });
    Up::Finished(pb::Finished { task: task(), fence, report: report.into_bytes().into() })
}

/// What ends the session, and what is said then.
fn refused() -> Vec<(&'static str, Vec<Bytes>, &'static str)> {
    let long = "x".repeat(TOO_LONG);
    vec![
        ("bytes that are no message, first", vec![Bytes::from_static(&[0xff; 64])], "invalid"),
        ("bytes that are no message", vec![hello(), Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n")], "invalid"),
        (
            "a message that is too long",
            vec![hello(), message(Up::Progress(pb::Progress { task: task(), note: long.clone(), percent: 1 }))],
            "limit",
        ),
        (
            "a report that is too long",
            vec![hello(), message(finished(format!("{{\"summary\": \"{long}\"}}")))],
            "limit",
        ),
        ("no Hello", vec![message(Up::Heartbeat(pb::Heartbeat::default()))], "Hello"),
        ("two of them", vec![hello(), hello()], "Hello"),
        ("a report that is none", vec![hello(), message(finished("not JSON".into()))], "Finished"),
        ("a report of another kind", vec![hello(), message(finished("[1, 2]".into()))], "Finished"),
        ("no task", vec![hello(), message(Up::Accepted(pb::Accepted { task: None }))], "Accepted"),
        (
            "tenures that are none",
            vec![hello(), message(Up::Heartbeat(pb::Heartbeat { tenures: "x".into(), ..Default::default() }))],
            "enures",
        ),
        ("health that is none", vec![hello(), message(Up::Probed(pb::Probed { seen: "{".into() }))], "robed"),
        ("deeds that are none", vec![hello(), message(Up::Deeds(pb::Deeds { deeds: "[{}]".into() }))], "eeds"),
    ]
}

/// What is no reason to end a session, and must do nothing.
fn borne() -> Vec<(&'static str, Up)> {
    let nested = format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let report = |data: &str| {
        finished(format!(
            r#"{{"outcome":"changed","summary":"forged","data":{data},"started":0,"ended":18446744073709551615}}"#
        ))
    };
    vec![
        ("data that is nested as deeply as can be", report(&nested)),
        ("a report of a task that is not", report("null")),
        (
            "a reign that nobody announced",
            Up::Acknowledged(pb::Acknowledged {
                request: u64::MAX,
                generation: u64::MAX,
                term: u64::MAX,
                index: u64::MAX,
                open_tasks: Vec::new(),
            }),
        ),
        (
            "the last heartbeat of all",
            Up::Heartbeat(pb::Heartbeat { sequence: u64::MAX, sent_monotonic_ms: u64::MAX, tenures: Bytes::new() }),
        ),
        (
            "progress without end",
            Up::Progress(pb::Progress { task: task(), note: "ä".repeat(1 << 20), percent: u32::MAX }),
        ),
        (
            "an answer that nobody waits for",
            Up::Observed(pb::Observed {
                request: u64::MAX,
                fault: r#"{"code":"BTN-0001","message":"forged","remedy":""}"#.into(),
                ..Default::default()
            }),
        ),
        (
            "a file that nobody reads",
            Up::FilePart(pb::FilePart { request: u64::MAX, last: true, ..Default::default() }),
        ),
    ]
}

struct Scene {
    world: World,
    run: String,
    identity: PathBuf,
}

/// The run needs no `db1`, whose certificate is in other hands now.
fn scene() -> Scene {
    let (mut world, run) = under_way();
    world.cluster.kill_agent("db1");
    let identity = world.cluster.agent_identity("db1");
    Scene { world, run, identity }
}

/// All that matters is as it was: nobody ended, the run goes on, the host has its agent again.
fn unharmed(Scene { mut world, run, .. }: Scene) {
    for number in 0..world.cluster.coordinators() {
        let log = Party::Coordinator(number).log(&world);
        assert!(!log.contains("panicked"), "{log}");
    }
    finishes(&world, &run);
    Party::Agent("db1").start(&mut world);
    whole_again(&mut world);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_session_with_the_reason_on_both_sides() {
    let scene = tokio::task::block_in_place(scene);
    let (world, leader) = (&scene.world, scene.world.cluster.leader().expect("a leader"));
    let party = Party::Coordinator(leader);
    for (what, messages, word) in refused() {
        let log = party.log(world).len();
        let session = raw_session(channel(&world.cluster, leader, &scene.identity), messages);
        let ended =
            tokio::time::timeout(PATIENCE, session).await.unwrap_or_else(|_| panic!("{what}: it is never ended"));
        let said = told(&ended);
        assert!(said.contains("BTN-0153") && said.contains(word), "{what}: {said}");
        tokio::task::block_in_place(|| party.says(world, log, &["BTN-0153", "db1", word]));
    }
    tokio::task::block_in_place(|| unharmed(scene));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_agent_would_say_does_nothing() {
    let scene = tokio::task::block_in_place(scene);
    let (world, leader) = (&scene.world, scene.world.cluster.leader().expect("a leader"));
    let mut client = AgentSessionsClient::new(channel(&world.cluster, leader, &scene.identity))
        .max_encoding_message_size(2 * TOO_LONG);
    let (up, stream) = tokio::sync::mpsc::channel(64);
    let send = async |message| up.send(pb::FromAgent { message: Some(message) }).await.expect("the session is open");
    send(Up::Hello(pb::Hello { version: "0".into(), boot: "1".into(), cluster: String::new() })).await;
    let mut down = client.session(ReceiverStream::new(stream)).await.expect("let in").into_inner();
    for (_, message) in borne() {
        send(message).await;
    }
    // A mark: when it is answered, all that was sent before was taken.
    send(Up::Heartbeat(pb::Heartbeat { sequence: 77, ..Default::default() })).await;
    let answered = async {
        loop {
            match down.message().await {
                Ok(Some(pb::ToAgent { message: Some(pb::to_agent::Message::HeartbeatReply(reply)) }))
                    if reply.sequence == 77 =>
                {
                    break;
                }
                Ok(Some(_)) => {}
                other => panic!("the session did not go on: {other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("it is answered");
    let view = world.show(&scene.run);
    assert!(!view.to_string().contains("forged"), "{view}");
    // Each coordinator has as much of the log as before, and lives: nothing got into it that it cannot read.
    drop((up, down));
    tokio::task::block_in_place(|| unharmed(scene));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_even_a_connection_and_calls_that_are_too_long_are_answered_and_change_nothing() {
    let scene = tokio::task::block_in_place(scene);
    let (world, leader) = (&scene.world, scene.world.cluster.leader().expect("a leader"));
    let tls = ReloadableTls::load(&scene.identity).expect("an identity");
    let connector = Connector::new(std::sync::Arc::new(TcpDial), tls, ConnectOptions::default());
    let address = world.cluster.coordinator_address(leader).into();
    for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0; 4096], vec![0xff; 100_000]] {
        let mut stream = connector.connect(&address).await.expect("connected");
        // It may hang up before it has all of it.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is hung up on");
    }
    // An operator's file that is too long for one message.
    let identity = world.cluster.operator("operator", Role::Admin).expect("an identity");
    let mut client = operator(&world.cluster, &identity).max_encoding_message_size(2 * TOO_LONG);
    let refused = client.apply(too_long()).await.expect_err("refused");
    let said = told(&refused);
    assert!(said.contains("limit") && said.contains("16777216"), "{said}");
    let status = world.json(&["status"]);
    assert_eq!(status["groups"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(json!(status["groups"][0]["revision"]), json!(1), "{status}");
    tokio::task::block_in_place(|| unharmed(scene));
}

fn too_long() -> pb::ApplyRequest {
    let text = format!("group: big\n# {}\n", "x".repeat(TOO_LONG));
    let file = pb::SourceFile { path: "big.yaml".into(), text };
    pb::ApplyRequest { files: vec![file], ..pb::ApplyRequest::default() }
}
