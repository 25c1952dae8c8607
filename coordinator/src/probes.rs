//! Whether anything answers at an endpoint, as this coordinator sees it: it connects, and hangs up.
//!
//! Apart because it is the one place where a coordinator dials anything but its fellows. It must never send a byte, nor dial an
//! agent for one: agents dial the coordinators.

use std::{io, sync::Arc, time::Duration};

use baton_engine::sighting::{Connection, Seen, WHY_BYTES_MAX};
use baton_model::time::Span;
use baton_platform::{address::Address, dial::Dial};
use futures::{StreamExt as _, stream};

/// Endpoints tried at once.
const AT_ONCE: usize = 16;
/// Longest that one connection may take, whatever was asked for.
pub const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// A cheap handle.
#[derive(Clone)]
pub struct Probes {
    dial: Arc<dyn Dial>,
}

impl Probes {
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial }
    }

    /// Tries each once, in their order in the answer.
    pub async fn try_all(&self, endpoints: Vec<String>, patience: Span) -> Vec<Seen> {
        let patience = patience.to_std().min(PATIENCE_MAX);
        let tried = stream::iter(endpoints).map(|endpoint| async move {
            let connection = self.try_one(&endpoint, patience).await;
            Seen { endpoint, connection }
        });
        tried.buffered(AT_ONCE).collect().await
    }

    async fn try_one(&self, endpoint: &str, patience: Duration) -> Connection {
        let address: Address = match endpoint.parse() {
            Ok(address) => address,
            Err(error) => return Connection::CannotTell { why: short(&format!("{error}")) },
        };
        match tokio::time::timeout(patience, self.dial.dial(&address)).await {
            Ok(Ok(_)) => Connection::Made,
            Ok(Err(error)) => judge(&error),
            Err(_) => Connection::NotMade { why: format!("no answer within {patience:?}") },
        }
    }
}

/// Whether an error is about the other side, or about this one's own means: an unknown name, no descriptors left.
fn judge(error: &io::Error) -> Connection {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    match error.kind() {
        ConnectionRefused => Connection::NotMade { why: "refused".to_owned() },
        TimedOut | HostUnreachable | NetworkUnreachable | ConnectionReset | ConnectionAborted => {
            Connection::NotMade { why: short(&error.to_string()) }
        }
        _ => Connection::CannotTell { why: short(&error.to_string()) },
    }
}

/// As much of it as the log takes.
pub fn short(text: &str) -> String {
    let end = (0..=WHY_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use baton_platform::dial::TcpDial;

    use super::*;

    #[tokio::test]
    async fn what_listens_is_found_what_refuses_is_not_and_an_unknown_name_proves_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = listener.local_addr().expect("an address").to_string();
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let closed = gone.local_addr().expect("an address").to_string();
        drop(gone);
        let asked = vec![open.clone(), closed.clone(), "no-such-host.invalid:1".to_owned(), "nonsense".to_owned()];
        let seen = Probes::new(Arc::new(TcpDial)).try_all(asked, Span::from_secs(20)).await;
        assert_eq!(seen[0], Seen { endpoint: open, connection: Connection::Made });
        assert_eq!(seen[1], Seen { endpoint: closed, connection: Connection::NotMade { why: "refused".to_owned() } });
        for cannot in &seen[2..] {
            assert!(matches!(cannot.connection, Connection::CannotTell { .. }), "{cannot:?}");
        }
        assert_eq!(short(&"ä".repeat(300)).len(), WHY_BYTES_MAX);
    }
}
