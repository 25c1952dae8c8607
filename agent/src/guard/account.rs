//! What the guard gives account of: that it is about to stop something, and what came of it.
//!
//! Apart because the journal belongs to the executor, and a slow disk must not hold up what has to stop.

use std::{sync::Arc, time::Duration};

use baton_model::{
    ids::HostName,
    outcome::Fault,
    time::{Moment, Span},
};
use baton_platform::clock::Clock;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    deeds::Happened,
    executor::Request,
    ledger::Undertaken,
    standing::{Key, Stopping, Why},
};

/// How long the disk is waited for before something is stopped that was started where it must not run.
const DISK_PATIENCE: Duration = Duration::from_millis(500);
/// While it cannot be stopped, it is said so often.
const AGAIN: Span = Span::from_secs(60);

pub(super) struct Account {
    pub key: Key,
    pub host: HostName,
    pub clock: Arc<dyn Clock>,
    /// To the executor, in order. Where it is full the disk stands still, and what happened is in the log alone.
    pub journal: mpsc::Sender<Request>,
    /// What is not settled yet.
    pub open: Option<Open>,
}

pub(super) struct Open {
    reason: String,
    failed_ms: Option<u64>,
}

impl Account {
    /// Something is about to be stopped. Once for as long as it takes.
    pub async fn undertake(&mut self, stopping: &Stopping) {
        if self.open.is_some() {
            return;
        }
        let (group, component) = self.key.clone();
        let reason = match stopping.why {
            Why::Standby => format!("it ran on {}, which is not primary", self.host),
            Why::Yielding => format!("{} is about to lose the role", self.host),
            Why::AgentEnds => "the agent was told to end, and nobody would stop it afterwards".to_owned(),
            Why::LeaseOver => format!("the lease of {group} in epoch {} was over", stopping.epoch),
        };
        tracing::warn!(%group, %component, reason, "a component is stopped");
        let undertaken = Undertaken { at: self.now(), what: format!("stop {component}: {reason}") };
        self.open = Some(Open { reason, failed_ms: None });
        let (done, written) = oneshot::channel();
        let request = Request::Undertaken { group, component, undertaken, done };
        self.send(request);
        // Where a lease is over nothing is waited for; else, not for ever.
        if stopping.why != Why::LeaseOver {
            let _ = timeout(DISK_PATIENCE, written).await;
        }
    }

    /// It does not run any more.
    pub fn settle(&mut self, how: &str) {
        let Some(open) = self.open.take() else { return };
        let what = format!("stopped {}: {} ({how})", self.key.1, open.reason);
        tracing::warn!(group = %self.key.0, "{what}");
        self.put(what, false, true);
    }

    /// It may run here again, whatever came of it.
    pub fn give_up(&mut self) {
        if let Some(open) = self.open.take() {
            let what = format!("does not stop {} any more, since it may run again: {}", self.key.1, open.reason);
            tracing::info!(group = %self.key.0, "{what}");
            self.put(what, false, true);
        }
    }

    /// It could not be stopped; said at once, and then now and again.
    pub fn fail(&mut self, fault: &Fault) {
        let now_ms = self.clock.boot_ms();
        let component = &self.key.1;
        let Some(open) = &mut self.open else { return };
        if open.failed_ms.is_some_and(|failed_ms| now_ms.saturating_sub(failed_ms) < AGAIN.0) {
            return;
        }
        open.failed_ms = Some(now_ms);
        let what = format!("could not stop {component}: {}; {fault}", open.reason);
        tracing::error!(group = %self.key.0, "{what}");
        self.put(what, true, false);
    }

    fn put(&self, what: String, failed: bool, ends: bool) {
        let (group, component) = self.key.clone();
        let happened = Happened { group, component, at: self.now(), what, failed, ends };
        self.send(Request::Happened(happened));
    }

    fn send(&self, request: Request) {
        if self.journal.try_send(request).is_err() {
            tracing::error!(group = %self.key.0, component = %self.key.1, "a deed is not in the journal: it does not keep up");
        }
    }

    fn now(&self) -> Moment {
        Moment(self.clock.now_unix_ms())
    }
}

/// A component that is not guarded any more, or in another way.
impl Drop for Account {
    fn drop(&mut self) {
        if let Some(open) = self.open.take()
            && !self.journal.is_closed()
        {
            let what = format!("does not watch {} any more in that way: {}", self.key.1, open.reason);
            tracing::info!(group = %self.key.0, "{what}");
            self.put(what, false, true);
        }
    }
}
