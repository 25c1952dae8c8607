//! `baton-coordinator`: one node of the cluster.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result};
use baton_coordinator::{
    config::Config,
    node::{self, World},
};
use baton_platform::{
    clock::SystemClock,
    dial::TcpDial,
    listen::TcpListen,
    shutdown::Signals,
    telemetry::{self, LogOptions},
    tls::{self, ConnectOptions, Connector, ReloadableTls},
};
use clap::Parser;
use tokio_util::sync::CancellationToken;

/// One node of the Baton cluster: holds who is primary, and gives ordered, fenced commands.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, default_value = "/etc/baton/coordinator.toml")]
    config: PathBuf,
    /// Make the cluster of the configured members. On one of them, once; harmless afterwards.
    #[arg(long)]
    bootstrap: bool,
    /// Read the configuration and the identity, say whether they are good, and exit.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace, whatever the environment says: this is for an operator.
            eprintln!("baton-coordinator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    tls::install_crypto_provider();
    // openraft tells of every heartbeat that came late; what matters of it, baton_log says.
    telemetry::init(&LogOptions { filter: "info,openraft=error".to_owned(), ..LogOptions::default() })?;
    let config: Config = baton_platform::config::read(&arguments.config)?;
    let tls = ReloadableTls::load(&config.identity).context("load the identity")?;
    if arguments.check_config {
        node::check(&config, &tls)?;
        println!("{} is good: {}", arguments.config.display(), tls.identity());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let reload = tls.clone();
        let _signals = Signals::listen(stop.clone(), move || {
            reload.reload();
        })
        .context("listen for signals")?;
        let listener = TcpListen::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
        let pages = match config.http {
            Some(http) => {
                let bound = TcpListen::bind(http.listen).await;
                Some(bound.with_context(|| format!("listen for load balancers on {}", http.listen))?)
            }
            None => None,
        };
        let world = World {
            pages,
            clock: Arc::new(SystemClock::new()),
            dial: Arc::new(TcpDial),
            connector: Connector::new(Arc::new(TcpDial), tls.clone(), ConnectOptions::default()),
            storage: node::storage(&config.data)?,
            listener,
            tls,
            witness: None,
        };
        node::run(config, world, arguments.bootstrap, stop).await
    })
}
