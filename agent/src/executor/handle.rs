//! The way into the executor.

use baton_model::{
    action::Action,
    ids::{ComponentName, GroupName, TaskId},
    order::Order,
    outcome::Fault,
    time::Span,
};
use baton_proto::v1 as pb;
use baton_wire::{agent as wire, assignment::Assigning};
use tokio::sync::{mpsc, oneshot};

use crate::{deeds::Happened, ledger::Undertaken};

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
        /// When it came, on the clock that counts sleep.
        heard_ms: u64,
    },
    Assign {
        from: String,
        assigning: Assigning,
        heard_ms: u64,
    },
    /// The coordinators have what this host did on its own account, up to this number.
    DeedsKept {
        from: String,
        number: u64,
    },
    /// From the guard, which is about to stop something; answered when that is on disk.
    Undertaken {
        group: GroupName,
        component: ComponentName,
        undertaken: Undertaken,
        done: oneshot::Sender<()>,
    },
    /// From the guard: what came of it.
    Happened(Happened),
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
