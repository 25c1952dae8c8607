//! How a process ends, and what it does when told to read its files again.
//!
//! Apart because every loop of the product ends by one tree of tokens. It must never end the process itself: `main`
//! does, when everything under the token has ended.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Listens for signals for as long as it is held.
#[derive(Debug)]
pub struct Signals {
    _listening: AbortOnDropHandle<()>,
}

impl Signals {
    /// SIGTERM or SIGINT cancels the token, and thereby all its children; a second one ends the process at once, with
    /// the exit code that a shell expects (128 + the number), because an operator who asks twice has waited enough.
    /// SIGHUP calls `reload`, which must return soon.
    pub fn listen(stop: CancellationToken, mut reload: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let listening = tokio::spawn(async move {
            let mut asked = false;
            loop {
                let kind = tokio::select! {
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = hangup.recv() => {
                        tracing::info!("SIGHUP: reading the files again");
                        reload();
                        continue;
                    }
                };
                if asked {
                    tracing::warn!(signal = kind.as_raw_value(), "asked to end a second time: ending at once");
                    std::process::exit(128 + kind.as_raw_value());
                }
                asked = true;
                tracing::info!(signal = kind.as_raw_value(), "asked to end");
                stop.cancel();
            }
        });
        Ok(Self { _listening: AbortOnDropHandle::new(listening) })
    }
}
