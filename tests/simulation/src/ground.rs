//! The world outside of Baton: what services run on which host, what databases hold, and every effect that ever happened, in true
//! time.
//!
//! Apart because it is what judges: nothing here knows of plans, journals or leases. It must never be asked what Baton believes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use baton_model::ids::TaskId;
use tokio::sync::Notify;

use crate::{chance::Chance, life::Life, story::Story};

/// Clones are the same ground.
#[derive(Clone)]
pub struct Ground(Arc<Mutex<Earth>>);

struct Earth {
    seed: u64,
    tick: u64,
    /// Nothing fails, hangs or takes long any more.
    calm: bool,
    hosts: BTreeMap<String, Host>,
    next_job: u64,
    effects: Vec<Effect>,
    story: Story,
}

#[derive(Default)]
struct Host {
    running: BTreeMap<String, bool>,
    /// When each service began or ceased to run last.
    turned: BTreeMap<String, u64>,
    marks: BTreeMap<String, u64>,
    jobs: Vec<Job>,
    /// The watchdog resets the host at this tick.
    resets_at: Option<u64>,
}

impl Host {
    fn set(&mut self, service: &str, runs: bool, tick: u64) {
        if self.running.insert(service.to_owned(), runs).unwrap_or(false) != runs {
            self.turned.insert(service.to_owned(), tick);
        }
    }
}

/// What a job does to its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    Start(String),
    Stop(String),
    /// A transaction: it is undone where whoever began it is gone.
    Insert(String),
    /// A program: it goes on where whoever began it is gone, until somebody ends it.
    Once(String),
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// Certainly not done.
    Failed,
    /// Whoever waits cannot tell.
    Unclear,
}

struct Job {
    id: u64,
    work: Work,
    task: Option<TaskId>,
    life: Arc<Life>,
    /// When the effect happens; never, where it does not.
    happens_at: Option<u64>,
    ends_at: Option<u64>,
    ending: Ending,
    over: Arc<Mutex<Option<Ending>>>,
    bell: Arc<Notify>,
}

/// What whoever began a job holds.
pub struct Waiting {
    pub id: u64,
    over: Arc<Mutex<Option<Ending>>>,
    bell: Arc<Notify>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Effect {
    pub tick: u64,
    pub host: String,
    pub work: Work,
    /// None: nobody ordered it.
    pub task: Option<TaskId>,
}

impl Work {
    fn service(&self) -> Option<&str> {
        match self {
            Work::Start(name) | Work::Stop(name) => Some(name),
            Work::Insert(_) | Work::Once(_) => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Work::Start(name) => format!("{name} runs"),
            Work::Stop(name) => format!("{name} does not run"),
            Work::Insert(key) => format!("inserted {key}"),
            Work::Once(key) => format!("did {key}"),
        }
    }
}

impl Waiting {
    pub async fn ended(&self) -> Ending {
        loop {
            let rung = self.bell.notified();
            if let Some(ending) = *self.over.lock().unwrap_or_else(PoisonError::into_inner) {
                return ending;
            }
            rung.await;
        }
    }
}

impl Ground {
    pub fn new(seed: u64, hosts: &[&str], story: Story) -> Self {
        let hosts = hosts.iter().map(|host| ((*host).to_owned(), Host::default())).collect();
        Self(Arc::new(Mutex::new(Earth { seed, tick: 0, calm: false, hosts, next_job: 0, effects: Vec::new(), story })))
    }

    fn lock(&self) -> MutexGuard<'_, Earth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calm(&self) {
        let mut earth = self.lock();
        earth.calm = true;
        // What hung ends.
        let tick = earth.tick;
        for job in earth.hosts.values_mut().flat_map(|host| &mut host.jobs) {
            job.ends_at = job.ends_at.or(Some(tick + 1));
        }
    }

    pub fn is_calm(&self) -> bool {
        self.lock().calm
    }

    pub fn tick(&self) -> u64 {
        self.lock().tick
    }

    /// Chance for one question about one thing, now.
    pub fn chance(&self, names: &[&str]) -> Chance {
        let earth = self.lock();
        Chance::of(earth.seed ^ earth.tick.rotate_left(32), names)
    }

    /// One tick goes by. Returns what happened, and hosts that their watchdogs reset.
    pub fn step(&self, tick: u64) -> (Vec<Effect>, Vec<String>) {
        let mut earth = self.lock();
        let earth = &mut *earth;
        earth.tick = tick;
        let mut reset = Vec::new();
        let mut happened = Vec::new();
        for (name, host) in &mut earth.hosts {
            if host.resets_at.is_some_and(|at| at <= tick) {
                host.resets_at = None;
                reset.push(name.clone());
            }
            for mut job in std::mem::take(&mut host.jobs) {
                let rolled_back = matches!(job.work, Work::Insert(_)) && job.life.is_over();
                if rolled_back {
                    continue;
                }
                if job.happens_at.is_some_and(|at| at <= tick) {
                    job.happens_at = None;
                    match &job.work {
                        Work::Start(service) => host.set(service, true, tick),
                        Work::Stop(service) => host.set(service, false, tick),
                        Work::Insert(key) | Work::Once(key) => *host.marks.entry(key.clone()).or_default() += 1,
                    }
                    let effect = Effect { tick, host: name.clone(), work: job.work.clone(), task: job.task.clone() };
                    let by = effect
                        .task
                        .as_ref()
                        .map_or_else(|| "of its own accord".to_owned(), |task| format!("for {task}"));
                    earth.story.tell(name, format!("{} {by}", effect.work.words()));
                    happened.push(effect);
                }
                if job.ends_at.is_some_and(|at| at <= tick) {
                    *job.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(job.ending);
                    job.bell.notify_waiters();
                } else {
                    host.jobs.push(job);
                }
            }
        }
        earth.effects.extend(happened.iter().cloned());
        (happened, reset)
    }

    /// Begins something on a host. How long it takes, and whether it goes wrong, is decided by chance; nothing goes wrong where it is calm.
    pub fn begin(&self, host: &str, work: Work, task: Option<TaskId>, life: &Arc<Life>) -> Waiting {
        let mut earth = self.lock();
        let (tick, calm) = (earth.tick, earth.calm);
        let named = task.as_ref().map_or_else(String::new, ToString::to_string);
        let mut chance = Chance::of(earth.seed ^ tick.rotate_left(32), &["job", host, &named, &work.words()]);
        let takes = match chance.up_to(9) {
            0..=5 => chance.between(1, 10),
            6..=8 => chance.between(5, 60),
            _ if task.is_some() && !calm => chance.between(50, 400),
            _ => chance.between(5, 80),
        };
        let mut happens_at = Some(tick + takes);
        let mut ends_at = Some(tick + takes + chance.up_to(takes));
        let mut ending = Ending::Done;
        if !calm {
            match chance.up_to(99) {
                0..=4 => (happens_at, ending) = (None, Ending::Failed),
                5..=7 if task.is_some() => ending = Ending::Unclear,
                8..=9 if task.is_some() => (happens_at, ending) = (None, Ending::Unclear),
                10..=11 if task.is_some() => (ends_at, ending) = (None, Ending::Unclear),
                12 if task.is_some() => (happens_at, ends_at, ending) = (None, None, Ending::Unclear),
                _ => {}
            }
        }
        let (over, bell) = (Arc::default(), Arc::new(Notify::new()));
        let id = earth.next_job;
        earth.next_job += 1;
        let waiting = Waiting { id, over: Arc::clone(&over), bell: bell.clone() };
        let host = earth.hosts.get_mut(host).expect("the host exists");
        // A service has one job: a newer one takes the place of what has not happened yet.
        if let Some(service) = work.service() {
            let older = host.jobs.iter_mut().filter(|job| job.work.service() == Some(service));
            for job in older {
                if job.happens_at.take().is_some() {
                    job.ending = Ending::Failed;
                }
                job.ends_at = Some(tick + 1);
            }
        }
        host.jobs.push(Job { id, work, task, life: life.clone(), happens_at, ends_at, ending, over, bell });
        waiting
    }

    /// Ends a job: what has not happened does not happen any more.
    pub fn end(&self, host: &str, id: u64) {
        if let Some(host) = self.lock().hosts.get_mut(host) {
            host.jobs.retain(|job| job.id != id);
        }
    }

    /// Ends the programs that a task of an earlier process left.
    pub fn end_leftovers(&self, host: &str, task: &TaskId, life: &Arc<Life>) {
        if let Some(host) = self.lock().hosts.get_mut(host) {
            host.jobs.retain(|job| {
                !matches!(job.work, Work::Once(_)) || job.task.as_ref() != Some(task) || Arc::ptr_eq(&job.life, life)
            });
        }
    }

    pub fn runs(&self, host: &str, service: &str) -> bool {
        self.lock().hosts.get(host).is_some_and(|host| host.running.get(service) == Some(&true))
    }

    /// A start or stop is under way.
    pub fn changes(&self, host: &str, service: &str) -> bool {
        self.lock().hosts.get(host).is_some_and(|host| {
            host.jobs.iter().any(|job| job.work.service() == Some(service) && job.happens_at.is_some())
        })
    }

    pub fn set_running(&self, host: &str, service: &str, runs: bool) {
        let mut earth = self.lock();
        let tick = earth.tick;
        if let Some(host) = earth.hosts.get_mut(host) {
            host.set(service, runs, tick);
        }
    }

    /// Whether it ran, or did not, at some moment since then.
    pub fn has_been(&self, host: &str, service: &str, runs: bool, since: u64) -> bool {
        self.lock().hosts.get(host).is_some_and(|host| {
            let now = host.running.get(service) == Some(&true);
            now == runs || host.turned.get(service).is_some_and(|turned| *turned >= since)
        })
    }

    pub fn is_marked(&self, host: &str, key: &str) -> bool {
        self.lock().hosts.get(host).is_some_and(|host| host.marks.contains_key(key))
    }

    /// The host loses its power: nothing runs on it any more, and what databases hold stays.
    pub fn power_off(&self, host: &str) {
        let mut earth = self.lock();
        let tick = earth.tick;
        if let Some(host) = earth.hosts.get_mut(host) {
            let services: Vec<String> = host.running.keys().cloned().collect();
            services.iter().for_each(|service| host.set(service, false, tick));
            host.jobs.clear();
            host.resets_at = None;
        }
    }

    /// The watchdog is told that the host lives for so many ticks; or that it is not needed.
    pub fn watch(&self, host: &str, ticks: Option<u64>) {
        let mut earth = self.lock();
        let at = ticks.map(|ticks| earth.tick + ticks);
        if let Some(host) = earth.hosts.get_mut(host) {
            host.resets_at = at;
        }
    }

    /// How often something that is counted has happened for a task.
    pub fn happened_for(&self, task: &TaskId) -> usize {
        let counted = |effect: &&Effect| matches!(effect.work, Work::Insert(_) | Work::Once(_));
        self.lock().effects.iter().filter(counted).filter(|effect| effect.task.as_ref() == Some(task)).count()
    }

    pub fn effects(&self) -> Vec<Effect> {
        self.lock().effects.clone()
    }
}
