//! The protocol: what comes over a socket becomes requests to a [`Server`], and its answers become what a client expects.
//!
//! Apart because it knows no T-SQL and keeps no state but a connection's own. Everything that decodes is pure and takes
//! whatever bytes come; only [`wire`], [`arrival`] and [`session`] wait for anything.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use crate::answer::Server;

pub mod cursor;
pub mod packet;
pub mod prelogin;
pub mod login;
pub mod parameter;
pub mod request;
pub mod prepared;

pub mod calendar;
pub mod codepage;
pub mod column;
pub mod token;
pub mod response;

pub mod certificate;
mod wire;
mod arrival;
mod session;

pub use certificate::{Certificate, CertificateError};
pub use prelogin::Encryption;

use certificate::Tls;

/// How clients are met that have not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    #[default]
    Served,
    /// Connections are closed at once.
    Refused,
    /// Connections are accepted, and nothing is said.
    Silent,
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    pub encryption: Encryption,
    /// Without one, the instance makes its own, as the real one does.
    pub certificate: Option<Certificate>,
    /// Logged in at once; one more is refused with 17809.
    pub sessions_max: usize,
    /// Of one request.
    pub message_bytes_max: usize,
    /// From the connection to the end of the login.
    pub login_deadline: Duration,
    /// May change at any time; where the other end is gone, its last word holds.
    pub admission: watch::Receiver<Admission>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            encryption: Encryption::Available,
            certificate: None,
            sessions_max: 1000,
            message_bytes_max: 16 << 20,
            login_deadline: Duration::from_secs(30),
            admission: watch::channel(Admission::Served).1,
        }
    }
}

/// Beyond those logged in, so many may be on their way; more are closed unheard.
const ARRIVING_MAX: usize = 200;
/// How long sessions may take to end when the instance stops.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// What all connections of an instance share.
struct Door {
    server: Arc<dyn Server>,
    encryption: Encryption,
    tls: Option<Tls>,
    message_bytes_max: usize,
    login_deadline: Duration,
    sessions: Arc<tokio::sync::Semaphore>,
    admission: watch::Receiver<Admission>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Serves clients until the shutdown, and ends every session before it returns.
pub async fn serve(
    listener: TcpListener,
    server: Arc<dyn Server>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), CertificateError> {
    let tls = match (options.encryption, options.certificate) {
        (Encryption::None, _) => None,
        (_, Some(certificate)) => Some(Tls::new(certificate)?),
        (_, None) => Some(Tls::new(Certificate::self_signed(server.name())?)?),
    };
    let door = Arc::new(Door {
        server,
        encryption: options.encryption,
        tls,
        message_bytes_max: options.message_bytes_max,
        login_deadline: options.login_deadline,
        sessions: Arc::new(tokio::sync::Semaphore::new(options.sessions_max)),
        admission: options.admission,
        tasks: TaskTracker::new(),
        shutdown,
    });
    let connections_max = options.sessions_max + ARRIVING_MAX;
    loop {
        let (socket, peer) = tokio::select! {
            biased;
            () = door.shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    refuse_for_a_while(&error).await;
                    continue;
                }
            },
        };
        if *door.admission.borrow() == Admission::Refused || door.tasks.len() >= connections_max {
            debug!(%peer, "closed at once");
            continue;
        }
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%peer, %error, "the connection was gone at once");
            continue;
        }
        door.tasks.spawn(session::hold(Arc::clone(&door), socket).instrument(info_span!("session", %peer)));
    }
    drop(listener);
    door.tasks.close();
    if tokio::time::timeout(STOP_DEADLINE, door.tasks.wait()).await.is_err() {
        warn!(left = door.tasks.len(), "sessions did not end in time");
    }
    Ok(())
}

/// Out of descriptors, most likely: others must end first, and trying again at once would only burn the processor.
async fn refuse_for_a_while(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    warn!(%error, "cannot accept connections");
    tokio::time::sleep(PAUSE).await;
}
