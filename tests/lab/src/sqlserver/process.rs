//! An instance of a simulated world in this process, as the simulator's own program has it.

use std::{future::Future, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use baton_sqlserver::{
    instance::{Instance, system_clock},
    listening,
    tds::{Certificate, Encryption, Options},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Listens; what is returned serves until the shutdown, and ends every session before it ends.
pub async fn begin(
    world: &Path,
    name: &str,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let instance = Instance::start(world, name, system_clock(), shutdown.clone())
        .with_context(|| format!("start instance {name}"))?;
    let encryption = match instance.forces_encryption()? {
        true => Encryption::Forced,
        false => Encryption::Available,
    };
    let certificate = Certificate::self_signed(name)?;
    let options = Options { encryption, certificate: Some(certificate), ..Options::default() };
    let address = instance.address()?;
    let listener = TcpListener::bind(&address).await.with_context(|| format!("listen on {address}"))?;
    let ticking = tokio::spawn(Arc::clone(&instance).tick());
    eprintln!("{name} listens on {address}");
    Ok(async move {
        listening::serve(instance, listener, options, shutdown).await?;
        ticking.await.context("keep the world's time")
    })
}
