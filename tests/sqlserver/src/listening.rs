//! Where an instance answers: at its own address, and at those of its groups' listeners while it leads them.
//!
//! Apart from the protocol, which serves one address, and from the instance, which knows no sockets. A listener's address
//! moves with the role: the one that leads no more lets it go, and the one that leads takes it as soon as it is free.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::answer::Server;
use crate::instance::Instance;
use crate::tds::{self, Admission, CertificateError, Options};
use crate::world::fault::Clients;

/// How often the world is asked who leads, and how clients are to be met.
const LOOK: Duration = Duration::from_millis(50);

/// An address that is served.
struct Served {
    stop: CancellationToken,
    task: JoinHandle<Result<(), CertificateError>>,
}

impl Served {
    fn begin(instance: &Arc<Instance>, listener: TcpListener, options: Options, shutdown: &CancellationToken) -> Self {
        let stop = shutdown.child_token();
        let server: Arc<dyn Server> = Arc::clone(instance) as _;
        Self { task: tokio::spawn(tds::serve(listener, server, options, stop.clone())), stop }
    }
}

/// Serves until the shutdown, and ends every session before it returns.
pub async fn serve(
    instance: Arc<Instance>,
    own: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), CertificateError> {
    let (admission, admitted) = watch::channel(met(instance.clients()));
    let options = Options { admission: admitted, ..options };
    let mut own = Served::begin(&instance, own, options.clone(), &shutdown).task;
    let mut listeners: BTreeMap<String, Served> = BTreeMap::new();
    let mut ending = Vec::new();
    loop {
        tokio::select! {
            biased;
            // Only a fault ends it before everything ends.
            ended = &mut own, if !shutdown.is_cancelled() => return whole(ended),
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        admission.send_replace(met(instance.clients()));
        let led = instance.listener_addresses();
        for (address, served) in listeners.extract_if(.., |address, _| !led.contains(address)) {
            info!(address, "lets its listener go");
            served.stop.cancel();
            ending.push(served.task);
        }
        for address in led {
            if listeners.contains_key(&address) {
                continue;
            }
            // Whoever led before may still hold it.
            let Ok(listener) = TcpListener::bind(&address).await else { continue };
            info!(address, "answers at its listener");
            listeners.insert(address, Served::begin(&instance, listener, options.clone(), &shutdown));
        }
        ending.retain(|task| !task.is_finished());
    }
    ending.extend(listeners.into_values().map(|served| served.task));
    for task in ending {
        whole(task.await)?;
    }
    whole(own.await)
}

fn whole(ended: Result<Result<(), CertificateError>, JoinError>) -> Result<(), CertificateError> {
    ended.unwrap_or_else(|panic| {
        warn!(%panic, "an address was not served to its end");
        Ok(())
    })
}

fn met(clients: Clients) -> Admission {
    match clients {
        Clients::Served => Admission::Served,
        Clients::Refused => Admission::Refused,
        Clients::Silent => Admission::Silent,
    }
}
