//! The state machine: an [`Application`] in memory, and how far it has come.
//!
//! It keeps nothing on disk but snapshots: the log is the truth, and after a restart openraft restores the last
//! snapshot and applies the rest again. It must never answer a proposer before the state shows the entry, and
//! never hold its lock across an await.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::AsyncRuntime;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::watch;

use crate::application::{Application, AppliedEntry};
use crate::raft::{EntryPayload, LogId, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::store::LogStore;

/// Entries that are applied under one lock. Bounded so that readers get their turn.
const APPLY_CHUNK: usize = 256;

/// The state and where it stands.
struct State<A> {
    application: A,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// A handle to the state; openraft applies through one, readers look through others.
pub(crate) struct Machine<A> {
    state: Arc<RwLock<State<A>>>,
    store: LogStore,
    applied: Arc<watch::Sender<u64>>,
    /// Changes only when the first entry of a term is applied: what a new leader waits for.
    applied_term: Arc<watch::Sender<u64>>,
    /// What the application said when it could not go on. The first word counts.
    refusal: Arc<OnceLock<String>>,
}

impl<A> Clone for Machine<A> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            store: self.store.clone(),
            applied: self.applied.clone(),
            applied_term: self.applied_term.clone(),
            refusal: self.refusal.clone(),
        }
    }
}

impl<A: Application> Machine<A> {
    pub(crate) fn new(application: A, store: LogStore) -> Self {
        let state = State { application, applied: None, membership: StoredMembership::default() };
        Self {
            state: Arc::new(RwLock::new(state)),
            store,
            applied: Arc::new(watch::Sender::new(0)),
            applied_term: Arc::new(watch::Sender::new(0)),
            refusal: Arc::default(),
        }
    }

    /// Looks at the state. Writers wait meanwhile.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&A) -> T) -> T {
        f(&self.read().application)
    }

    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub(crate) fn applied_term(&self) -> watch::Receiver<u64> {
        self.applied_term.subscribe()
    }

    /// Why the application could not go on, where that is what stopped this node.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    fn refuse(&self, why: String) -> io::Error {
        let _ = self.refusal.set(why.clone());
        io::Error::new(io::ErrorKind::InvalidData, why)
    }

    fn read(&self) -> RwLockReadGuard<'_, State<A>> {
        // Only `apply` and `restore` hold the lock for writing. If one of them panicked the state is undefined,
        // and nobody may act on it.
        self.state.read().expect("the application did not panic while it changed its state")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<A>> {
        self.state.write().expect("the application did not panic while it changed its state")
    }

    fn announce(&self, applied: Option<LogId>) {
        let Some(applied) = applied else { return };
        self.applied.send_replace(applied.index);
        let term = *applied.committed_leader_id();
        self.applied_term.send_if_modified(|t| std::mem::replace(t, *term) != *term);
    }
}

/// What a chunk of entries did: how far the state is, who is to be answered what, and what ended it early.
type Applied<R> = (Option<LogId>, Vec<(ApplyResponder<Types<R>>, Vec<u8>)>, Option<io::Error>);

impl<A: Application> Machine<A> {
    /// Applies under one lock. The answers are given afterwards, when the state can be seen.
    fn apply_chunk<R: AsyncRuntime>(&self, chunk: Vec<io::Result<EntryResponder<Types<R>>>>) -> Applied<R> {
        let mut answers = Vec::with_capacity(chunk.len());
        let mut state = self.write();
        for entry in chunk {
            match entry {
                Ok((entry, responder)) => match state.apply(entry.log_id, entry.payload) {
                    Ok(answer) => answers.extend(responder.map(|r| (r, answer))),
                    Err(why) => return (state.applied, answers, Some(self.refuse(why))),
                },
                Err(e) => return (state.applied, answers, Some(e)),
            }
        }
        (state.applied, answers, None)
    }
}

/// openraft does not notice a state machine that panicked and would lead on without one. As an error it stops the node.
/// The lock stays poisoned, so that nobody looks at what is left.
fn unwinding<T>(what: &str, f: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| io::Error::other(format!("the application panicked in {what}")))
}

impl<A: Application, R: AsyncRuntime> RaftStateMachine<Types<R>> for Machine<A> {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types<R>>>> + Unpin + Send,
    {
        let mut chunks = entries.ready_chunks(APPLY_CHUNK);
        while let Some(chunk) = chunks.next().await {
            let (applied, answers, failure) = unwinding("apply", || self.apply_chunk(chunk))?;
            self.announce(applied);
            for (responder, answer) in answers {
                responder.send(answer);
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        // Durable first: once the state shows it, openraft may purge the log below it.
        self.store.save_snapshot(meta, &snapshot).await?;
        unwinding("restore", || {
            let mut state = self.write();
            state.application.restore(&snapshot).map_err(|why| self.refuse(why))?;
            state.applied = meta.last_log_id;
            state.membership = meta.last_membership.clone();
            io::Result::Ok(())
        })??;
        self.announce(meta.last_log_id);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshot = self.store.load_snapshot()?;
        Ok(snapshot.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

impl<A: Application> State<A> {
    fn apply(&mut self, log_id: LogId, payload: EntryPayload) -> Result<Vec<u8>, String> {
        let answer = match payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                Vec::new()
            }
            EntryPayload::Normal(payload) => {
                let term = **log_id.committed_leader_id();
                self.application.apply(AppliedEntry { index: log_id.index(), term, payload: &payload.0 })?
            }
        };
        self.applied = Some(log_id);
        Ok(answer)
    }
}

impl<A: Application, R: AsyncRuntime> RaftSnapshotBuilder<Types<R>> for Machine<A> {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, snapshot) = unwinding("snapshot", || {
            let state = self.read();
            let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
            (meta, Bytes::from(state.application.snapshot()))
        })?;
        self.store.save_snapshot(&meta, &snapshot).await?;
        Ok(Snapshot { meta, snapshot })
    }
}
