//! Asks hosts their groups' samples while they live, and keeps what they said in the log.
//!
//! An answer is committed when it says something new, when the last committed one is a minute old, and when the host then
//! stops answering: its last word is what a data-loss bill is made of. In between, this leader remembers when it was last
//! confirmed, so that ages stay honest without a log entry for each look; a new leader goes on from the log.
//!
//! It must never make a plan out of date, hold an order up, or ask more of a host at once than one question a sample.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use baton_engine::{command::Command, state};
use baton_log::Log;
use baton_model::{
    bill::{Kept, Sampled, Samples, bounded, length},
    ids::{GroupName, HostName, SampleName},
    outcome::Fault,
    time::{Moment, Span},
};
use baton_planner::sample::{Question, questions};
use futures::future::join_all;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{definitions, proposer::Proposer, replica::Replica, sessions::Sessions};

/// How often it is looked whom to ask.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// An answer that comes later than this is none, however seldom is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// When somebody waits for the answers.
const REFRESH_PATIENCE: Duration = Duration::from_secs(5);
/// An unchanged answer is committed this often, so that a new leader knows how old it is.
const CONFIRM_EVERY: Span = Span::from_secs(60);
/// Questions under way at once.
const ASKED_MAX: usize = 64;

type Key = (GroupName, SampleName, HostName);

/// A cheap handle.
#[derive(Clone)]
pub struct Sampler {
    log: Log<Replica>,
    proposer: Proposer,
    sessions: Sessions,
    memory: Arc<Mutex<Memory>>,
    asking: Arc<Semaphore>,
}

/// Of one reign.
#[derive(Default)]
struct Memory {
    term: u64,
    asked: BTreeMap<Key, Asked>,
    /// With the group's revision that they were made from: parsing a group for each look would cost more than asking.
    questions: BTreeMap<GroupName, (u64, Arc<Vec<Question>>)>,
}

#[derive(Default)]
struct Asked {
    next: Option<Instant>,
    busy: bool,
    latest: Option<Sampled>,
    /// Why the last question had no answer.
    fault: Option<Fault>,
}

/// Whether an answer goes into the log.
fn is_news(answer: &Sampled, committed: Option<&Sampled>) -> bool {
    committed
        .is_none_or(|committed| !answer.says_the_same(committed) || answer.seen.since(committed.seen) >= CONFIRM_EVERY)
}

/// A group that is no longer understood asks nothing; whoever plans with it is told.
fn asked_by(group: &state::Group) -> Vec<Question> {
    if !group.definition.source.text.contains("samples") {
        return Vec::new();
    }
    definitions::group_of(group)
        .map(|definition| questions(&definition, &definitions::situation_of(group)))
        .unwrap_or_default()
}

impl Sampler {
    pub fn new(log: Log<Replica>, proposer: Proposer, sessions: Sessions) -> Self {
        let asking = Arc::new(Semaphore::new(ASKED_MAX));
        Self { log, proposer, sessions, memory: Arc::default(), asking }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("nothing panics while it holds the memory")
    }

    /// Runs until `stop`. Asks while this node leads.
    pub async fn run(self, stop: CancellationToken) {
        let leadership = self.log.leadership();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let leading = leadership.borrow().clone();
            if !leading.ready {
                *self.lock() = Memory::default();
                continue;
            }
            self.begin_reign(leading.term);
            for (key, question) in self.due() {
                let sampler = self.clone();
                tokio::spawn(async move { sampler.ask(key, &question, PATIENCE).await });
            }
        }
    }

    /// What another reign remembered may have been overtaken by the one between.
    fn begin_reign(&self, term: u64) {
        let mut memory = self.lock();
        if memory.term != term {
            *memory = Memory { term, ..Memory::default() };
        }
    }

    /// The questions of every group, or of one.
    fn questions(&self, only: Option<&GroupName>) -> Vec<(GroupName, Arc<Vec<Question>>)> {
        let is_wanted = |name: &GroupName| only.is_none_or(|only| only == name);
        let changed: Vec<(GroupName, state::Group)> = {
            let mut memory = self.lock();
            self.log.with(|replica| {
                let groups = &replica.state.groups;
                memory.questions.retain(|name, _| groups.contains_key(name));
                memory.asked.retain(|(name, _, _), _| groups.contains_key(name));
                let known = |name: &GroupName| memory.questions.get(name).map(|(revision, _)| *revision);
                let changed =
                    groups.iter().filter(|(name, group)| is_wanted(name) && known(name) != Some(group.revision));
                changed.map(|(name, group)| (name.clone(), group.clone())).collect()
            })
        };
        // Beside the locks: nobody waits for a thousand groups to be read.
        let made: Vec<_> =
            changed.into_iter().map(|(name, group)| (name, group.revision, Arc::new(asked_by(&group)))).collect();
        let mut memory = self.lock();
        for (name, revision, questions) in made {
            memory.questions.insert(name, (revision, questions));
        }
        let wanted = memory.questions.iter().filter(|(name, _)| is_wanted(name));
        wanted.map(|(name, (_, questions))| (name.clone(), questions.clone())).collect()
    }

    /// Whose turn it is; they count as asked from now on.
    fn due(&self) -> Vec<(Key, Question)> {
        let groups = self.questions(None);
        let now = Instant::now();
        let mut memory = self.lock();
        let mut due = Vec::new();
        for (group, questions) in groups {
            for question in questions.iter() {
                let key = (group.clone(), question.sample.clone(), question.host.clone());
                let asked = memory.asked.entry(key.clone()).or_default();
                if asked.busy || asked.next.is_some_and(|next| now < next) {
                    continue;
                }
                asked.busy = true;
                asked.next = Some(now + question.every.to_std());
                due.push((key, question.clone()));
            }
        }
        due
    }

    /// One question, and what becomes of its answer.
    async fn ask(&self, key: Key, question: &Question, patience: Duration) {
        let patience = patience.min(question.every.to_std().max(Duration::from_secs(1)));
        let seen = self.proposer.now();
        let answer = match (&question.asked, self.asking.acquire().await) {
            (Ok(asked), Ok(_permit)) => self.sessions.sample(&key.2, &asked.action, &asked.params, patience).await,
            (Err(fault), _) => Err(fault.clone()),
            (Ok(_), Err(_)) => return,
        };
        let answer = answer.and_then(|data| {
            bounded(data).map(|data| Sampled { seen, data }).map_err(|bytes| {
                let message = format!("sample {} of {} says {bytes} bytes, which is too much to keep.", key.1, key.2);
                Fault::new("BTN-0173", message, "Ask for fewer databases, in several samples.")
            })
        });
        let committed = self.committed(&key);
        let keep = {
            let mut memory = self.lock();
            let asked = memory.asked.entry(key.clone()).or_default();
            asked.busy = false;
            match answer {
                Ok(answer) => {
                    asked.fault = None;
                    if asked.latest.as_ref().is_none_or(|latest| latest.seen < answer.seen) {
                        asked.latest = Some(answer.clone());
                    }
                    is_news(&answer, committed.as_ref()).then_some(answer)
                }
                Err(fault) => {
                    if asked.fault.is_none() {
                        tracing::info!(group = %key.0, sample = %key.1, host = %key.2, %fault, "a sample has no answer");
                    }
                    asked.fault = Some(fault);
                    // The host's last word, whether or not it was new.
                    let confirmed = |latest: &&Sampled| committed.as_ref().is_none_or(|kept| kept.seen < latest.seen);
                    asked.latest.as_ref().filter(confirmed).cloned()
                }
            }
        };
        if let Some(sampled) = keep {
            self.commit(key, sampled).await;
        }
    }

    fn committed(&self, (group, sample, host): &Key) -> Option<Sampled> {
        self.log.with(|replica| {
            let kept = replica.state.groups.get(group)?.samples.get(sample)?.get(host)?;
            Some(kept.latest.clone())
        })
    }

    /// What fails here is tried again with the next answer.
    async fn commit(&self, (group, sample, host): Key, sampled: Sampled) {
        let command = Command::RecordSample { group, sample, host, sampled };
        if let Err(error) = self.proposer.propose(self.proposer.itself(), "", None, command).await {
            tracing::debug!(%error, "a sample was not recorded");
        }
    }

    /// Asks every host of the group now, and waits for them, for a bounded time.
    pub async fn refresh(&self, group: &GroupName) {
        let asked = self.questions(Some(group)).into_iter().flat_map(|(_, questions)| questions.to_vec());
        // Also what was seen a moment ago: it may have been before the death for which somebody asks.
        let asked = asked.map(|question| {
            let key = (group.clone(), question.sample.clone(), question.host.clone());
            async move { self.ask(key, &question, REFRESH_PATIENCE).await }
        });
        let _ = tokio::time::timeout(REFRESH_PATIENCE + Duration::from_secs(2), join_all(asked)).await;
    }

    /// What is known of a group's samples: the log's, and what this leader was told since.
    pub fn samples(&self, group: &GroupName) -> Samples {
        let mut samples = self
            .log
            .with(|replica| replica.state.groups.get(group).map(|group| group.samples.clone()).unwrap_or_default());
        let memory = self.lock();
        for ((_, sample, host), asked) in memory.asked.iter().filter(|((name, _, _), _)| name == group) {
            let Some(latest) = &asked.latest else { continue };
            let hosts = samples.entry(sample.clone()).or_default();
            match hosts.get_mut(host) {
                Some(kept) if kept.latest.seen < latest.seen => kept.take(latest.clone()),
                Some(_) => {}
                None => {
                    hosts.insert(host.clone(), Kept::new(latest.clone()));
                }
            }
        }
        samples
    }

    /// Samples that are older than they should be, in words.
    pub fn warnings(&self, group: &GroupName, now: Moment) -> Vec<String> {
        let samples = self.samples(group);
        let questions = self.questions(Some(group));
        let memory = self.lock();
        let stale = questions.iter().flat_map(|(_, questions)| questions.iter()).filter_map(|question| {
            let Question { sample, host, every, .. } = question;
            let asked = memory.asked.get(&(group.clone(), sample.clone(), host.clone()));
            let why = asked.and_then(|asked| asked.fault.as_ref()).map(|fault| format!(": {}", fault.message));
            let why = why.unwrap_or_default();
            match samples.get(sample).and_then(|hosts| hosts.get(host)) {
                // Before it was asked for the first time there is nothing to say.
                None if why.is_empty() => None,
                None => Some(format!("sample {sample} of {host} was never taken{why}")),
                Some(kept) => {
                    let age = now.since(kept.latest.seen);
                    let old = age > Span(every.0.saturating_mul(3));
                    old.then(|| format!("sample {sample} of {host} is {} old (asked every {every}){why}", length(age)))
                }
            }
        });
        stale.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_kept_when_it_is_new_and_otherwise_once_a_minute() {
        let said = |seen: u64, lsn: u64| Sampled { seen: Moment(seen), data: json!({ "taken_ms": seen, "lsn": lsn }) };
        let committed = said(1_000_000, 7);
        assert!(is_news(&said(1_000_001, 7), None));
        assert!(is_news(&said(1_010_000, 8), Some(&committed)));
        assert!(!is_news(&said(1_059_999, 7), Some(&committed)), "the host's own clock is no news");
        assert!(is_news(&said(1_060_000, 7), Some(&committed)));
    }
}
