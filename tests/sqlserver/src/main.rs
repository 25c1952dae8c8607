//! One SQL Server instance of a simulated world, as a process of its own.
//!
//! It says `ready ADDRESS` on stdout when it listens, talks on stderr, and ends its sessions on SIGTERM. Everything that it
//! knows is in its directory, so that killing it loses what a real one would lose, and no more.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use baton_sqlserver::control::WorldBuilder;
use baton_sqlserver::instance::{Instance, system_clock};
use baton_sqlserver::listening;
use baton_sqlserver::tds::{Certificate, Encryption, Options};
use clap::{Parser, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A SQL Server instance that is none
#[derive(Debug, Parser)]
#[command(name = "baton-sqlserver", version)]
struct Arguments {
    /// Where the world is kept that all its instances share
    #[arg(long, value_name = "DIRECTORY")]
    directory: PathBuf,
    /// Which instance of that world this is
    #[arg(long, value_name = "NAME", required_unless_present = "create")]
    instance: Option<String>,
    /// Make the world that this JSON file describes, and end
    #[arg(long, value_name = "FILE", conflicts_with = "instance")]
    create: Option<PathBuf>,
    /// Listen here and not where the world says
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// What is encrypted: what the client wants, everything, nothing; otherwise as the world says
    #[arg(long, value_name = "HOW", value_enum)]
    encryption: Option<Encrypt>,
    /// Certificate chain to show, in PEM; without one the instance makes its own
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Encrypt {
    Available,
    Forced,
    None,
}

impl From<Encrypt> for Encryption {
    fn from(encrypt: Encrypt) -> Self {
        match encrypt {
            Encrypt::Available => Encryption::Available,
            Encrypt::Forced => Encryption::Forced,
            Encrypt::None => Encryption::None,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = std::env::var("BATON_LOG").unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baton-sqlserver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { directory, instance, create, listen, encryption, certificate, key } = arguments;
    if let Some(file) = create {
        return create_world(&directory, &file);
    }
    let name = instance.context("no instance was named")?;
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone()).context("wait for signals")?;
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Certificate::read(&certificate, &key)?,
        _ => Certificate::self_signed(&name)?,
    };
    let instance = Instance::start(&directory, &name, system_clock(), shutdown.clone())
        .with_context(|| format!("start instance {name} of the world in {}", directory.display()))?;
    let encryption = match encryption {
        Some(encryption) => encryption.into(),
        None if instance.forces_encryption()? => Encryption::Forced,
        None => Encryption::Available,
    };
    let options = Options { encryption, certificate: Some(certificate), ..Options::default() };
    let address = match listen {
        Some(address) => address.to_string(),
        None => instance.address()?,
    };
    let listener = TcpListener::bind(&address).await.with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr().context("find out the own address")?;
    let ticking = tokio::spawn(Arc::clone(&instance).tick());
    info!(instance = name, %address, "listens");
    println!("ready {address}");
    std::io::stdout().flush().context("say that it listens")?;
    listening::serve(instance, listener, options, shutdown).await?;
    ticking.await.context("keep the world's time")?;
    info!(instance = name, "has ended its sessions");
    Ok(())
}

fn create_world(directory: &Path, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let world: WorldBuilder = serde_json::from_str(&text).with_context(|| format!("understand {}", file.display()))?;
    world.create(directory, system_clock()())?;
    Ok(())
}

fn stop_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}
