//! The way into the executor.

use baton_model::{action::Action, ids::TaskId, order::Order, outcome::Fault, time::Span};
use baton_proto::v1 as pb;
use baton_wire::agent as wire;
use tokio::sync::mpsc;

/// Messages that wait for one coordinator; a coordinator that does not read them loses its session.
pub const UP_CAPACITY: usize = 256;

/// What a session brings. `from` is the coordinator's name, as its certificate says it.
pub enum Request {
    /// A session has begun; answers go here.
    Attach {
        coordinator: String,
        up: mpsc::Sender<pb::FromAgent>,
    },
    /// It has ended.
    Detach {
        coordinator: String,
        up: mpsc::Sender<pb::FromAgent>,
    },
    Reign {
        from: String,
        accession: wire::Accession,
    },
    Raise {
        from: String,
        raised: wire::Raised,
    },
    Execute {
        from: String,
        order: Order,
    },
    Forget {
        from: String,
        task: TaskId,
    },
    Observe {
        from: String,
        request: u64,
        action: Result<Action, Fault>,
        timeout: Span,
    },
    /// What an action finds that changes nothing.
    Sample {
        from: String,
        request: u64,
        action: Result<Action, Fault>,
        timeout: Span,
    },
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Handle {
    pub(super) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self { requests }
    }
    /// Waits while the executor has too much to do. False when it has ended.
    pub async fn send(&self, request: Request) -> bool {
        self.requests.send(request).await.is_ok()
    }
}
