//! `baton-agent`: reads its configuration, opens its journal, holds its sessions, until it is told to end.

use std::{fs, os::unix::fs::DirBuilderExt, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use baton_agent::{
    action,
    configuration::{Configuration, OnStop},
    executor::{self, Executor, crash},
    guard::{self, Post},
    host::Host,
    journal::Journal,
    pages::Pages,
    policy::Policy,
    secrets::SecretStore,
    session,
    watchdog::Watchdog,
};
use baton_model::ids::HostName;
use baton_platform::{
    backoff::BackoffOptions,
    clock::SystemClock,
    config,
    dial::TcpDial,
    identity::Identity,
    listen::TcpListen,
    random::Random,
    shutdown::Signals,
    telemetry::{self, LogOptions, LogTarget},
    tls::{self, ConnectOptions, Connector, RELOAD_PERIOD_DEFAULT, ReloadableTls},
};
use clap::Parser;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long sessions may take to end; tasks are left to their journal.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long stopping what is exclusive may take before the agent ends: below the unit's TimeoutStopSec.
const RETIRE_PATIENCE: Duration = Duration::from_secs(60);
/// Dry runs at once: a plan asks for many steps together.
const OBSERVATIONS_MAX: usize = 64;

/// Does local actions on this host, as the coordinators order and its own policy allows.
#[derive(Debug, Parser)]
#[command(name = "baton-agent", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/baton/agent.toml")]
    config: PathBuf,
    /// Read the configuration, the policy and the certificate, say what is wrong with them, and end.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tls::install_crypto_provider();
    // One thread: an agent waits nearly always, and must be small on a host that has other work.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("start the runtime").and_then(|runtime| {
        let result = runtime.block_on(run(arguments));
        runtime.shutdown_timeout(STOP_PATIENCE);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baton-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let configuration: Configuration = config::read(&arguments.config)?;
    configuration.check().with_context(|| format!("use {}", arguments.config.display()))?;
    let policy = Policy::load(&configuration.policy)?;
    let material = ReloadableTls::load(&configuration.identity)?;
    let Identity::Agent { host } = material.identity() else {
        bail!(
            "the certificate in {} is of {}, and not of an agent",
            configuration.identity.display(),
            material.identity()
        );
    };
    let host_name = HostName::new(host.as_str()).context("use the certificate's name")?;
    if arguments.check_config {
        println!("{}: good, for host {host_name}", arguments.config.display());
        return Ok(());
    }
    init_log(&configuration)?;
    let watchdog = Watchdog::new(configuration.watchdog.clone())?;

    let mut directory = fs::DirBuilder::new();
    directory.recursive(true).mode(0o700);
    let state = &configuration.state;
    directory.create(state).with_context(|| format!("make the state directory {}", state.display()))?;
    let path = state.join("journal.redb");
    let mut journal = Journal::open(&path).with_context(|| format!("open the journal {}", path.display()))?;

    let stop = CancellationToken::new();
    let policy = Arc::new(ArcSwap::from_pointee(policy));
    let reload = {
        let (policy, path, material) = (policy.clone(), configuration.policy.clone(), material.clone());
        move || {
            material.reload();
            match Policy::load(&path) {
                Ok(new) => policy.store(Arc::new(new)),
                Err(error) => tracing::warn!(%error, "the policy that was in force stays in force"),
            }
        }
    };
    let told_to_end = CancellationToken::new();
    let _signals = Signals::listen(told_to_end.clone(), reload).context("listen for signals")?;
    tokio::spawn(material.clone().watch(RELOAD_PERIOD_DEFAULT, stop.clone()));

    let clock = Arc::new(SystemClock::new());
    journal
        .begin_waiting(clock.as_ref(), &state.join("boot-id"))
        .with_context(|| format!("write the journal {}", path.display()))?;
    let post = Post::new(clock.clone(), journal.ledger());
    let random = Random::from_system();
    let mut host = Host { bus: configuration.bus.clone(), ..Host::default() };
    if let Some(directory) = &configuration.init_scripts {
        host.init_scripts = directory.clone();
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let options = executor::Options {
        host_name: host_name.clone(),
        state_directory: state.clone(),
        policy,
        secrets: Arc::new(SecretStore::new(configuration.secret_places(credentials))),
        host,
        clock: clock.clone(),
        tasks_max: configuration.tasks_max,
        observations_max: OBSERVATIONS_MAX,
        bind: Arc::new(action::bind),
        crash: Arc::new(crash::Never),
        post: post.clone(),
    };
    tokio::spawn(end(told_to_end, configuration.on_stop, post.clone(), stop.clone()));
    let (executor, handle) = Executor::new(options.clone(), journal);
    let guard = guard::Options { perform: options, executor: handle.clone(), random: random.fork(), watchdog };
    let guard_stop = CancellationToken::new();
    let guard = guard::start(guard, post.clone(), guard_stop.clone()).context("start the guard")?;
    let session_options = session::Options {
        connector: Connector::new(Arc::new(TcpDial), material, ConnectOptions::default()),
        clock,
        boot: format!("{:016x}", random.next_u64()),
        random,
        backoff: BackoffOptions::default(),
        cluster: configuration.cluster.clone(),
        heartbeat_max: configuration.heartbeat_max.to_std(),
        state_directory: state.clone(),
        post: post.clone(),
    };
    if let Some(http) = configuration.http {
        let listener = TcpListen::bind(http.listen).await;
        let listener = listener.with_context(|| format!("listen for load balancers on {}", http.listen))?;
        tokio::spawn(baton_web::serve(listener, Pages::new(post.clone(), host_name.clone()), stop.clone()));
    }
    let mut sessions = JoinSet::new();
    for address in &configuration.coordinators {
        sessions.spawn(session::hold(session_options.clone(), address.clone(), handle.clone(), stop.clone()));
    }
    drop(handle);
    tracing::info!(host = %host_name, coordinators = configuration.coordinators.len(), "agent started");

    // Without its journal an agent must not act: the end of the executor is the end of the process.
    let ended = executor.run(stop.clone()).await;
    stop.cancel();
    let _ = tokio::time::timeout(STOP_PATIENCE, async { while sessions.join_next().await.is_some() {} }).await;
    // Nor must it leave alone what nobody would stop then: without sessions no lease is renewed.
    if ended.is_err() {
        tracing::error!("the journal is broken; the agent ends when nothing exclusive runs here any more");
        guard::until_harmless(&post).await;
    }
    guard_stop.cancel();
    let _ = guard.join();
    tracing::info!("agent ended");
    ended.with_context(|| format!("write the journal {}", path.display()))
}

/// Told to end: first what nobody would be there to stop any more, then everything.
async fn end(told: CancellationToken, on_stop: OnStop, post: Post, stop: CancellationToken) {
    told.cancelled().await;
    if on_stop == OnStop::StopComponents {
        post.retire();
        if tokio::time::timeout(RETIRE_PATIENCE, guard::until_harmless(&post)).await.is_err() {
            tracing::error!(
                "the agent ends, and something exclusive still runs: nobody will stop it when its lease is over"
            );
        }
    }
    stop.cancel();
}

fn init_log(configuration: &Configuration) -> anyhow::Result<()> {
    let log = &configuration.log;
    let defaults = LogOptions::default();
    let target = log.file.clone().map_or(LogTarget::Stderr, LogTarget::File);
    let filter = log.filter.clone().unwrap_or(defaults.filter);
    telemetry::init(&LogOptions { format: log.format, target, filter })?;
    Ok(())
}
