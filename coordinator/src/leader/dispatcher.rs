//! Carries what is due to the agents. Holds no truth of its own: after a change of leader, of session or of anything else
//! it asks the engine again what is due, and sends what this session has not been sent.
//!
//! It must never send an order to an agent that has not acknowledged this leader's reign.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use baton_engine::{
    command::Command,
    due::{self, DueLease, DueOrder, DueRaise, Duties},
};
use baton_log::Log;
use baton_model::{
    fence::{Fence, Reign},
    ids::{HostName, TaskId},
    order::Order,
    plan::Unreachable,
    time::Span,
};
use baton_proto::v1::{self, to_agent};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    proposer::{ProposalError, Proposer},
    replica::Replica,
    sessions::{Event, SessionId, Sessions},
};

use super::{
    Assigner, Lessor, Questions, Reachability, Watchman,
    holders::{Holders, Sight, Silence, is_at_work_no_more, silence},
};

/// Longest time between two looks at what is due: covers what no event announces.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// As long as a lease is waited for.
const LOOK_AT_LEASES: Duration = Duration::from_millis(50);
/// What was not accepted is proposed again after it.
const PROPOSE_AGAIN: Duration = Duration::from_secs(2);
/// Tasks in one record of what is about to be ordered: a step may have thousands, an entry should stay small.
const RECORDED_AT_ONCE: usize = 256;
/// Proposals of this leader on its own account that may be under way at once.
const PROPOSALS_MAX: usize = 64;

/// Owned by one task; see [`Dispatcher::run`].
pub struct Dispatcher {
    log: Log<Replica>,
    proposer: Proposer,
    sessions: Sessions,
    events: mpsc::UnboundedReceiver<Event>,
    reachability: Reachability,
    questions: Questions,
    lessor: Lessor,
    watchman: Watchman,
    unreachable_after: Span,
    /// What this reign has done; forgotten when it ends.
    reign: Option<ReignState>,
    proposals: Arc<Semaphore>,
}

/// What it works with.
pub struct Means {
    pub log: Log<Replica>,
    pub proposer: Proposer,
    pub sessions: Sessions,
    pub reachability: Reachability,
    pub lessor: Lessor,
    pub watchman: Watchman,
}

/// Memory of one reign.
struct ReignState {
    reign: Reign,
    announced: HashMap<HostName, Announced>,
    /// What a host's present session has been sent. Dropped with the session: then it is due again.
    sent: HashMap<HostName, Sent>,
    /// A session may have come that has not heard of this reign.
    unannounced: bool,
    /// Fences that were asked for, by the number of the message that asked.
    raised: HashMap<u64, Raised>,
    /// Left out although the log says that they may be ordered, because they are at rest: never ordered again in this reign, since a
    /// proposal that failed may be committed all the same.
    left_out: HashSet<TaskId>,
    /// Commands of ours that are on their way, so that they are not proposed twice.
    proposed: HashSet<TaskId>,
    /// Since when a host with a skippable order has had no session.
    absent: HashMap<HostName, Instant>,
    assigner: Assigner,
    holders: Holders,
}

struct Sent {
    session: SessionId,
    /// With the authority under which each was ordered.
    tasks: HashMap<TaskId, u64>,
}

/// Orders that could not be given.
#[derive(Default)]
struct Withheld {
    /// Their host has no session, and may be left out.
    absent: Vec<DueOrder>,
    /// The log must say first that they may be ordered.
    unrecorded: Vec<TaskId>,
}

struct Raised {
    session: SessionId,
    fence: DueRaise,
}

struct Announced {
    session: SessionId,
    request: u64,
    acknowledged: bool,
}

impl Dispatcher {
    /// `events`: those of the same sessions.
    pub fn new(means: Means, events: mpsc::UnboundedReceiver<Event>, unreachable_after: Span) -> Self {
        let Means { log, proposer, sessions, reachability, lessor, watchman } = means;
        let proposals = Arc::new(Semaphore::new(PROPOSALS_MAX));
        let questions = Questions::new(log.clone(), proposer.clone(), reachability.clone());
        Self {
            log,
            proposer,
            sessions,
            events,
            reachability,
            questions,
            lessor,
            watchman,
            unreachable_after,
            reign: None,
            proposals,
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.log.leadership();
        let mut applied = self.log.applied();
        let (finished_sender, mut finished) = mpsc::unbounded_channel::<TaskId>();
        let mut wait = LOOK_AGAIN;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = leadership.changed() => if changed.is_err() { return },
                changed = applied.changed() => if changed.is_err() { return },
                event = self.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                Some(task) = finished.recv() => {
                    if let Some(reign) = &mut self.reign {
                        reign.proposed.remove(&task);
                    }
                }
                () = tokio::time::sleep(wait) => {
                    if let Some(reign) = &mut self.reign {
                        reign.unannounced = true;
                    }
                }
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(event);
            }
            let now_leading = leadership.borrow_and_update().clone();
            applied.mark_unchanged();
            if !now_leading.ready {
                self.reign = None;
                wait = LOOK_AGAIN;
                continue;
            }
            wait = self.turn(now_leading.term, &finished_sender).await;
        }
    }

    fn take(&mut self, event: Event) {
        let Some(reign) = &mut self.reign else { return };
        match event {
            // `turn` announces the reign to it.
            Event::Opened { host, session } => {
                reign.unannounced = true;
                if reign.sent.get(&host).is_some_and(|sent| sent.session != session) {
                    reign.sent.remove(&host);
                }
                reign.absent.remove(&host);
            }
            // `turn` looks at it, if anybody waits for it.
            Event::Stands { .. } => {}
            Event::Closed { host, session } => {
                if reign.sent.get(&host).is_some_and(|sent| sent.session == session) {
                    reign.sent.remove(&host);
                }
                if reign.announced.get(&host).is_some_and(|announced| announced.session == session) {
                    reign.announced.remove(&host);
                }
            }
            Event::Acknowledged { host, session, message } => {
                if let Some(announced) = reign.announced.get_mut(&host)
                    && announced.session == session
                    && announced.request == message.request
                {
                    let said = Reign { generation: message.generation, term: message.term };
                    if said == reign.reign {
                        announced.acknowledged = true;
                        reign.assigner.greet(&host);
                    } else {
                        tracing::warn!(%host, "obeys reign {said}, this one is {}", reign.reign);
                    }
                    for task in message.open_tasks {
                        if let Ok(task) = baton_wire::agent::parse_task_id("Acknowledged", Some(task)) {
                            self.sessions.accepted(&host, task);
                        }
                    }
                } else if let Some(raised) = reign.raised.remove(&message.request) {
                    // Exactly the fence that was asked for, of this run, in this session and reign: another run's fence,
                    // or a later one of this run, proves nothing about it.
                    let said = Reign { generation: message.generation, term: message.term };
                    if said == reign.reign
                        && raised.session == session
                        && raised.fence.host == host
                        && message.index >= raised.fence.index
                    {
                        let DueRaise { run, host, index } = raised.fence;
                        tracing::info!(%host, %run, index, "fence acknowledged");
                        self.propose_detached(Command::AcknowledgeFence { run, host, index }, None);
                    }
                }
            }
        }
    }

    /// One look at what is due. Answers how long until the next one at the latest.
    async fn turn(&mut self, term: u64, finished: &mpsc::UnboundedSender<TaskId>) -> Duration {
        let now = self.proposer.now();
        let generation = self.log.with(|replica| replica.state.generation);
        let reign = Reign { generation, term };
        if self.reign.as_ref().is_none_or(|present| present.reign != reign) {
            tracing::info!(%reign, "this coordinator leads");
            self.reign = Some(ReignState {
                reign,
                announced: HashMap::new(),
                sent: HashMap::new(),
                unannounced: true,
                raised: HashMap::new(),
                left_out: HashSet::new(),
                proposed: HashSet::new(),
                absent: HashMap::new(),
                assigner: Assigner::default(),
                holders: Holders::default(),
            });
        }
        self.announce();
        // Before any order that follows from the same state.
        self.assign(reign);
        let Some(state) = &self.reign else { return LOOK_AGAIN };
        let mut duties = self.log.with(|replica| {
            due::due_except(&replica.state, now, |task| {
                state.sent.get(&task.host).and_then(|sent| sent.tasks.get(task)).copied()
            })
        });
        let wake = duties.wake;
        let raises = std::mem::take(&mut duties.raises);
        self.expire(&duties, finished);
        for opening in std::mem::take(&mut duties.openings) {
            self.questions.open_window(opening);
        }
        for probe in std::mem::take(&mut duties.probes) {
            self.questions.probe(probe);
        }
        for run in std::mem::take(&mut duties.rechecks) {
            self.watchman.recheck(&run);
        }
        let leases = std::mem::take(&mut duties.leases);
        self.judge_holders(&leases);
        // Orders before fences: what is still wanted on a host hears of its newer authority before what is older ends there.
        let Withheld { absent, unrecorded } = self.send(duties.orders);
        self.record_dispatch(unrecorded, finished);
        self.raise(&raises);
        self.skip_unreachable(absent, finished).await;
        let until = wake.map_or(LOOK_AGAIN, |wake| Duration::from_millis(wake.since(now).as_millis().max(1)));
        // That a lease runs out is announced by nothing.
        let most = if leases.is_empty() { LOOK_AGAIN } else { LOOK_AT_LEASES };
        until.min(most)
    }

    /// What hosts are to their groups, to those that have not heard it.
    fn assign(&mut self, reign: Reign) {
        let Some(state) = &mut self.reign else { return };
        let index = state.assigner.look(&self.log);
        let fence = Fence { generation: reign.generation, term: reign.term, index };
        let ReignState { assigner, announced, .. } = state;
        let known = |host: &HostName| {
            announced.get(host).filter(|announced| announced.acknowledged).map(|announced| announced.session)
        };
        assigner.send(fence, known, &self.sessions, &self.lessor);
    }

    /// Proposes what has ended of the leases that a transfer waits for, and who goes by a lease.
    fn judge_holders(&mut self, leases: &[DueLease]) {
        let Some(state) = &mut self.reign else { return };
        let sight = Sight { log: &self.log, sessions: &self.sessions, lessor: &self.lessor, term: state.reign.term };
        let mut commands = state.holders.ends(&sight, leases);
        commands.extend(state.holders.holding(&sight));
        for command in commands {
            self.propose_detached(command, None);
        }
    }

    /// "I lead", to every session that has not heard it in this reign.
    fn announce(&mut self) {
        let Some(state) = &mut self.reign else { return };
        if !std::mem::take(&mut state.unannounced) {
            return;
        }
        for (host, session) in self.sessions.all() {
            if state.announced.get(&host).is_some_and(|announced| announced.session == session) {
                continue;
            }
            let (marks, floors) = self.log.with(|replica| {
                let groups = replica.state.groups.iter().filter(|(_, group)| group.definition.hosts.contains(&host));
                let mut marks = Vec::new();
                let mut floors = Vec::new();
                for (name, _) in groups {
                    floors.push(v1::RunFloor { group: name.to_string(), number: replica.state.floor(name) });
                    if let Some(run) = replica.state.open_run(name) {
                        let mark = |index| v1::RunMark { run: run.id.to_string(), index };
                        marks.extend(due::mark_on(run, &host).map(mark));
                    }
                }
                (marks, floors)
            });
            let request = self.sessions.next_request();
            let message =
                v1::Reign { request, generation: state.reign.generation, term: state.reign.term, marks, floors };
            if self.sessions.send(&host, session, to_agent::Message::Reign(message)) {
                state.announced.insert(host, Announced { session, request, acknowledged: false });
            }
        }
    }

    fn raise(&mut self, raises: &[DueRaise]) {
        let Some(state) = &mut self.reign else { return };
        for raise in raises {
            let Some(session) = acknowledged(state, &raise.host) else { continue };
            if state.raised.values().any(|raised| raised.session == session && raised.fence == *raise) {
                continue;
            }
            let request = self.sessions.next_request();
            let fence = Fence { generation: state.reign.generation, term: state.reign.term, index: raise.index };
            let message =
                v1::Raise { request, fence: Some(baton_wire::agent::fence(fence)), run: raise.run.to_string() };
            if self.sessions.send(&raise.host, session, to_agent::Message::Raise(message)) {
                state.raised.insert(request, Raised { session, fence: raise.clone() });
            }
        }
    }

    fn expire(&mut self, duties: &Duties, finished: &mpsc::UnboundedSender<TaskId>) {
        for task in &duties.expired {
            let Some(state) = &mut self.reign else { return };
            if state.proposed.insert(task.clone()) {
                let command = Command::ExpireTask { task: task.clone() };
                self.propose_detached(command, Some((vec![task.clone()], finished.clone())));
            }
        }
    }

    /// Sends what can be sent.
    fn send(&mut self, orders: Vec<DueOrder>) -> Withheld {
        let mut withheld = Withheld::default();
        let Some(state) = &mut self.reign else { return withheld };
        for order in orders {
            let host = order.task.host.clone();
            if self.sessions.session_of(&host).is_none() {
                if order.unreachable == Unreachable::Skip {
                    state.absent.entry(host).or_insert_with(Instant::now);
                    withheld.absent.push(order);
                }
                continue;
            }
            state.absent.remove(&host);
            let Some(session) = acknowledged(state, &host) else { continue };
            if state.left_out.contains(&order.task) {
                continue;
            }
            if order.awaits_record() {
                withheld.unrecorded.push(order.task);
                continue;
            }
            let fence = Fence { generation: state.reign.generation, term: state.reign.term, index: order.index };
            let message = baton_wire::agent::execute(&Order {
                task: order.task.clone(),
                fence,
                action: order.action,
                params: order.params,
                timeout: order.timeout,
            });
            tracing::info!(task = %order.task, %fence, "ordered");
            if self.sessions.send(&host, session, to_agent::Message::Execute(message)) {
                let sent = state.sent.entry(host).or_insert_with(|| Sent { session, tasks: HashMap::new() });
                if sent.session != session {
                    *sent = Sent { session, tasks: HashMap::new() };
                }
                sent.tasks.insert(order.task, order.index);
            }
        }
        withheld
    }

    /// One commit more than other steps need, and one for all hosts: without it a new leader could not tell who may be at work.
    fn record_dispatch(&mut self, tasks: Vec<TaskId>, finished: &mpsc::UnboundedSender<TaskId>) {
        let Some(state) = &mut self.reign else { return };
        let tasks: Vec<TaskId> = tasks.into_iter().filter(|task| state.proposed.insert(task.clone())).collect();
        for tasks in tasks.chunks(RECORDED_AT_ONCE) {
            let command = Command::RecordDispatch { tasks: tasks.to_vec() };
            self.propose_detached(command, Some((tasks.to_vec(), finished.clone())));
        }
    }

    /// Where the step allows it, and a majority has had no session with the host for long enough.
    async fn skip_unreachable(&mut self, absent: Vec<DueOrder>, finished: &mpsc::UnboundedSender<TaskId>) {
        let Some(state) = &self.reign else { return };
        let sight = Sight { log: &self.log, sessions: &self.sessions, lessor: &self.lessor, term: state.reign.term };
        let ripe: Vec<DueOrder> = absent
            .into_iter()
            .filter(|order| !state.proposed.contains(&order.task))
            // What some leader has sent may be at work: that ends as unknown, never as left out, unless it certainly is not.
            .filter(|order| !order.dispatched || is_at_work_no_more(&sight, order))
            .filter(|order| match silence(&sight, order) {
                // The old primary's part is left out only when it certainly serves no more, and that is long enough.
                Silence::MayServe => false,
                Silence::Over(_) => true,
                // Counted for the host, not for the step: a host that has been away all the time costs its wait once.
                Silence::SaysNothing => state
                    .absent
                    .get(&order.task.host)
                    .is_some_and(|since| since.elapsed() >= self.unreachable_after.to_std()),
            })
            .collect();
        if ripe.is_empty() {
            return;
        }
        let survey = self.reachability.survey().await;
        for order in ripe {
            let Some(without) = survey.unreachable(&order.task.host) else { continue };
            let Some(state) = &mut self.reign else { return };
            state.proposed.insert(order.task.clone());
            let absent =
                state.absent.get(&order.task.host).map_or(Span(0), |since| Span(since.elapsed().as_millis() as u64));
            let evidence = format!(
                "the leader has had no session with it for {absent}, and {} of {} coordinators ({}) have none now",
                without.len(),
                survey.coordinators,
                without.join(", "),
            );
            let at_rest = order.dispatched;
            if at_rest {
                state.left_out.insert(order.task.clone());
            }
            let command = Command::SkipUnreachable { task: order.task.clone(), evidence, at_rest };
            self.propose_detached(command, Some((vec![order.task], finished.clone())));
        }
    }

    /// Proposes beside the loop, so that a slow commit does not hold up other orders. Nothing is lost if it fails: the
    /// next look finds the same duty.
    fn propose_detached(&self, command: Command, then: Option<Then>) {
        tokio::spawn(propose(self.proposer.clone(), self.proposals.clone(), command, then));
    }
}

/// Who is told when the duty of these tasks may be looked at again.
type Then = (Vec<TaskId>, mpsc::UnboundedSender<TaskId>);

async fn propose(proposer: Proposer, permits: Arc<Semaphore>, command: Command, then: Option<Then>) {
    let Ok(permit) = permits.acquire().await else { return };
    let proposed = proposer.propose(proposer.itself(), "", None, command.clone()).await;
    drop(permit);
    let failed = proposed.is_err();
    match proposed {
        Ok(_) => {}
        Err(ProposalError::Log(error)) => tracing::debug!(%error, ?command, "not proposed"),
        Err(error) => tracing::warn!(%error, ?command, "not accepted"),
    }
    if let Some((tasks, finished)) = then {
        // A leader that has lost its majority, and does not know it yet, refuses at once: told at once, the loop would find the same
        // duty at once, and so on.
        if failed {
            tokio::time::sleep(PROPOSE_AGAIN).await;
        }
        for task in tasks {
            let _ = finished.send(task);
        }
    }
}

fn acknowledged(state: &ReignState, host: &HostName) -> Option<SessionId> {
    state.announced.get(host).filter(|announced| announced.acknowledged).map(|announced| announced.session)
}

#[cfg(test)]
mod tests {
    use baton_log::{Node, Options, Storage};
    use baton_platform::clock::SystemClock;

    use super::*;
    use crate::replica::Replica;

    /// Found by a simulated leader without a majority: its loop went round as fast as the processor could.
    #[tokio::test]
    async fn what_is_refused_at_once_is_not_proposed_again_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let nobody = |_: u64, node: &Node| Err(format!("{node} is not there"));
        let storage = Storage::file(directory.path().join("log.redb"));
        // Never initialized: nobody leads.
        let log = Log::open(Options::new(1, "c1"), storage, Replica::default(), nobody).await.expect("it opens");
        let proposer = Proposer::new(log, Arc::new(SystemClock::new()), "c1".to_owned());
        let task: TaskId =
            serde_json::from_value(serde_json::json!({ "run": "g-1", "step": "1", "host": "h", "attempt": 1 }))
                .expect("a task");
        let (sender, mut finished) = mpsc::unbounded_channel();
        let command = Command::ExpireTask { task: task.clone() };
        let begun = Instant::now();
        propose(proposer, Arc::new(Semaphore::new(1)), command, Some((vec![task.clone()], sender))).await;
        assert_eq!(finished.recv().await, Some(task));
        assert!(begun.elapsed() >= PROPOSE_AGAIN, "the same duty is found at once");
    }
}
