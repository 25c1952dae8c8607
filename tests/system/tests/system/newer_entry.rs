//! A coordinator that meets an entry of a newer version: it stops, says what to do, and leaves nothing out, however often it is started.
//!
//! The newer version is played by the test: a node of the same log, with the identity and the disk of one coordinator, that writes what no
//! program of today knows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use baton_log::{Application, AppliedEntry, Log, Node, Options, Storage};
use baton_platform::{
    address::Address,
    dial::TcpDial,
    identity::require_coordinator,
    listen::TcpListen,
    tls::{AcceptOptions, ConnectOptions, Connector, Incoming, ReloadableTls},
};
use baton_system_tests::{PATIENCE, World, eventually, stricken::Party};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Knows everything.
struct Newer;

impl Application for Newer {
    fn apply(&mut self, _: AppliedEntry<'_>) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// In the place of coordinator `number`, whose process has ended.
async fn newer(world: &World, number: usize) -> Log<Newer> {
    let directory = world.cluster.coordinator_directory(number);
    let tls = ReloadableTls::load(directory.join("identity")).expect("an identity");
    let connector = Connector::new(Arc::new(TcpDial), tls.clone(), ConnectOptions::default());
    let peers = move |_: u64, node: &Node| {
        let address: Address = node.address.parse().map_err(|error| format!("{error}"))?;
        Ok(connector.channel(&address))
    };
    let options = Options::new(number as u64 + 1, format!("c{}", number + 1));
    let storage = Storage::file(directory.join("data/log.redb"));
    let log = Log::open(options, storage, Newer, peers).await.expect("its disk");
    let listener = TcpListen::bind(world.cluster.coordinator_address(number)).await.expect("its address is free");
    let accept = AcceptOptions::default();
    let incoming = Incoming::start(listener, tls, accept.clone(), CancellationToken::new());
    let authorize =
        Arc::new(|request: &tonic::Request<()>| require_coordinator(request).map(drop).map_err(tonic::Status::from));
    let server = accept.server().add_service(log.raft_service(authorize));
    tokio::spawn(server.serve_with_incoming(incoming));
    log
}

fn entry(command: &Value) -> Vec<u8> {
    let author = json!({ "who": { "kind": "coordinator", "name": "c1" }, "when": 1, "why": "a newer version" });
    json!({ "version": 1, "body": { "author": author, "command": command } }).to_string().into_bytes()
}

/// The two coordinators of today meet this entry.
fn is_not_left_out(command: &Value, words: &[&str]) {
    let mut world = World::start(&[]);
    let before = world.json(&["status"])["cluster"]["applied"].as_u64().expect("a number");
    let leader = world.cluster.wait_for_leader(PATIENCE).expect("a leader");
    let number = (leader + 1) % 3;
    let others = [leader, (leader + 2) % 3];
    world.cluster.kill_coordinator(number);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let log = runtime.block_on(newer(&world, number));
    let name = format!("c{}", number + 1);
    eventually(&format!("{name} leads"), || {
        let said = world.baton(&["cluster", "transfer", "--to", &name]);
        if log.leadership().borrow().ready { Ok(()) } else { Err(said.stderr) }
    });
    let written = runtime.block_on(log.propose(entry(command), Duration::from_secs(20))).expect("committed");
    assert!(written.index > before);
    let place = format!("entry {} of the log", written.index);
    let words = [&["BTN-0199", &place, "Install the version that the other coordinators have"], words].concat();
    for number in others {
        let party = Party::Coordinator(number);
        let directory = world.cluster.coordinator_directory(number).display().to_string();
        party.ends_saying(&mut world, &words);
        // As its unit does: it never gets used to it.
        party.ends_again_saying(&mut world, &[&words[..], &[&directory]].concat());
    }
    let members: BTreeMap<u64, u64> =
        log.status().members.into_iter().filter_map(|(id, member)| Some((id, member.matched?))).collect();
    assert_eq!(members.len(), 3, "{members:?}");
    runtime.block_on(log.shutdown());
}

#[test]
fn a_command_of_a_newer_version_stops_a_coordinator_and_is_never_left_out() {
    is_not_left_out(&json!({ "command": "frobnicate_group", "group": "shop" }), &["frobnicate_group"]);
}

#[test]
fn a_field_of_a_newer_version_stops_a_coordinator_and_is_never_left_out() {
    is_not_left_out(
        &json!({ "command": "remove_group", "group": "shop", "unless": { "busy": true } }),
        &["command.unless"],
    );
}
