//! A coordinator put together: log, sessions, leader's duties and services on one port.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use baton_log::{Log, Node, Options, Storage};
use baton_model::time::Span;
use baton_platform::{
    address::Address,
    clock::Clock,
    dial::Dial,
    identity::{Identity, require_coordinator},
    listen::Listen,
    tls::{AcceptOptions, Connector, Incoming, ReloadableTls},
};
use baton_proto::v1::{
    agent_sessions_server::AgentSessionsServer, coordinators_server::CoordinatorsServer,
    operator_server::OperatorServer,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{agent::AgentApi, operator::OperatorApi, peer::PeerApi},
    breakdown,
    config::Config,
    leader::{Dispatcher, Lessor, Means, Reachability, Sampler, Successor, Watchman},
    pages::Pages,
    probes::Probes,
    proposer::Proposer,
    replica::{Replica, Witness},
    sessions::Sessions,
};

/// Largest message from an agent or operator: many files of an `apply`, one report.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often the identity's files are looked at for a renewal.
const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// How long connections may take to end after their sessions were ended.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// What the world gives: injected, so that the same node runs in a simulation.
pub struct World<L: Listen> {
    pub clock: Arc<dyn Clock>,
    pub tls: Arc<ReloadableTls>,
    pub connector: Connector,
    /// For what a runbook has the coordinators try.
    pub dial: Arc<dyn Dial>,
    pub listener: L,
    pub storage: Storage,
    /// For load balancers and scripts, where they are wanted.
    pub pages: Option<L>,
    /// For a simulation, which looks at every change; none in production.
    pub witness: Option<Arc<dyn Witness>>,
}

/// Storage of a configuration: one redb file.
pub fn storage(data: &Path) -> Result<Storage> {
    std::fs::create_dir_all(data).with_context(|| format!("make the data folder {}", data.display()))?;
    Ok(Storage::file(data.join("log.redb")))
}

/// Runs until `stop`; then hands leadership over, ends the sessions and closes the log.
pub async fn run<L: Listen>(config: Config, world: World<L>, bootstrap: bool, stop: CancellationToken) -> Result<()> {
    let name = check(&config, &world.tls)?;
    let members = members(&config)?;
    let mut options = Options::new(config.id, &name);
    options.cluster = config.cluster.clone();
    options.heartbeat_ms = config.raft.heartbeat_ms;
    options.election_min_ms = config.raft.election_min_ms;
    options.election_max_ms = config.raft.election_max_ms;
    options.snapshot_every = config.raft.snapshot_every;
    let peers = {
        let connector = world.connector.clone();
        move |_: u64, node: &Node| {
            let address: Address = node.address.parse().map_err(|error| format!("{error}"))?;
            Ok(connector.channel(&address))
        }
    };
    let log = Log::open(options, world.storage, Replica::watched(world.witness), peers).await;
    let log = log.map_err(|error| anyhow::Error::msg(breakdown::not_opened(&name, &config.data, &error)))?;
    if bootstrap {
        match log.initialize(members.clone()).await {
            Ok(()) => tracing::info!(cluster = config.cluster, members = members.len(), "cluster made"),
            Err(baton_log::Error::AlreadyInitialized) => tracing::info!("--bootstrap: the cluster exists already"),
            Err(error) => return Err(error).context("make the cluster"),
        }
    }
    let proposer = Proposer::new(log.clone(), world.clock.clone(), name.clone());
    let (sessions, events) = Sessions::new();
    let addresses = members
        .values()
        .map(|node| {
            Ok((node.name.clone(), node.address.parse::<Address>().map_err(|error| anyhow::anyhow!("{error}"))?))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    let probes = Probes::new(world.dial.clone());
    let reachability = Reachability::new(
        log.clone(),
        sessions.clone(),
        name.clone(),
        world.clock.clone(),
        probes.clone(),
        &addresses,
        &world.connector,
    );
    let (lessor, beats) = Lessor::new(log.clone(), sessions.clone(), world.clock.clone());
    let watchman =
        Watchman::new(log.clone(), proposer.clone(), reachability.clone(), sessions.clone(), world.clock.clone());
    let means = Means {
        log: log.clone(),
        proposer: proposer.clone(),
        sessions: sessions.clone(),
        reachability: reachability.clone(),
        lessor: lessor.clone(),
        watchman: watchman.clone(),
    };
    let dispatcher = Dispatcher::new(means, events, Span(config.delivery.unreachable_after_ms));
    let background = CancellationToken::new();
    let dispatching = tokio::spawn(dispatcher.run(background.clone()));
    let sampler = Sampler::new(log.clone(), proposer.clone(), sessions.clone());
    tokio::spawn(lessor.clone().run(beats, background.clone()));
    tokio::spawn(watchman.run(background.clone()));
    let successor = Successor {
        log: log.clone(),
        sessions: sessions.clone(),
        reachability: reachability.clone(),
        itself: name.to_owned(),
        heartbeat: Duration::from_millis(config.delivery.heartbeat_ms),
    };
    tokio::spawn(successor.run(background.clone()));
    tokio::spawn(sampler.clone().run(background.clone()));
    tokio::spawn(world.tls.clone().watch(RELOAD_EVERY, background.clone()));

    let accept = AcceptOptions::default();
    // Not `stop`: a server whose callers end looks at nothing else any more, and the log would never be shut down.
    let closed = CancellationToken::new();
    let incoming = Incoming::start(world.listener, world.tls, accept.clone(), closed.clone());
    if let Some(address) = incoming.local_addr() {
        tracing::info!(%address, name, "listening");
    }
    let agents = AgentApi::new(
        name.clone(),
        config.delivery.heartbeat_ms,
        log.clone(),
        proposer.clone(),
        sessions.clone(),
        lessor,
    );
    let operators = OperatorApi {
        log: log.clone(),
        proposer,
        sessions: sessions.clone(),
        reachability,
        sampler,
        election_max: Span(config.raft.election_max_ms),
    };
    if let Some(listener) = world.pages {
        tokio::spawn(baton_web::serve(listener, Pages::new(log.clone(), sessions.clone()), background.clone()));
    }
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(baton_proto::DESCRIPTORS)
        .build_v1()
        .context("offer reflection")?;
    let authorize =
        Arc::new(|request: &tonic::Request<()>| require_coordinator(request).map(drop).map_err(tonic::Status::from));
    let server = accept
        .server()
        .add_service(log.raft_service(authorize))
        .add_service(CoordinatorsServer::new(PeerApi {
            sessions: sessions.clone(),
            clock: world.clock.clone(),
            probes,
        }))
        .add_service(AgentSessionsServer::new(agents).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(
            OperatorServer::new(operators)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(health)
        .add_service(reflection);
    let closing = {
        let (log, sessions, stop, closed) = (log.clone(), sessions.clone(), stop.clone(), closed.clone());
        async move {
            stop.cancelled().await;
            // Leadership first, so that another coordinator is in charge before the agents leave this one.
            log.shutdown().await;
            sessions.end_all();
            closed.cancel();
        }
    };
    tokio::select! {
        served = server.serve_with_incoming_shutdown(incoming, closing) => served.context("serve")?,
        // A session that was opened meanwhile, a client that reads nothing: the log is closed, nothing is lost.
        () = async {
            closed.cancelled().await;
            tokio::time::sleep(CLOSE_PATIENCE).await;
        } => tracing::info!("connections that did not end are cut"),
        // A process whose log has stopped is a coordinator no more, and would never be one again.
        failure = log.failed() => {
            background.cancel();
            sessions.end_all();
            bail!(breakdown::stopped(&name, &config.data, &failure));
        }
    }
    background.cancel();
    let _ = dispatching.await;
    Ok(())
}

/// Holds the configuration against the certificate. Returns this node's name.
pub fn check(config: &Config, tls: &ReloadableTls) -> Result<String> {
    let name = match tls.identity() {
        Identity::Coordinator { name, .. } => name.as_str().to_owned(),
        other => bail!(
            "BTN-0304 the certificate in {} is not a coordinator's but says {other}. Make one with \"baton ca coordinator\".",
            config.identity.display()
        ),
    };
    match members(config)?.get(&config.id) {
        Some(member) if member.name == name => Ok(name),
        Some(member) => bail!(
            "BTN-0160 member {} is called {} in the configuration, and the certificate says {name}. Use the right identity folder or number.",
            config.id,
            member.name
        ),
        None => bail!(
            "BTN-0161 member {} is not among the configured members ({}). Add it under [members].",
            config.id,
            config.members.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn members(config: &Config) -> Result<BTreeMap<u64, Node>> {
    config
        .members
        .iter()
        .map(|(id, member)| {
            let id: u64 = id.parse().with_context(|| format!("[members.{id}]: a member's key is its number"))?;
            Ok((id, Node { name: member.name.clone(), address: member.address.clone() }))
        })
        .collect()
}
