//! Who may not, does not: no certificate, another's certificate, another's role, another's host.

use std::sync::Arc;

use baton_platform::identity::Role;
use baton_proto::v1::{
    self as pb, agent_sessions_client::AgentSessionsClient, from_agent::Message as Up, operator_client::OperatorClient,
    raft_peer_client::RaftPeerClient, to_agent::Message as Down,
};
use baton_system_tests::{
    World,
    calls::{channel, operator, told, wish},
    procedure::{HOSTS, define, gate},
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Code;

fn work() -> String {
    format!("runbook: work\nsteps:\n  - {}", gate("app", "work"))
}

#[test]
fn a_client_without_a_certificate_is_not_let_in() {
    let world = World::start(&[]);
    let ca = world.cluster.operator("operator", Role::Admin).expect("an identity").join("ca.pem");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&ca).expect("a file") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let address = world.cluster.coordinator_address(0);
    let name = ServerName::IpAddress(address.ip().into());
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = std::net::TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(baton_system_tests::PATIENCE)).expect("a timeout");
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = std::io::Write::write_all(&mut stream, preface)
        .and_then(|()| std::io::Read::read(&mut stream, &mut [0; 64]))
        .expect_err("nothing is answered");
    assert!(answer.to_string().contains("CertificateRequired"), "{answer}");

    // The command says it before it asks anybody.
    let folder = world.root().join("half-an-identity");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::copy(&ca, folder.join("ca.pem")).expect("copied");
    world.baton_with(&folder, &["status"]).is(2, "BTN-", &["cert.pem"]);
    // Another installation's certificate is none here.
    let other = World::start(&[]);
    let stranger = other.cluster.operator("operator", Role::Admin).expect("an identity");
    let said = world.baton_with(&stranger, &["--timeout", "3s", "status"]);
    assert_eq!(said.code, 6, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_good_for_its_own_service_alone() {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let agent = world.cluster.agent_identity("app1");
    let admin = world.cluster.operator("operator", Role::Admin).expect("an identity");
    let coordinator = world.cluster.coordinator_directory(1).join("identity");

    // As an operator.
    for identity in [&agent, &coordinator] {
        let mut client = operator(&world.cluster, identity);
        let request = pb::GetRequest { kind: "status".to_owned(), name: String::new() };
        let refused = client.get(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        let words = told(&refused);
        assert!(words.starts_with("BTN-0302") && words.contains("for an operator"), "{words}");
        let start = pb::StartRequest { plan: Some(wish("work", "")), ..pb::StartRequest::default() };
        assert_eq!(client.start(start).await.expect_err("refused").code(), Code::PermissionDenied);
    }
    world.baton_with(&agent, &["status"]).is_refused("BTN-0302", &["baton://agent/app1", "baton ca"]);

    // As an agent.
    let hello = || {
        let message = Up::Hello(pb::Hello { version: "0".into(), boot: "1".into(), cluster: String::new() });
        tokio_stream::iter([pb::FromAgent { message: Some(message) }])
    };
    for identity in [&admin, &coordinator] {
        let refused = AgentSessionsClient::new(channel(&world.cluster, 0, identity)).session(hello()).await;
        let refused = refused.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert!(told(&refused).starts_with("BTN-0302") && told(&refused).contains("for an agent"), "{refused:?}");
    }

    // As a coordinator.
    for identity in [&admin, &agent] {
        let request = pb::RaftRequest { route: None, payload: Vec::new().into() };
        let refused =
            RaftPeerClient::new(channel(&world.cluster, 0, identity)).vote(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        let mut peers = pb::coordinators_client::CoordinatorsClient::new(channel(&world.cluster, 0, identity));
        let refused = peers.reached(pb::ReachedRequest {}).await.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    let term = world.json(&["cluster", "members"])["term"].clone();
    assert!(term.as_u64().is_some_and(|term| term > 0), "{term}");
}

#[test]
fn a_role_is_as_much_as_its_certificate_says() {
    let world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let group = world.path("shop.yaml").display().to_string();
    let start = ["run", "shop", "work", "--yes", "--detach"];
    for command in [&["status"][..], &["hosts"], &["runs"], &["plan", "shop", "work"]] {
        let said = world.baton_as("vera", Role::Viewer, command);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let words = ["vera is viewer", "takes operator", "--role"];
    world.baton_as("vera", Role::Viewer, &start).is_refused("BTN-0305", &words);
    world.baton_as("vera", Role::Viewer, &["abort", "shop-1", "-r", "x"]).is_refused("BTN-0305", &words);
    let words = ["otto is operator", "takes admin"];
    world.baton_as("otto", Role::Operator, &["apply", &group]).is_refused("BTN-0305", &words);
    world.baton_as("otto", Role::Operator, &["cluster", "transfer"]).is_refused("BTN-0305", &words);
    world.baton_as("otto", Role::Operator, &["lost", "shop", "b", "-r", "x"]).is_refused("BTN-0305", &words);
    assert_eq!(world.json(&["runs"]), serde_json::json!([]), "nothing was started");
    assert_eq!(world.effects("work"), 0);
    let said = world.baton_as("otto", Role::Operator, &start);
    assert_eq!(said.code, 0, "{said:?}");
    world.begun("work", 1);
    world.release("work");
    let view = world.ends("shop-1", "succeeded");
    assert_eq!(
        view["started"]["who"],
        serde_json::json!({"kind": "operator", "name": "otto"}),
        "the author is in the record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_speaks_for_its_own_host_alone() {
    let mut world = World::start(&HOSTS);
    define(&world, &[("work", &work())]);
    let run = world.begin(&["run", "shop", "work"]);
    world.begun("work", 1);
    // db1's certificate, in other hands, says that app1's task is done.
    world.cluster.kill_agent("db1");
    let leader = world.cluster.leader().expect("a leader");
    let identity = world.cluster.agent_identity("db1");
    let mut client = AgentSessionsClient::new(channel(&world.cluster, leader, &identity));
    let (up, messages) = tokio::sync::mpsc::channel(4);
    let send = |message| up.try_send(pb::FromAgent { message: Some(message) }).expect("there is room");
    send(Up::Hello(pb::Hello { version: "0".into(), boot: "1".into(), cluster: String::new() }));
    let mut down = client.session(ReceiverStream::new(messages)).await.expect("let in").into_inner();
    let welcome = down.next().await.expect("a message").expect("a message");
    assert!(matches!(welcome.message, Some(Down::Welcome(_))), "{welcome:?}");
    let task = pb::TaskId { run: run.clone(), step: "1".into(), host: "app1".into(), attempt: 1 };
    let report = serde_json::json!({ "outcome": "changed", "summary": "forged", "started": 1, "ended": 2 });
    let fence = pb::Fence { generation: 1, term: 1, index: 1 };
    let finished =
        pb::Finished { task: Some(task), fence: Some(fence), report: report.to_string().into_bytes().into() };
    send(Up::Finished(finished));
    let ended = loop {
        match down.next().await.expect("a reason, and not silence") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended:?}");
    let words = told(&ended);
    assert!(words.starts_with("BTN-0144") && words.contains("db1") && words.contains("app1"), "{words}");
    let view = world.show(&run);
    assert_eq!(view["steps"][0]["tasks"][0]["state"], "running", "{view}");
    world.release("work");
    world.ends(&run, "succeeded");
    assert_eq!(world.effects("work"), 1);
    // Somebody's own OperatorClient is not what was tried above.
    let _: OperatorClient<_> = operator(&world.cluster, &world.cluster.operator("operator", Role::Admin).expect("it"));
}

#[test]
fn a_task_outside_the_agents_policy_is_refused_and_the_run_halts() {
    let world = World::start(&HOSTS);
    let programs = "runbook: programs\nsteps:\n  - on: app\n    exec.run: { argv: [/bin/echo, hello] }\n";
    let paths = "runbook: paths\nsteps:\n  - on: app\n    file.line: { path: /etc/hosts, line: '127.9.9.9 mine' }\n";
    define(&world, &[("programs", programs), ("paths", paths)]);
    let hosts = std::fs::read("/etc/hosts").expect("a file");
    for (runbook, code, seen, run) in
        [("programs", "BTN-0403", "/bin/echo", "shop-1"), ("paths", "BTN-0402", "/etc/hosts", "shop-2")]
    {
        let plan = world.json(&["plan", "shop", runbook]);
        assert_eq!(plan["observations"][0]["fault"]["code"], code, "the plan says it before: {plan}");
        let said = world.baton(&["run", "shop", runbook, "--yes"]);
        assert_eq!(said.code, 3, "{said:?}");
        let view = world.show(run);
        let task = &view["steps"][0]["tasks"][0];
        assert_eq!((&task["state"], &task["fault"]["code"]), (&"refused".into(), &code.into()), "{view}");
        let fault = task["fault"].to_string();
        assert!(fault.contains(seen) && fault.contains("policy.toml"), "{fault}");
        assert_eq!(world.baton(&["abort", run, "--reason", "a test"]).code, 0);
        world.ends(run, "aborted");
    }
    assert_eq!(std::fs::read("/etc/hosts").expect("a file"), hosts);
}
