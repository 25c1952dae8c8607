//! The guard: sees to it that nothing exclusive runs where it must not, network or not, and watches how components are.
//!
//! Apart from the executor because nobody orders it: it goes by the assignment on this host's disk and by the clock. It has a thread of
//! its own, so that neither a slow disk nor a slow order is between the end of a lease and the stop that follows. It must never stop
//! what may serve, and never start anything.

use std::{collections::HashMap, thread, time::Duration};

use baton_model::assignment::Watched;
use baton_platform::random::Random;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    executor,
    standing::{Duty, Key, Vigil},
    watchdog::Watchdog,
};

mod account;
mod health;
mod post;
mod sentry;

use account::Account;
pub use post::{Post, Pulse};
use sentry::Sentry;

/// The longest time between two looks at the clock, while there is a lease.
const TICK: Duration = Duration::from_millis(100);
/// The shortest: a moment that has not quite come is not waited for in a circle.
const TICK_MIN: Duration = Duration::from_millis(1);
/// And while there is none.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// What the disk has not taken yet of what the guard did.
const ACCOUNTS_MAX: usize = 1024;
/// One for the clock, one for what blocks after all.
const THREADS: usize = 2;

/// What the guard works with.
pub struct Options {
    /// As actions are performed: policy, secrets, doors to the host.
    pub perform: executor::Options,
    pub executor: executor::Handle,
    pub random: Random,
    pub watchdog: Watchdog,
}

/// Owned by its thread; see the module.
struct Guard {
    options: Options,
    post: Post,
    sentries: HashMap<Key, Watching>,
    tasks: JoinSet<()>,
    journal: mpsc::Sender<executor::Request>,
}

struct Watching {
    watched: Watched,
    duty: watch::Sender<Duty>,
    task: tokio::task::AbortHandle,
}

/// Starts it on threads of its own. It ends with the token; what it was stopping then goes on when the agent is started again.
pub fn start(options: Options, post: Post, stop: CancellationToken) -> std::io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("guard")
        .enable_all()
        .build()?;
    thread::Builder::new().name("guard".to_owned()).spawn(move || {
        runtime.block_on(run(options, post, stop));
        runtime.shutdown_background();
    })
}

/// The same on the runtime that it is called on: for a simulation, where a thread would be outside the simulated time.
pub async fn run(options: Options, post: Post, stop: CancellationToken) {
    let (journal, accounts) = mpsc::channel(ACCOUNTS_MAX);
    tokio::spawn(forward(accounts, options.executor.clone()));
    let guard = Guard { options, post, sentries: HashMap::new(), tasks: JoinSet::new(), journal };
    guard.run(stop).await;
}

/// Until nothing runs here that would have to be stopped by the clock.
pub async fn until_harmless(post: &Post) {
    while post.vigil() != Vigil::Off {
        tokio::time::sleep(TICK).await;
    }
}

impl Guard {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let now_ms = self.post.tick();
            self.reconcile();
            self.options.watchdog.keep(self.post.vigil(), now_ms);
            let wait = self.wait(now_ms);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.post.woken() => {}
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "the guard of a component broke; it begins anew");
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn wait(&self, now_ms: u64) -> Duration {
        if self.post.shortest().is_none() {
            return IDLE_TICK;
        }
        let end = self.post.next_end(now_ms).map(|end_ms| Duration::from_millis(end_ms.saturating_sub(now_ms)));
        end.unwrap_or(TICK).clamp(TICK_MIN, TICK)
    }

    /// One sentry for each component, each with its present duty.
    fn reconcile(&mut self) {
        let mut duties: HashMap<Key, (Watched, Duty)> =
            self.post.duties().into_iter().map(|(key, watched, duty)| (key, (watched, duty))).collect();
        self.sentries.retain(|key, watching| {
            let stays = duties.get(key).is_some_and(|(watched, _)| *watched == watching.watched);
            let stays = stays && !watching.task.is_finished();
            if stays && let Some((_, duty)) = duties.remove(key) {
                watching.duty.send_if_modified(|present| std::mem::replace(present, duty) != duty);
            } else {
                watching.task.abort();
            }
            stays
        });
        for (key, (watched, duty)) in duties {
            let (sender, receiver) = watch::channel(duty);
            let account = Account {
                key: key.clone(),
                host: self.options.perform.host_name.clone(),
                clock: self.options.perform.clock.clone(),
                journal: self.journal.clone(),
                open: None,
            };
            let sentry = Sentry::new(
                account,
                watched.clone(),
                self.options.perform.clone(),
                self.post.clone(),
                self.options.random.clone(),
            );
            let task = self.tasks.spawn(sentry.run(receiver));
            self.sentries.insert(key, Watching { watched, duty: sender, task });
        }
    }
}

/// To the owner of the journal, one after the other.
async fn forward(mut accounts: mpsc::Receiver<executor::Request>, executor: executor::Handle) {
    while let Some(request) = accounts.recv().await {
        if !executor.send(request).await {
            return;
        }
    }
}
