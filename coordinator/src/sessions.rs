//! The agents on the line: one session a host, this coordinator's own. Memory only; truth is in the log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use baton_model::{
    assignment::{Seen, Tenure},
    ids::{ComponentName, GroupName, HostName, TaskId},
    outcome::{Fault, Observation},
    time::Moment,
    view::ProgressView,
};
use baton_proto::v1::{Acknowledged, Hello, ToAgent, to_agent};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Messages that may wait for one agent; one that does not take them is dropped, and comes back with a clear head.
const QUEUE_MAX: usize = 256;

/// Parts of one file that may wait for its reader.
const FILE_PARTS_MAX: usize = 256;

/// Twice the longest that an agent waits before it tries again.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Components of one host whose health is remembered.
const SEEN_MAX: usize = 4096;

/// Tasks of one host whose progress is remembered.
const TASKS_MAX: usize = 1024;

/// Names one session; never used again while the process lives.
pub type SessionId = u64;

/// What the dispatcher must know of.
#[derive(Debug)]
pub enum Event {
    Opened {
        host: HostName,
        session: SessionId,
    },
    Closed {
        host: HostName,
        session: SessionId,
    },
    Acknowledged {
        host: HostName,
        session: SessionId,
        message: Acknowledged,
    },
    /// Its agent stands otherwise with a group than it did.
    Stands {
        host: HostName,
        session: SessionId,
    },
}

/// What is known of a task beyond the log.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub accepted: bool,
    pub progress: Option<ProgressView>,
}

struct Session {
    id: SessionId,
    hello: Hello,
    /// Boxed, because a channel keeps room for 32 messages from its beginning: 6 KiB a session that has nothing to do.
    sender: mpsc::Sender<Box<ToAgent>>,
    end: CancellationToken,
    tasks: HashMap<TaskId, Live>,
    /// What its agent last saw of each component.
    seen: BTreeMap<(GroupName, ComponentName), Seen>,
    /// Where its agent last said that it stands, and when that was heard, by this process's own monotonic clock.
    tenures: Vec<Tenure>,
    tenures_heard: Option<Instant>,
}

impl Session {
    /// A host has a handful of tasks; one that claims more must not fill the memory.
    fn takes(&self, task: &TaskId) -> bool {
        self.tasks.len() < TASKS_MAX || self.tasks.contains_key(task)
    }
}

type SampledSender = oneshot::Sender<Result<serde_json::Value, Fault>>;
type ObservedSender = oneshot::Sender<Result<Observation, Fault>>;
/// A part of a file, or why there is none. The flag marks the last.
pub type FilePart = Result<(bytes::Bytes, bool), Fault>;

#[derive(Default)]
struct Inner {
    sessions: BTreeMap<HostName, Session>,
    next: u64,
    // With the host that was asked: no other may answer.
    observing: HashMap<u64, (HostName, ObservedSender)>,
    sampling: HashMap<u64, (HostName, SampledSender)>,
    reading: HashMap<u64, (HostName, mpsc::Sender<FilePart>)>,
}

/// The registry of sessions. A cheap handle.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Mutex<Inner>>,
    events: mpsc::UnboundedSender<Event>,
    changed: Arc<watch::Sender<u64>>,
    begun: Instant,
}

/// One session as its owner, the stream's task, holds it.
pub struct Opened {
    pub id: SessionId,
    pub messages: mpsc::Receiver<Box<ToAgent>>,
    pub end: CancellationToken,
}

impl Sessions {
    /// The events go to the dispatcher. Unbounded, because each is caused by a session, and those are bounded.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let changed = Arc::new(watch::channel(0).0);
        (Self { inner: Arc::default(), events, changed, begun: Instant::now() }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the sessions")
    }

    /// A newer session of the same host takes the place of the older one, which is ended.
    pub fn open(&self, host: &HostName, hello: Hello) -> Opened {
        let (sender, messages) = mpsc::channel(QUEUE_MAX);
        let end = CancellationToken::new();
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        let session = Session {
            id,
            hello,
            sender,
            end: end.clone(),
            tasks: HashMap::new(),
            seen: BTreeMap::new(),
            tenures: Vec::new(),
            tenures_heard: None,
        };
        if let Some(old) = inner.sessions.insert(host.clone(), session) {
            old.end.cancel();
        }
        drop(inner);
        let _ = self.events.send(Event::Opened { host: host.clone(), session: id });
        self.touch();
        Opened { id, messages, end }
    }

    pub fn close(&self, host: &HostName, id: SessionId) {
        let mut inner = self.lock();
        if inner.sessions.get(host).is_some_and(|session| session.id == id) {
            inner.sessions.remove(host);
            // Nobody will answer these: their readers hear of it at once.
            inner.observing.retain(|_, (asked, _)| asked != host);
            inner.sampling.retain(|_, (asked, _)| asked != host);
            inner.reading.retain(|_, (asked, _)| asked != host);
        }
        drop(inner);
        let _ = self.events.send(Event::Closed { host: host.clone(), session: id });
        self.touch();
    }

    /// Ends every session: the agents come back, to whoever leads.
    pub fn end_all(&self) {
        for session in self.lock().sessions.values() {
            session.end.cancel();
        }
    }

    pub fn acknowledged(&self, host: &HostName, session: SessionId, message: Acknowledged) {
        let _ = self.events.send(Event::Acknowledged { host: host.clone(), session, message });
    }

    /// The present session of a host.
    pub fn session_of(&self, host: &HostName) -> Option<SessionId> {
        self.lock().sessions.get(host).map(|session| session.id)
    }

    pub fn all(&self) -> Vec<(HostName, SessionId)> {
        self.lock().sessions.iter().map(|(host, session)| (host.clone(), session.id)).collect()
    }

    pub fn hosts(&self) -> Vec<HostName> {
        self.lock().sessions.keys().cloned().collect()
    }

    pub fn hello_of(&self, host: &HostName) -> Option<Hello> {
        self.lock().sessions.get(host).map(|session| session.hello.clone())
    }

    /// A number for a message that will be answered.
    pub fn next_request(&self) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        inner.next
    }

    /// Hands a message to a session. A session whose queue is full is dropped, with the reason in the log.
    pub fn send(&self, host: &HostName, session: SessionId, message: to_agent::Message) -> bool {
        let inner = self.lock();
        let Some(present) = inner.sessions.get(host).filter(|present| present.id == session) else { return false };
        match present.sender.try_send(Box::new(ToAgent { message: Some(message) })) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(%host, "session dropped: {QUEUE_MAX} messages wait and the agent takes none");
                present.end.cancel();
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    pub fn accepted(&self, host: &HostName, task: TaskId) {
        if let Some(session) = self.lock().sessions.get_mut(host).filter(|session| session.takes(&task)) {
            session.tasks.entry(task).or_default().accepted = true;
        }
        self.touch();
    }

    pub fn progress(&self, host: &HostName, task: TaskId, note: String, percent: u32, at: Moment) {
        if let Some(session) = self.lock().sessions.get_mut(host).filter(|session| session.takes(&task)) {
            let live = session.tasks.entry(task).or_default();
            live.accepted = true;
            live.progress = Some(ProgressView { note, percent: (percent <= 100).then_some(percent), at });
        }
        self.touch();
    }

    pub fn forget(&self, host: &HostName, task: &TaskId) {
        if let Some(session) = self.lock().sessions.get_mut(host) {
            session.tasks.remove(task);
        }
    }

    pub fn live(&self, host: &HostName, task: &TaskId) -> Option<Live> {
        self.lock().sessions.get(host)?.tasks.get(task).cloned()
    }

    /// What its agent sees of its components; what it does not name stays as it was.
    pub fn probed(&self, host: &HostName, id: SessionId, seen: Vec<Seen>) {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get_mut(host).filter(|session| session.id == id) else { return };
        let mut changed = false;
        for one in seen {
            let key = (one.group.clone(), one.component.clone());
            if session.seen.len() >= SEEN_MAX && !session.seen.contains_key(&key) {
                continue;
            }
            changed |= session.seen.get(&key).is_none_or(|old| old.health != one.health || old.what != one.what);
            session.seen.insert(key, one);
        }
        drop(inner);
        if changed {
            self.touch();
        }
    }

    /// Every agent that can come has had the time to: one that has no session is out of reach.
    pub fn is_settled(&self) -> bool {
        self.begun.elapsed() >= SETTLED_AFTER
    }

    /// What the agents on the line last saw.
    pub fn seen(&self) -> BTreeMap<HostName, Vec<Seen>> {
        let inner = self.lock();
        let with = inner.sessions.iter().filter(|(_, session)| !session.seen.is_empty());
        with.map(|(host, session)| (host.clone(), session.seen.values().cloned().collect())).collect()
    }

    /// Where an agent says that it stands, as of this moment.
    pub fn stands(&self, host: &HostName, id: SessionId, tenures: Vec<Tenure>) {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get_mut(host).filter(|session| session.id == id) else { return };
        let changed = session.tenures.len() != tenures.len()
            || session.tenures.iter().zip(&tenures).any(|(old, new)| {
                let outline = |tenure: &Tenure| (tenure.epoch, tenure.index, tenure.quiet, tenure.lease_left.0 == 0);
                outline(old) != outline(new)
            });
        session.tenures = tenures;
        session.tenures_heard = Some(Instant::now());
        drop(inner);
        if changed {
            let _ = self.events.send(Event::Stands { host: host.clone(), session: id });
            self.touch();
        }
    }

    /// Where a host on the line stands with a group, and how long ago it said so.
    pub fn tenure(&self, host: &HostName, group: &GroupName) -> Option<(Tenure, Duration)> {
        let inner = self.lock();
        let session = inner.sessions.get(host)?;
        let tenure = session.tenures.iter().find(|tenure| tenure.group == *group)?;
        Some((tenure.clone(), session.tenures_heard?.elapsed()))
    }

    /// Changes whenever something that a view shows has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn touch(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Asks a host what an action would change. Nothing is changed.
    pub async fn observe(
        &self,
        host: &HostName,
        action: &str,
        params: &serde_json::Value,
        patience: Duration,
    ) -> Result<Observation, Fault> {
        let session = self.session_of(host).ok_or_else(|| out_of_reach(host))?;
        let request = self.next_request();
        let (sender, receiver) = oneshot::channel();
        self.lock().observing.insert(request, (host.clone(), sender));
        let message = to_agent::Message::Observe(baton_proto::v1::Observe {
            request,
            action: action.to_owned(),
            params: params.to_string().into_bytes().into(),
            timeout_ms: patience.as_millis() as u64,
        });
        let answer = if self.send(host, session, message) {
            tokio::time::timeout(patience + Duration::from_secs(1), receiver).await.ok().and_then(Result::ok)
        } else {
            None
        };
        self.lock().observing.remove(&request);
        answer.unwrap_or_else(|| {
            Err(Fault::new(
                "BTN-0141",
                format!("{host} did not say within {patience:?} what {action} would change."),
                "Look at the host, or ask again.",
            ))
        })
    }

    pub fn observed(&self, host: &HostName, request: u64, answer: Result<Observation, Fault>) {
        let mut inner = self.lock();
        if inner.observing.get(&request).is_some_and(|(asked, _)| asked == host)
            && let Some((_, sender)) = inner.observing.remove(&request)
        {
            let _ = sender.send(answer);
        }
    }

    /// Asks a host what an action finds that changes nothing.
    pub async fn sample(
        &self,
        host: &HostName,
        action: &str,
        params: &serde_json::Value,
        patience: Duration,
    ) -> Result<serde_json::Value, Fault> {
        let session = self.session_of(host).ok_or_else(|| out_of_reach(host))?;
        let request = self.next_request();
        let (sender, receiver) = oneshot::channel();
        self.lock().sampling.insert(request, (host.clone(), sender));
        let message = to_agent::Message::Sample(baton_proto::v1::Sample {
            request,
            action: action.to_owned(),
            params: params.to_string().into_bytes().into(),
            timeout_ms: patience.as_millis() as u64,
        });
        let answer = if self.send(host, session, message) {
            tokio::time::timeout(patience + Duration::from_secs(1), receiver).await.ok().and_then(Result::ok)
        } else {
            None
        };
        self.lock().sampling.remove(&request);
        answer.unwrap_or_else(|| {
            Err(Fault::new(
                "BTN-0141",
                format!("{host} did not say within {patience:?} what {action} finds."),
                "Look at the host; its agent may be of an older version.",
            ))
        })
    }

    pub fn sampled(&self, host: &HostName, request: u64, answer: Result<serde_json::Value, Fault>) {
        let mut inner = self.lock();
        if inner.sampling.get(&request).is_some_and(|(asked, _)| asked == host)
            && let Some((_, sender)) = inner.sampling.remove(&request)
        {
            let _ = sender.send(answer);
        }
    }

    /// Asks a host for a file of a task.
    pub fn read_file(
        &self,
        host: &HostName,
        task: baton_proto::v1::TaskId,
        name: &str,
    ) -> Result<mpsc::Receiver<FilePart>, Fault> {
        let session = self.session_of(host).ok_or_else(|| out_of_reach(host))?;
        let request = self.next_request();
        let (sender, receiver) = mpsc::channel(FILE_PARTS_MAX);
        self.lock().reading.insert(request, (host.clone(), sender));
        let message =
            to_agent::Message::ReadFile(baton_proto::v1::ReadFile { request, task: Some(task), name: name.to_owned() });
        if self.send(host, session, message) {
            return Ok(receiver);
        }
        self.lock().reading.remove(&request);
        Err(out_of_reach(host))
    }

    /// Hands a part on. A reader that falls behind by [`FILE_PARTS_MAX`] loses the file: the session, with its heartbeats,
    /// must not wait for an operator's terminal.
    pub fn file_part(&self, host: &HostName, request: u64, part: FilePart) {
        let last = part.as_ref().map_or(true, |(_, last)| *last);
        let mut inner = self.lock();
        let Some((asked, sender)) = inner.reading.get(&request) else { return };
        if asked != host {
            return;
        }
        let kept = sender.try_send(part).is_ok();
        if last || !kept {
            inner.reading.remove(&request);
        }
    }
}

fn out_of_reach(host: &HostName) -> Fault {
    Fault::new(
        "BTN-0140",
        format!("{host} has no session with the leading coordinator."),
        "Is its agent running? See \"baton hosts\".",
    )
}
